"""Errors as ``application/problem+json`` (RFC 9457), with the code by which the command line ends."""

from __future__ import annotations

import math
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NamedTuple

from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from sqlalchemy.exc import DataError
from starlette.exceptions import HTTPException

from pubworks import errors
from pubworks.telemetry import log, masked
from pubworks.web import door
from pubworks.web.page import paper

if TYPE_CHECKING:
    from fastapi import FastAPI, Request
    from starlette.types import Scope

MEDIA_TYPE = "application/problem+json"


class Kind(NamedTuple):
    """How an error is told."""

    status: HTTPStatus
    title: str
    #: Name of the exit code in ``pubworks.cli.exits``.
    code: str


#: The first class that fits decides, so classes stand before their bases.
_BY_ERROR: tuple[tuple[type[errors.PubworksError], Kind], ...] = (
    (errors.NotAuthenticated, Kind(HTTPStatus.UNAUTHORIZED, "Who asks?", "FAILED")),
    (errors.NotAllowed, Kind(HTTPStatus.FORBIDDEN, "Not allowed", "FAILED")),
    (errors.TooManyRequests, Kind(HTTPStatus.TOO_MANY_REQUESTS, "Too many requests", "FAILED")),
    (errors.TooLarge, Kind(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "Too large", "USAGE")),
    (errors.SessionClosed, Kind(HTTPStatus.CONFLICT, "Session closed", "USAGE")),
    (errors.SubmissionError, Kind(HTTPStatus.UNPROCESSABLE_ENTITY, "Cannot be submitted", "USAGE")),
    (errors.ConfigError, Kind(HTTPStatus.UNPROCESSABLE_ENTITY, "Cannot be done as asked", "USAGE")),
    (errors.NothingToRetry, Kind(HTTPStatus.CONFLICT, "Nothing to retry", "USAGE")),
    (errors.JobTimeout, Kind(HTTPStatus.CONFLICT, "Not ended yet", "TIMED_OUT")),
    (errors.JobError, Kind(HTTPStatus.CONFLICT, "No such result", "FAILED")),
    (errors.JobNotFound, Kind(HTTPStatus.NOT_FOUND, "No such job", "NOT_FOUND")),
    (errors.SessionNotFound, Kind(HTTPStatus.NOT_FOUND, "No such session", "NOT_FOUND")),
    (errors.TokenNotFound, Kind(HTTPStatus.NOT_FOUND, "No such token", "NOT_FOUND")),
    (errors.WorkerNotFound, Kind(HTTPStatus.NOT_FOUND, "No such worker", "NOT_FOUND")),
    (errors.BatchNotHeld, Kind(HTTPStatus.NOT_FOUND, "No such held batch", "NOT_FOUND")),
    (errors.StoreUnreachable, Kind(HTTPStatus.SERVICE_UNAVAILABLE, "Database unreachable", "UNREACHABLE")),
    (errors.BrokerUnreachable, Kind(HTTPStatus.SERVICE_UNAVAILABLE, "Broker unreachable", "UNREACHABLE")),
    (errors.SchemaOutOfDate, Kind(HTTPStatus.SERVICE_UNAVAILABLE, "Schema out of date", "SCHEMA_OUT_OF_DATE")),
    (errors.ProviderError, Kind(HTTPStatus.BAD_GATEWAY, "The provider failed", "FAILED")),
    (errors.PubworksError, Kind(HTTPStatus.INTERNAL_SERVER_ERROR, "Failed", "FAILED")),
)

#: What is said where the error itself would tell how the server is set up.
_AWAY = "The server's database or broker does not answer. Try again later; its operator finds the cause in the log."
_BROKEN = "The server failed. Its operator finds the cause in the log."


def kind_of(error: errors.PubworksError) -> Kind:
    """Return how an error is told.

    >>> kind_of(errors.JobNotFound("no such job")).status.value
    404
    """
    return next(kind for base, kind in _BY_ERROR if isinstance(error, base))


