"""HTTP to a server of pubworks: who asks, what is asked again, and what an error means."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import random
import re
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import urlsplit

from pubworks import errors
from pubworks.errors import ConfigError, NotAllowed, NotAuthenticated, PubworksError, ServerUnreachable, TooManyRequests
from pubworks.store.authors import LONGEST_WHY, current

if TYPE_CHECKING:
    import ssl

    import httpx

Params: TypeAlias = Mapping[str, Any]

#: Seconds until a connection is given up, and until an answer is whose next byte does not come.
_CONNECT_S, _READ_S = 10.0, 60.0

#: Seconds in which a server that is away is asked again: for one question, and by who waits for a job.
PATIENCE_S, WAITING_S = 3.0, 120.0

#: Seconds between two attempts: drawn up to the first, doubled each time up to the second.
_AGAIN_FIRST_S, _AGAIN_LONGEST_S = 0.2, 5.0

#: Answers of proxies, or of a server whose database is away, that may be others soon.
_AWAY = frozenset({502, 503, 504})

#: What an answer without a problem of ours is taken for, by its status.
_BY_STATUS: dict[int, type[PubworksError]] = {
    401: NotAuthenticated, 403: NotAllowed, 404: errors.StoreError, 413: errors.TooLarge, 429: TooManyRequests,
}  # fmt: skip

#: The same, of a problem whose type is no error of this version, by its code.
_BY_CODE: dict[str, type[PubworksError]] = {"NOT_FOUND": errors.JobNotFound, "USAGE": errors.SubmissionError}

#: What may stand in a header; what may not would be told, with the token, by who refuses it.
_TOKEN = re.compile(r"[!-~]+")

_TOKEN_REMEDY = "Give one: PUBWORKS_TOKEN, or Client(url, token=…)."


class Attempts:
    """How often something is asked again, and when.

    Args:
        patience_s: Seconds after which it is not asked again.
        repeatable: Whether asking twice is the same as asking once; else only what surely was not done is asked again.
    """

    def __init__(self, patience_s: float, *, repeatable: bool = True) -> None:
        self._until = time.monotonic() + patience_s
        self._repeatable, self._longest_s = repeatable, _AGAIN_FIRST_S

    def wait_s(self, error: Exception) -> float:
        """Return the seconds until the next attempt, or raise what went wrong."""
        wait_s = random.uniform(self._longest_s / 4, self._longest_s)
        self._longest_s = min(self._longest_s * 2, _AGAIN_LONGEST_S)
        if isinstance(error, TooManyRequests):
            wait_s = max(wait_s, error.retry_after)
        elif not isinstance(error, ServerUnreachable) or not (self._repeatable or _was_not_sent(error)):
            raise error
        if time.monotonic() + wait_s > self._until:
            raise error
        return wait_s


class Wire:
    """The way to one server.

    Args:
        url: Its URL.
        token: The token of whoever asks; never shown.
        plain_http: Whether the token may go unencrypted to another machine.

    Raises:
        ConfigError: It would, and nobody allowed that.
    """

    def __init__(self, url: str, token: str | None, *, plain_http: bool = False) -> None:
        self.url = url.rstrip("/")
        token = token and token.strip()  # a file that it was read from ends with a new line
        if token and not _TOKEN.fullmatch(token):
            raise ConfigError(
                "The token holds what none of pubworks does: white space, or letters beyond ASCII. Copy it again."
            )
        self.has_token = bool(token)
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        try:
            parts = urlsplit(self.url)
        except ValueError as error:
            raise ConfigError(f"{self.url}: {error}. Give the URL of a server, as in https://lab.example.") from error
        self._is_here = _is_loopback(parts.hostname or "")
        if parts.scheme == "http" and token and not (self._is_here or plain_http):
            raise ConfigError(
                f"The token would go unencrypted to {parts.hostname}, and whoever listens could use it. Use https://, "
                "or allow it in a network that you trust: plain_http = true (PUBWORKS_PLAIN_HTTP=1)."
            )
        self._lock = threading.Lock()
        self._clients: dict[int, httpx.Client] = {}
        self._verify: ssl.SSLContext | bool | None = None

    def __repr__(self) -> str:
        return f"<Wire to {self.url}>"

    def close(self) -> None:
        """Close the connections of this process."""
        with self._lock:
            client = self._clients.pop(os.getpid(), None)
        if client is not None:
            client.close()

    def get(self, path: str, params: Params | None = None, *, patience_s: float = PATIENCE_S) -> Any:
        """Return the JSON at a path, asked for again where the server is away."""
        return _json(self._ask("GET", path, Attempts(patience_s), params=_said(params)))

    def get_bytes(self, path: str, params: Params | None = None) -> bytes:
        """Return the bytes at a path."""
        return bytes(self._ask("GET", path, Attempts(PATIENCE_S), params=_said(params)).content)

    def send(self, method: str, path: str, body: Any = None, *, repeatable: bool = False) -> Any:
        """Have something changed, and return the JSON of the answer.

        Args:
            method: POST, PUT, PATCH or DELETE.
            path: What it is about.
            body: JSON values.
            repeatable: Whether to have it changed twice is the same as once.
        """
        try:
            attempts = Attempts(PATIENCE_S, repeatable=repeatable)
            return _json(self._ask(method, path, attempts, json=body, headers=_reason()))
        except ServerUnreachable as error:
            if repeatable or _was_not_sent(error):
                raise
            raise ServerUnreachable(f"{error} Perhaps it was done all the same: look before you ask again.") from error

    def upload(self, path: str, files: Callable[[], Any], *, read_s: float) -> Any:
        """Send files, again under the same key where the answer does not come, and return the JSON of the answer."""
        attempts = Attempts(WAITING_S)
        return _json(self._repeat(lambda: self._once("POST", path, files=files(), timeout=_timeout(read_s)), attempts))

    async def aget(self, path: str, params: Params) -> Any:
        """Return the JSON at a path, without a thread that waits."""
        import httpx

        options = self._options()
        async with httpx.AsyncClient(**options) as client:
            with self._told():
                answer = await client.get(path, params=_said(params))
            _check(answer)
            return _json(answer)

    def pieces(
        self, path: str, head: struct.Struct, resume: Callable[[int, tuple[int, ...]], Params]
    ) -> Iterator[tuple[tuple[int, ...], bytes]]:
        """Yield pieces of a long answer; where it breaks off, it is asked for the rest.

        Args:
            path: Where it is.
            head: What stands before each piece: numbers, of which the last one is its length.
            resume: Returns the parameters that ask for what is behind so many pieces, of which the last had this head.
        """
        number, attempts = 0, Attempts(PATIENCE_S)
        last: tuple[int, ...] = ()
        while True:
            try:
                with self._stream(path, resume(number, last)) as source:
                    while (found := _piece(source, head)) is not None:
                        last, attempts = found[0], Attempts(WAITING_S)
                        number += 1
                        yield found
                return
            except (ServerUnreachable, TooManyRequests) as error:
                time.sleep(attempts.wait_s(error))

    @contextlib.contextmanager
    def _stream(self, path: str, params: Params) -> Iterator[_Source]:
        with self._told(), self._client().stream("GET", path, params=_said(params)) as answer:
            if answer.is_error:
                answer.read()
            _check(answer)
            yield _Source(answer.iter_bytes())

    def _ask(self, method: str, path: str, attempts: Attempts, **options: Any) -> httpx.Response:
        return self._repeat(lambda: self._once(method, path, **options), attempts)

    def _repeat(self, ask: Callable[[], httpx.Response], attempts: Attempts) -> httpx.Response:
        while True:
            try:
                return ask()
            except PubworksError as error:
                time.sleep(attempts.wait_s(error))

    def _once(self, method: str, path: str, **options: Any) -> httpx.Response:
        with self._told():
            answer = self._client().request(method, path, **options)
        _check(answer)
        return answer

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """Tell what HTTP raises in words of ours."""
        import httpx

        try:
            yield
        except httpx.RequestError as error:
            hint = "Is it up, and is the URL right? See /v1/health there."
            if "CERTIFICATE" in str(error):
                hint = "Have this machine trust who signed its certificate: SSL_CERT_FILE names a file with it."
            why = str(error) or type(error).__name__
            raise ServerUnreachable(f"{self.url} does not answer: {why}. {hint}") from error

    def _client(self) -> httpx.Client:
        """Return the client of this process: connections do not go with a fork."""
        import httpx

        with self._lock:
            if os.getpid() not in self._clients:
                self._clients[os.getpid()] = httpx.Client(**self._options())
            return self._clients[os.getpid()]

    def _options(self) -> dict[str, Any]:
        import httpx

        if self._verify is None:
            self._verify = httpx.create_ssl_context() if self.url.startswith("https:") else False  # no TLS to verify
        return {
            "base_url": self.url, "headers": self._headers, "timeout": _timeout(_READ_S), "verify": self._verify,
            "trust_env": not self._is_here,  # no proxy between a machine and itself
        }  # fmt: skip


class _Source:
    """Bytes that come in parts of any size."""

    def __init__(self, parts: Iterator[bytes]) -> None:
        self._parts, self._left = parts, bytearray()

    def take(self, size: int) -> bytes:
        """Return so many bytes, or fewer at the end."""
        while len(self._left) < size and (part := next(self._parts, None)) is not None:
            self._left += part
        taken = bytes(self._left[:size])
        del self._left[:size]
        return taken


def _piece(source: _Source, head: struct.Struct) -> tuple[tuple[int, ...], bytes] | None:
    start = source.take(head.size)
    if not start:
        return None
    numbers = head.unpack(start) if len(start) == head.size else (1,)
    data = source.take(numbers[-1])
    if len(data) < numbers[-1]:
        raise ServerUnreachable("The answer broke off. Ask again.")
    return numbers, data


def _check(answer: httpx.Response) -> None:
    """Raise what an answer tells that is none.

    Raises:
        PubworksError: The error that the server met, of the same class.
    """
    if answer.is_success:
        return
    if answer.is_redirect:
        raise ConfigError(f"{answer.request.url} leads to {answer.headers.get('location')}. Give that URL.")
    problem = _problem_of(answer)
    text = problem.get("detail") or f"{answer.request.url.host} answered {answer.status_code} {answer.reason_phrase}."
    if answer.status_code in _AWAY:
        raise ServerUnreachable(text)
    kind = _kind_of(problem, answer.status_code)
    if kind is NotAuthenticated:
        text = f"{text} {_TOKEN_REMEDY}"
    if kind is TooManyRequests:
        raise TooManyRequests(text, _seconds(answer.headers.get("retry-after", "")))
    raise kind(text)


def _seconds(text: str) -> float:
    """Return the seconds of a Retry-After; a proxy may say a date instead, and is asked again after one."""
    return float(text) if text.isdecimal() else 1.0


def _json(answer: httpx.Response) -> Any:
    try:
        return answer.json()
    except ValueError as error:
        raise ServerUnreachable(f"{answer.request.url} is no server of pubworks: it sends no JSON.") from error


def _problem_of(answer: httpx.Response) -> dict[str, Any]:
    try:
        found = answer.json() if "problem+json" in answer.headers.get("content-type", "") else {}
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _kind_of(problem: Mapping[str, Any], status: int) -> type[PubworksError]:
    named = getattr(errors, str(problem.get("type", "")).rpartition(":")[2], None)
    if isinstance(named, type) and issubclass(named, PubworksError):
        return named
    return _BY_STATUS.get(status) or _BY_CODE.get(str(problem.get("code")), PubworksError)


def _was_not_sent(error: Exception) -> bool:
    import httpx

    return isinstance(error.__cause__, httpx.ConnectError | httpx.ConnectTimeout)


def _reason() -> dict[str, bytes]:
    """Return the header that says why, where the command was told it."""
    author = current()
    why = " ".join((author.why or "").split()) if author else ""
    return {"X-Reason": why[:LONGEST_WHY].encode()} if why else {}


def _said(params: Params | None) -> dict[str, Any]:
    """Return the parameters that say something."""
    return {name: value for name, value in (params or {}).items() if value is not None}


def _timeout(read_s: float) -> httpx.Timeout:
    import httpx

    return httpx.Timeout(read_s, connect=_CONNECT_S)


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
