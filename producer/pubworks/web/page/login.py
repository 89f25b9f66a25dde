"""Log in with a token, log out, choose light or dark."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from pubworks.errors import NotAuthenticated
from pubworks.store import logins, tokens
from pubworks.store.audit import Author, acting
from pubworks.web import door
from pubworks.web.desk import AtDesk
from pubworks.web.page import paper
from pubworks.web.page.visit import CHECKED, Visiting, done

router = APIRouter()

_Path = Annotated[str, Query(max_length=door.LONGEST_PATH)]
_Token = Annotated[str, Form(max_length=1000)]


@router.get(door.LOGIN)
def ask(request: Request, next: _Path = "/") -> Response:
    """Ask for a token."""
    return _form(request, next)


@router.post(door.LOGIN)
def log_in(request: Request, desk: AtDesk, token: _Token = "", next: _Path = "/") -> Response:
    """Log in with a token: a cookie that no script and no other site can use stands for it."""
    door.check_origin(request.scope)
    store = desk.session.store
    try:
        with store.read() as connection:
            who = tokens.judge(connection, token.strip())
        with acting(Author(who.owner, f"POST {door.LOGIN}", token=who.token)), store.write() as connection:
            secret = logins.begin(connection, token.strip())
    except NotAuthenticated as error:
        return _form(request, next, str(error), 401)
    answer = done(door.inside(next))
    answer.set_cookie(door.COOKIE, secret, httponly=True, samesite="strict", secure=door.secure(request.scope))
    return answer


def _form(request: Request, to: str, wrong: str = "", status: int = 200) -> Response:
    return HTMLResponse(paper.whole(request.scope, "login", to=door.inside(to), wrong=wrong), status)


@router.post("/logout", dependencies=CHECKED)
def log_out(visit: Visiting) -> Response:
    """Log out: the cookie is worth nothing any more."""
    with visit.desk.session.store.write() as connection:
        logins.end(connection, door.state(visit.request.scope)["login"])
    answer = RedirectResponse(door.LOGIN, 303)
    answer.delete_cookie(door.COOKIE, httponly=True, samesite="strict")
    return answer


@router.post("/theme", dependencies=CHECKED)
def choose_theme(
    visit: Visiting, theme: Annotated[Literal["auto", "light", "dark"], Form()],
    back: Annotated[str, Form(max_length=2000)] = "/",
) -> Response:  # fmt: skip
    """Choose light or dark; auto is as the system has it."""
    answer = done(door.inside(back))
    answer.set_cookie(door.THEME, theme, max_age=31_536_000, samesite="strict", secure=door.secure(visit.request.scope))
    return answer
