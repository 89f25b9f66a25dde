"""What an exception of any vendor's library shows about a call, read from its classes and codes.

No HTTP library is imported: classes are known by the names in their MRO, codes by the attributes that these libraries
give their errors. Reading never does I/O and never raises.
"""

from __future__ import annotations

import errno
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, timedelta
from email.utils import parsedate_to_datetime
from enum import Enum, auto
from typing import Any

#: Exceptions of one chain that are looked at; a chain may be a cycle.
MAX_LINKS = 200

#: Characters of an exception's text, and of a response's body, that are read.
_MAX_TEXT = 4_000


class Kind(Enum):
    """What the class of one exception shows."""

    #: The request never left: no connection, no address, no valid URL.
    NOT_SENT = auto()
    #: The request left, or may have, and the answer is missing.
    NO_ANSWER = auto()
    #: The network, before or after sending: only an exception inside this one can tell.
    NETWORK = auto()
    #: An answer came and could not be read; it may have been a yes.
    UNREADABLE = auto()
    #: The caller's arguments are wrong.
    BAD_INPUT = auto()
    #: This machine is out of something.
    LOCAL = auto()
    UNKNOWN = auto()


_NAMES = {
    Kind.NOT_SENT: """ConnectTimeout ConnectTimeoutError ConnectionTimeoutError NewConnectionError ConnectError
        NameResolutionError PoolTimeout EmptyPoolError EndpointConnectionError ClientConnectorError ServiceRequestError
        ConnectionRefusedError gaierror herror SSLCertVerificationError ConfigError InvalidURL MissingSchema
        InvalidSchema InvalidHeader InvalidProxyURL LocationValueError UnsupportedProtocol""",
    Kind.NO_ANSWER: """ReadTimeout ReadTimeoutError WriteTimeout ReadError WriteError CloseError RemoteDisconnected
        RemoteProtocolError ProtocolError ChunkedEncodingError IncompleteRead IncompleteReadError BadStatusLine
        ConnectionClosedError ServerDisconnectedError SocketTimeoutError ServiceResponseError ConnectionResetError
        ConnectionAbortedError BrokenPipeError""",
    Kind.NETWORK: """ConnectionError Timeout TimeoutError TimeoutException JobTimeoutError RequestException HTTPError
        RequestError TransportError ClientError HTTPClientError BotoCoreError AzureError RpcError URLError SSLError""",
    Kind.UNREADABLE: """JSONDecodeError InvalidJSONError UnicodeDecodeError DecodeError DecodingError
        ContentDecodingError ContentTypeError ResponseParserError DeserializationError ValidationError
        LookupError AttributeError""",
    Kind.BAD_INPUT: "TypeError ValueError NotImplementedError QiskitError ParamValidationError",
    Kind.LOCAL: "MemoryError OSError",
}
_KINDS = {name: kind for kind, names in _NAMES.items() for name in names.split()}

#: Errors of a network that reach Python as a bare ``OSError``; an open connection can meet them too.
_NETWORK_ERRNOS = {
    None, errno.ENETDOWN, errno.ENETUNREACH, errno.ENETRESET, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENOTCONN,
    errno.ENOBUFS, errno.EIO,
}  # fmt: skip

#: Stands for the status of a backend that says it is down: none of HTTP's own says that nothing was accepted.
OUTAGE = 600

#: Names of classes and error codes, lower case without punctuation, and the HTTP status that says the same.
_NAMED_STATUS = [
    (OUTAGE, re.compile(r"offline|deviceretired|maintenance")),
    (429, re.compile(r"ratelimit|throttl|slowdown|requestlimit|quotaexceeded|toomany(requests|jobs|tasks)|queuefull")),
    (413, re.compile(r"(payload|entity|request|body|content)toolarge")),
    (401, re.compile(
        r"unauthori[sz]ed|unauthenticated|accessdenied|permissiondenied|forbidden|credential|authenticationerror"
        r"|(expired|invalid)token|invalidapikey|unrecognizedclient|invalidsignature"
    )),
    (503, re.compile(r"serviceunavailable|internalserve|internalservice|badgateway|gatewaytimeout")),
]  # fmt: skip


@dataclass(frozen=True)
class Link:
    """One exception of a chain, and the one that wraps it.

    Attributes:
        explicit: Whether it was wrapped on purpose, all the way up; else another was raised while it was handled.
        status: HTTP status of a refusal, from 400 to 599, or ``OUTAGE``.
    """

    error: BaseException
    above: Link | None
    explicit: bool
    kind: Kind
    status: int | None
    codes: tuple[str, ...]

    def is_inside(self, other: Link) -> bool:
        """Return whether ``other`` wraps this exception, however far up."""
        above = self.above
        while above is not None and above is not other:
            above = above.above
        return above is not None


def links(error: BaseException) -> list[Link]:
    """Return an exception and what it wraps, the outermost first; at most ``MAX_LINKS``."""
    found: list[Link] = []
    seen: set[int] = set()
    todo: list[tuple[BaseException, Link | None, bool]] = [(error, None, True)]
    while todo and len(found) < MAX_LINKS:
        inner, above, explicit = todo.pop()
        if id(inner) in seen:
            continue
        seen.add(id(inner))
        found.append(_link(inner, above, explicit))
        below = [(item, found[-1], explicit and on_purpose) for item, on_purpose in _wrapped(inner)]
        todo.extend(reversed(below))
    return found


