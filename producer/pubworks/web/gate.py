"""What every request passes: who asks, how often, how much they send; and what every answer carries."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

from anyio import to_thread
from starlette.requests import ClientDisconnect

from pubworks.errors import NotAuthenticated, PubworksError, TooLarge
from pubworks.store import logins, tokens
from pubworks.store.audit import Author, acting
from pubworks.telemetry import log, masked
from pubworks.web import door
from pubworks.web.door import header
from pubworks.web.page import paper
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

#: Seconds without a byte after which an upload is given up, and in which it must be whole.
_STALL_S, _WHOLE_S = 30.0, 600.0

#: What the log has for an answer that nobody waited for, as those of proxies do.
_LEFT = 499

_HEADERS = [
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
]
_NO_STORE = (b"cache-control", b"no-store")
#: Of data: nothing of it is to be shown by a browser. Of pages, whose forms must say where they come from. Of files,
#: whose URLs have a hash of what is in them.
_OF_DATA = [
    _NO_STORE,
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"),
    (b"referrer-policy", b"no-referrer"),
]
_OF_PAGES = [
    _NO_STORE,
    (b"content-security-policy", door.POLICY.encode()),
    (b"referrer-policy", b"same-origin"),
    (b"vary", b"accept"),
]
_OF_FILES = [(b"cache-control", b"public, max-age=31536000, immutable"), *_OF_DATA[1:]]
_FOUND = (200, 304)
_OF_FILES_WITHOUT_HASH = [(b"cache-control", b"public, max-age=86400"), *_OF_DATA[1:]]


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
            await self._pass(scope, receive, answer)
        except PubworksError as error:
            await problem_of(error, scope)(scope, receive, answer.send)
        except ClientDisconnect:
            answer.give_up()
        except Exception as error:
            log("api.failed", logging.ERROR, error=f"{type(error).__name__}: {masked(str(error))}")
            if answer.is_begun and not answer.is_whole:
                raise  # cut it off: half an answer must not look whole
            if not answer.is_begun:
                await unforeseen(scope)(scope, receive, answer.send)
        finally:
            answer.note()

    async def _pass(self, scope: Scope, receive: Receive, answer: _Answer) -> None:
        state, path = door.state(scope), scope["path"]
        is_open = path in OPEN or door.is_open(path)
        if path == door.LOGIN and scope["method"] == "POST":  # whoever guesses tokens there is a stranger
            self._of_strangers.take(_address(scope))
        principal = state["principal"] = None if is_open else await self._admit(scope)
        limited = _Body(receive, self._limit(path), header(scope, b"content-length")).receive
        with acting(_author(scope, principal)):
            await self._app(door.to_api(scope), limited, answer.send)

    async def _admit(self, scope: Scope) -> Principal:
        try:
            principal = await to_thread.run_sync(self._judge, scope)
        except NotAuthenticated:
            self._of_strangers.take(_address(scope))
            raise
        self._of_tokens.take(principal.token)
        return principal

    def _judge(self, scope: Scope) -> Principal:
        """Return who asks: by a token; at the page, and nowhere else, also by the cookie of a login."""
        kind, _, token = header(scope, b"authorization").partition(" ")
        secret = door.cookie(scope, door.COOKIE) if door.takes_cookie(scope) else ""
        with self.desk.session.store.read() as connection:
            if kind.lower() == "bearer" and token:
                return tokens.judge(connection, token.strip())
            if secret:
                door.state(scope)["login"] = secret
                return logins.judge(connection, secret)
        raise NotAuthenticated("Send a token: Authorization: Bearer TOKEN. `pubworks token create` makes one.")

    def _limit(self, path: str) -> int:
        return self._max_upload_bytes if path in UPLOADS else _SMALL_BYTES


class _Body:
    """A request's body, up to a limit, as long as it keeps coming."""

    def __init__(self, receive: Receive, limit: int, announced: str) -> None:
        self._receive, self._limit = receive, limit
        self._left, self._is_whole = limit, False
        self._until = time.monotonic() + _WHOLE_S
        if announced.isdecimal() and int(announced) > limit:
            raise self._too_large()

    async def receive(self) -> Message:
        """Return the next message."""
        if self._is_whole:  # only the client's leaving is left to hear of
            return await self._receive()
        try:
            async with asyncio.timeout(min(_STALL_S, max(0.0, self._until - time.monotonic()))):
                message = await self._receive()
        except TimeoutError:
            raise TooLarge(
                f"Nothing of the upload came for {_STALL_S:.0f} s, or it took {_WHOLE_S:.0f} s. Send it again, or less."
            ) from None
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
        #: Whether its last byte was sent: who met a defect may have been told so already.
        self.is_whole = False
        #: Whether it lasts as long as somebody watches.
        self._is_stream = False

    @property
    def is_begun(self) -> bool:
        """Whether its head was sent."""
        return bool(self._status)

    async def send(self, message: Message) -> None:
        """Send a message of the answer."""
        if message["type"] == "http.response.start":
            self._status = message["status"]
            headers = list(message.get("headers", []))
            self._is_stream = _is_of(headers, b"text/event-stream")
            message = {**message, "headers": [*headers, *_HEADERS, *self._more_headers(headers)]}
        await self._send(message)
        self.is_whole = message["type"] == "http.response.body" and not message.get("more_body", False)

    def _more_headers(self, headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        path = self._scope["path"]
        if path.startswith(door.STATIC) and self._status in _FOUND:
            is_this = self._scope["query_string"].decode("latin-1") == paper.version(path.removeprefix(door.STATIC))
            return _OF_FILES if is_this else _OF_FILES_WITHOUT_HASH
        return _OF_PAGES if _is_of(headers, b"text/html") else _OF_DATA

    def give_up(self) -> None:
        """Note that whoever asked has left, whatever was sent after them."""
        self._status = _LEFT

    def note(self) -> None:
        """Write the line; neither query nor headers, which may hold secrets."""
        principal = self._scope.get("state", {}).get("principal")
        log(
            "api.answered", method=self._scope["method"], path=self._scope["path"], status=self._status,
            who=principal and principal.owner, seconds=None if self._is_stream else time.monotonic() - self._began,
        )  # fmt: skip


def _author(scope: Scope, principal: Principal | None) -> Author:
    owner, token = (principal.owner, principal.token) if principal else ("", None)
    return Author(owner, f"{scope['method']} {scope['path']}", header(scope, b"x-reason") or None, token)


def _is_of(headers: list[tuple[bytes, bytes]], kind: bytes) -> bool:
    return any(key == b"content-type" and value.startswith(kind) for key, value in headers)


def _address(scope: Scope) -> str:
    return str((scope.get("client") or ("",))[0])
