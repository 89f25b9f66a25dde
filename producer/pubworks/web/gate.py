"""What every request passes: who asks, how often, how much they send; and what every answer carries."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Any

from anyio import to_thread

from pubworks.errors import NotAuthenticated, PubworksError, TooLarge
from pubworks.store import tokens
from pubworks.store.audit import Author, acting
from pubworks.telemetry import log, masked
from pubworks.web.problems import problem_of, unforeseen

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from pubworks.store.tokens import Principal
    from pubworks.web.buckets import Buckets
    from pubworks.web.desk import Desk

#: Answered to everybody.
OPEN = frozenset({"/v1/health", "/v1/openapi.json"})

#: Where circuits are uploaded; all other bodies are small.
UPLOADS = frozenset({"/v1/jobs", "/v1/plan"})
_SMALL_BYTES = 1 << 20

#: Seconds without a byte after which an upload is given up.
_STALL_S = 30.0

_HEADERS = [
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
]


class Gate:
    """The outermost layer of the app.

    Args:
        app: What is inside.
        desk: What the routes work with; its database has the tokens.
        of_tokens: How often each token may be used.
        of_strangers: How often an address may come without a token that is valid.
        max_upload_bytes: Most bytes of one upload.
    """

    def __init__(
        self, app: ASGIApp, desk: Desk, of_tokens: Buckets, of_strangers: Buckets, max_upload_bytes: int
    ) -> None:
        self._app, self.desk = app, desk
        self._of_tokens, self._of_strangers = of_tokens, of_strangers
        self._max_upload_bytes = max_upload_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        answer = _Answer(scope, send)
        try:
            principal = None if scope["path"] in OPEN else await self._admit(scope)
            scope.setdefault("state", {})["principal"] = principal
            limited = _Body(receive, self._limit(scope["path"]), _header(scope, b"content-length")).receive
            with acting(_author(scope, principal)):
                await self._app(scope, limited, answer.send)
        except PubworksError as error:
            await problem_of(error)(scope, receive, answer.send)
        except Exception as error:
            log("api.failed", logging.ERROR, error=f"{type(error).__name__}: {masked(str(error))}")
            if answer.is_begun:
                raise  # cut it off: half an answer must not look whole
            await unforeseen()(scope, receive, answer.send)
        finally:
            answer.note()

    async def _admit(self, scope: Scope) -> Principal:
        kind, _, token = _header(scope, b"authorization").partition(" ")
        try:
            if kind.lower() != "bearer" or not token:
                raise NotAuthenticated("Send a token: Authorization: Bearer TOKEN. `pubworks token create` makes one.")
            principal = await to_thread.run_sync(self._judge, token.strip())
        except NotAuthenticated:
            self._of_strangers.take((scope.get("client") or ("",))[0])
            raise
        self._of_tokens.take(principal.token)
        return principal

    def _judge(self, token: str) -> Principal:
        with self.desk.session.store.read() as connection:
            return tokens.judge(connection, token)

    def _limit(self, path: str) -> int:
        return self._max_upload_bytes if path in UPLOADS else _SMALL_BYTES


class _Body:
    """A request's body, up to a limit, as long as it keeps coming."""

    def __init__(self, receive: Receive, limit: int, announced: str) -> None:
        self._receive, self._limit = receive, limit
        self._left, self._is_whole = limit, False
        if announced.isdecimal() and int(announced) > limit:
            raise self._too_large()

    async def receive(self) -> Message:
        """Return the next message."""
        if self._is_whole:  # only the client's leaving is left to hear of
            return await self._receive()
        try:
            async with asyncio.timeout(_STALL_S):
                message = await self._receive()
        except TimeoutError:
            raise TooLarge(f"Nothing of the upload came for {_STALL_S:.0f} s. Send it again.") from None
        self._left -= len(message.get("body", b""))
        if self._left < 0:
            raise self._too_large()
        self._is_whole = not message.get("more_body", False)
        return message

    def _too_large(self) -> TooLarge:
        return TooLarge(f"The request is over the limit of {self._limit} bytes. Send less, in several jobs.")


class _Answer:
    """An answer with the headers of all, and its line in the log."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self._scope, self._send = scope, send
        self._status, self._began = 0, time.monotonic()

    @property
    def is_begun(self) -> bool:
        """Whether its head was sent."""
        return bool(self._status)

    async def send(self, message: Message) -> None:
        """Send a message of the answer."""
        if message["type"] == "http.response.start":
            self._status = message["status"]
            message = {**message, "headers": [*message.get("headers", []), *_HEADERS]}
        await self._send(message)

    def note(self) -> None:
        """Write the line; neither query nor headers, which may hold secrets."""
        principal = self._scope.get("state", {}).get("principal")
        log(
            "api.answered", method=self._scope["method"], path=self._scope["path"], status=self._status,
            who=principal and principal.owner, seconds=time.monotonic() - self._began,
        )  # fmt: skip


def _author(scope: Scope, principal: Principal | None) -> Author:
    owner, token = (principal.owner, principal.token) if principal else ("", None)
    return Author(owner, f"{scope['method']} {scope['path']}", _header(scope, b"x-reason") or None, token)


def _header(scope: Scope, name: bytes) -> str:
    found: Any = next((value for key, value in scope["headers"] if key == name), b"")
    return str(found.decode("utf-8", "replace")).replace("\0", "")
