"""The page's way in: which requests are a browser's, its cookie, and the token that its forms must send."""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from starlette.requests import cookie_parser

from pubworks.errors import NotAllowed

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from starlette.types import Scope

COOKIE = "pubworks_login"
THEME = "pubworks_theme"

#: First parts of the paths that are pages, and have their JSON at the same path under ``/v1`` -> what they are called.
PAGES = {
    "": "Overview", "jobs": "Jobs", "backends": "Backends", "workers": "Workers", "errors": "Errors", "held": "Held",
}  # fmt: skip
#: And of those that serve them.
_SERVICE = frozenset({"live", "logout", "theme"})
#: Answered to everybody.
LOGIN, STATIC = "/login", "/static/"

#: Longest path to come back to, in characters.
LONGEST_PATH = 2000

#: What a browser may do with a page; scripts, styles and the rest come from this server's files alone.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)


def is_page(path: str) -> bool:
    """Return whether a path is one for browsers, where their cookie counts.

    >>> is_page("/"), is_page("/jobs/01KA"), is_page("/v1/jobs"), is_page("/metrics")
    (True, True, False, False)
    """
    return _first(path) in PAGES.keys() | _SERVICE


def takes_cookie(scope: Scope) -> bool:
    """Return whether a request may be a browser's that is logged in: at a page, or where it looks for one in vain."""
    path = scope["path"]
    return is_page(path) or (scope["method"] == "GET" and wants_html(scope) and _first(path) != "v1")


def is_open(path: str) -> bool:
    """Return whether a path is answered to everybody."""
    return path == LOGIN or path.startswith(STATIC)


def wants_html(scope: Scope) -> bool:
    """Return whether who asks reads HTML, as browsers do."""
    return "text/html" in header(scope, b"accept")


def to_api(scope: Scope) -> Scope:
    """Return the request with which the API answers what another asks for as JSON at a page's URL."""
    path = scope["path"]
    if _first(path) not in PAGES or scope["method"] not in ("GET", "HEAD") or wants_html(scope):
        return scope
    at_api = "/v1/overview" if path == "/" else "/v1" + path
    return {**scope, "path": at_api, "raw_path": quote(at_api).encode()}


def login_path(scope: Scope) -> str:
    """Return where to log in, and come back from."""
    query = scope["query_string"].decode("latin-1")
    here = scope["path"] + (f"?{query}" if query else "")
    return f"{LOGIN}?next={quote(here, safe='')}" if len(here) <= LONGEST_PATH else LOGIN


def inside(path: str) -> str:
    """Return a path of this server's, whatever was asked for.

    >>> inside("/jobs?status=DONE"), inside("//evil.example"), inside("https://evil.example"), inside("/\\\\evil")
    ('/jobs?status=DONE', '/', '/', '/')
    """
    plain = path.startswith("/") and not path.startswith("//") and "\\" not in path and path.isprintable()
    return path if plain else "/"


def cookie(scope: Scope, name: str) -> str:
    """Return the value of a cookie; empty: there is none."""
    return cookie_parser(header(scope, b"cookie")).get(name, "")


def form_token(secret: str) -> str:
    """Return what the forms of a login send, and no other site can know."""
    return hmac.new(secret.encode(), b"pubworks form", hashlib.sha256).hexdigest()


def check_form(secret: str | None, sent: str) -> None:
    """Raise unless a form comes from a page of the same login.

    Raises:
        NotAllowed: It does not.
    """
    if not secret or not hmac.compare_digest(form_token(secret).encode(), sent.encode()):
        raise NotAllowed("This form is not of your login. Load the page again, and send it once more.")


def check_origin(scope: Scope) -> None:
    """Raise if another site sends a form; a browser says whose it is.

    Raises:
        NotAllowed: It is another's.
    """
    origin = header(scope, b"origin")
    if origin and origin.partition("://")[2] != header(scope, b"host"):
        raise NotAllowed("This form comes from another site.")


def secure(scope: Scope) -> bool:
    """Return whether the browser speaks TLS, to this server or to a proxy before it."""
    return scope["scheme"] == "https" or header(scope, b"x-forwarded-proto") == "https"


def base_url(scope: Scope) -> str:
    """Return the URL by which a browser reaches this server; nothing in it needs a quote."""
    host = "".join(char for char in header(scope, b"host") if char.isalnum() or char in ".-:[]_")
    return f"{'https' if secure(scope) else 'http'}://{host}"


def state(scope: Scope) -> MutableMapping[str, Any]:
    """Return what was found out about a request."""
    found: MutableMapping[str, Any] = scope.setdefault("state", {})
    return found


def header(scope: Scope, name: bytes) -> str:
    """Return a header of a request; empty: there is none."""
    found: Any = next((value for key, value in scope["headers"] if key == name), b"")
    return str(found.decode("utf-8", "replace")).replace("\0", "")


def _first(path: str) -> str:
    return path.removeprefix("/").partition("/")[0]