def problem_of(error: errors.PubworksError, scope: Scope) -> Response:
    """Return the answer that tells an error; what is the server's fault goes to the log instead."""
    if isinstance(error, errors.NotAuthenticated) and door.wants_html(scope) and door.takes_cookie(scope):
        return _to_login(scope)
    kind = kind_of(error)
    detail = masked(str(error))
    if kind.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        log("api.failed", error=detail)
        detail = _AWAY if kind.status == HTTPStatus.SERVICE_UNAVAILABLE else _BROKEN
    headers = {}
    if isinstance(error, errors.NotAuthenticated):
        headers["WWW-Authenticate"] = "Bearer"
    if isinstance(error, errors.TooManyRequests):
        headers["Retry-After"] = str(math.ceil(error.retry_after))
    return _answer(scope, type(error).__name__, kind, detail, headers)


def _to_login(scope: Scope) -> Response:
    """Return the way to the login. Who follows a link of another site may be logged in: their cookie was not sent."""
    if door.header(scope, b"sec-fetch-site") == "cross-site" and scope["method"] == "GET":
        return HTMLResponse(paper.again(scope))
    return RedirectResponse(door.login_path(scope), HTTPStatus.SEE_OTHER)


def _answer(scope: Scope, name: str, kind: Kind, detail: str, headers: dict[str, str] | None = None) -> Response:
    document = {"type": f"urn:pubworks:error:{name}", "title": kind.title, "status": kind.status.value}
    document |= {"detail": detail, "code": kind.code}
    if _is_at_page(scope):
        return HTMLResponse(paper.problem(scope, document), kind.status.value, headers)
    return JSONResponse(document, kind.status.value, headers, media_type=MEDIA_TYPE)


def _is_at_page(scope: Scope) -> bool:
    """Return whether somebody at a browser asks, and not for data."""
    return door.wants_html(scope) and not scope["path"].startswith("/v1/")


def install(app: FastAPI) -> None:
    """Have every error of an app told as a problem."""
    app.add_exception_handler(errors.PubworksError, _ours)
    app.add_exception_handler(RequestValidationError, _wrong_input)
    app.add_exception_handler(HTTPException, _of_http)
    app.add_exception_handler(DataError, _of_data)
    app.add_exception_handler(Exception, _of_defect)


async def _ours(request: Request, error: Any) -> Response:
    return problem_of(error, request.scope)


async def _wrong_input(request: Request, error: Any) -> Response:
    found = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()[:3])
    kind = Kind(HTTPStatus.UNPROCESSABLE_ENTITY, "Wrong input", "USAGE")
    where = "" if _is_at_page(request.scope) else " See /v1/openapi.json for what is expected."
    return _answer(request.scope, "WrongInput", kind, f"{found}.{where}")


async def _of_http(request: Request, error: Any) -> Response:
    status, title = HTTPStatus(error.status_code), HTTPStatus(error.status_code).phrase
    code = "NOT_FOUND" if status == HTTPStatus.NOT_FOUND else "USAGE"
    detail = str(error.detail) if error.detail != title else f"{title}. /v1/openapi.json says what is."
    if _is_at_page(request.scope) and status in (HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED):
        title, detail = "No such page", f"There is no page {request.scope['path']!r} here."
    return _answer(request.scope, "Http", Kind(status, title, code), detail, dict(error.headers or {}))


async def _of_data(request: Request, error: Any) -> Response:  # noqa: ARG001
    kind = Kind(HTTPStatus.UNPROCESSABLE_ENTITY, "Wrong input", "USAGE")
    return _answer(
        request.scope,
        "WrongInput",
        kind,
        "The database cannot hold a value: it has a NUL or NaN in it, or is too large.",
    )


async def _of_defect(request: Request, error: Any) -> Response:  # noqa: ARG001
    return unforeseen(request.scope)


def unforeseen(scope: Scope) -> Response:
    """Return the answer to a request that met a defect."""
    return _answer(scope, "InternalError", Kind(HTTPStatus.INTERNAL_SERVER_ERROR, "Failed", "FAILED"), _BROKEN)