def text_of(error: BaseException) -> str:
    """Return an exception's text, or what stands for it where ``str`` fails."""
    try:
        return str(error)[:_MAX_TEXT]
    except Exception:
        return "(no text)"


def body_of(error: BaseException) -> str:
    """Return what a provider answered, as far as it was read from the network already."""
    own = _get(error, "body")
    for response in (_get(error, "response"), _get(error, "http_response")):
        # requests and httpx keep a body that was read in _content; their ``text`` could wait for the network.
        own = own or _get(response, "_content")
        if isinstance(response, Mapping):
            own = own or _get(response.get("Error"), "Message")
    if isinstance(own, bytes):
        return own[:_MAX_TEXT].decode(errors="replace")
    return own[:_MAX_TEXT] if isinstance(own, str) else ""


def retry_after(error: BaseException, now: Callable[[], float]) -> float | None:
    """Return the seconds that an exception asks to wait, never negative; None where it does not say."""
    response = _get(error, "response")
    metadata = _get(response, "ResponseMetadata")
    holders = (error, response, _get(error, "http_response"))
    headers = [_get(holder, "headers") for holder in holders] + [_get(metadata, "HTTPHeaders")]
    sent = next((_moment(str(value)) for held in headers for value in _header(held, "date")), None)
    clock = (lambda: sent) if sent is not None else now  # a date is one of the provider's clock
    said = [_get(error, "retry_after"), *(value for held in headers for value in _header(held, "retry-after"))]
    return next((seconds for value in said if (seconds := _seconds(value, clock)) is not None), None)


def _link(error: BaseException, above: Link | None, explicit: bool) -> Link:
    names = [kind.__name__ for kind in type(error).__mro__]
    codes = tuple(_codes(error))
    status = _named_status(codes) or _status(error) or _named_status(names)  # AWS throttles with 400 and a code
    return Link(error, above, explicit, _kind(error, above, explicit, names), status, codes)


def _kind(error: BaseException, above: Link | None, explicit: bool, names: list[str]) -> Kind:
    of_system = type(error).__module__ == "builtins" and isinstance(error, (OSError, BaseExceptionGroup))
    if of_system and explicit and above is not None and above.kind is Kind.NOT_SENT:
        return Kind.NOT_SENT  # the reason why there was no connection, such as a time-out
    kind = next((_KINDS[name] for name in names if name in _KINDS), Kind.UNKNOWN)
    if kind is Kind.LOCAL and isinstance(error, OSError) and error.errno in _NETWORK_ERRNOS:
        return Kind.NETWORK
    return kind


def _wrapped(error: BaseException) -> Iterator[tuple[BaseException, bool]]:
    """Yield the exceptions right inside one, and whether they were put there on purpose."""
    # Some libraries keep the exception that they translate in an attribute or argument, and raise without a cause.
    kept = [*(_get(error, "args") or ()), *_attributes(error).values()]
    group = error.exceptions if isinstance(error, BaseExceptionGroup) else ()
    for item in (error.__cause__, *group, *kept):
        if isinstance(item, BaseException):
            yield item, True
    if error.__context__ is not None and not error.__suppress_context__:
        yield error.__context__, False


def _attributes(error: BaseException) -> dict[str, Any]:
    found = _get(error, "__dict__")
    return found if isinstance(found, dict) else {}


def _status(error: BaseException) -> int | None:
    answers = (error, _get(error, "response"), _get(error, "http_response"))
    values = [_get(answer, name) for answer in answers for name in ("status_code", "status", "code")]
    values.append(_get(_get(_get(error, "response"), "ResponseMetadata"), "HTTPStatusCode"))
    numbers = (int(value) for value in values if isinstance(value, int) and not isinstance(value, bool))
    return next((number for number in numbers if 400 <= number <= 599), None)


def _codes(error: BaseException) -> Iterator[str]:
    """Yield the error codes that are words."""
    holders = (error, _get(error, "error"), _get(_get(error, "response"), "Error"))
    for holder in holders:
        for name in ("code", "Code", "error_code", "error_type"):
            value = _get(holder, name)
            if isinstance(value, str) and value:
                yield value[:200]


def _named_status(names: Iterable[str]) -> int | None:
    squeezed = [_squeeze(name) for name in names]
    return next((status for status, known in _NAMED_STATUS if any(known.search(name) for name in squeezed)), None)


def _squeeze(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _get(holder: Any, name: str) -> Any:
    """Return an attribute or an item of anything, None where there is none; a vendor's property may raise."""
    try:
        return holder.get(name) if isinstance(holder, dict) else getattr(holder, name, None)
    except Exception:
        return None


def _header(headers: Any, name: str) -> Iterator[Any]:
    try:
        pairs = list(headers.items())
    except Exception:
        return
    yield from (value for key, value in pairs if str(key).lower() == name)


def _seconds(value: Any, now: Callable[[], float]) -> float | None:
    """Return seconds from seconds, a ``timedelta`` or an HTTP date."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str, timedelta)):
        return None
    try:
        seconds = value.total_seconds() if isinstance(value, timedelta) else float(value)
    except (ValueError, OverflowError):
        moment = _moment(str(value))
        seconds = math.nan if moment is None else moment - now()
    return max(0.0, seconds) if math.isfinite(seconds) else None


def _moment(date: str) -> float | None:
    """Return the seconds since 1970 of an HTTP date, None where it is none."""
    try:
        moment = parsedate_to_datetime(date)
        aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return aware.timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
