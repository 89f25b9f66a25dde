"""A browser at a page: shows sheets, follows them, and sends forms that change something."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Form, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response, StreamingResponse

from pubworks.errors import NotAllowed
from pubworks.states import Scope
from pubworks.store import logins
from pubworks.store.audit import LONGEST_WHY
from pubworks.store.tokens import Principal
from pubworks.web import door
from pubworks.web.desk import AtDesk, Desk, Reader
from pubworks.web.feed import Watcher
from pubworks.web.page import live, paper
from pubworks.web.page.live import Sheet


@dataclass(frozen=True)
class Visit:
    """Who asks for a page, and how."""

    request: Request
    desk: Desk
    who: Principal

    @property
    def sees(self) -> Hashable:
        """What decides what a page shows, beside what it was asked for."""
        return (self.who.viewer, self.who.owner, tuple(sorted(self.who.scopes)))

    @property
    def rights(self) -> dict[str, Any]:
        """What the parts of a page are told of who reads them."""
        may = {f"may_{scope}": self.who.may(scope) for scope in (Scope.SUBMIT, Scope.OPERATE)}
        return {**may, "viewer": self.who.viewer, "owner": self.who.owner}

    def needs(self, scope: Scope) -> None:
        """Raise unless they may do so much.

        Raises:
            NotAllowed: Their token does not reach so far.
        """
        if not self.who.may(scope):
            raise NotAllowed(f"This needs a token with the scope {scope}; yours has {', '.join(self.who.scopes)}.")

    def show(self, sheet: Sheet) -> Response:
        """Return a page as it stands."""
        context = sheet.look() | self.rights
        painted = sheet.paint(context)
        return HTMLResponse(self._whole(sheet, context, painted))

    def _whole(self, sheet: Sheet, context: dict[str, Any], painted: dict[str, paper.Part]) -> str:
        query = [*self.request.query_params.multi_items(), ("seen", live.seen_of(painted))]
        url = f"/live{self.request.url.path}?{urlencode(query)}"
        return paper.whole(
            self.request.scope, sheet.template, **context, title=sheet.title, parts=painted, live_url=url
        )

    def follow(self, sheet: Sheet, seen: str) -> Response:
        """Return the stream of what changes of a page."""
        rights, look = self.rights, sheet.look
        sheet = Sheet(**{**vars(sheet), "look": lambda: look() | rights})
        secret = door.state(self.request.scope).get("login")
        watcher = Watcher(self.who, sheet.job, secret and logins.key_of(secret))
        frames = live.follow(self.desk.feed, self.desk.painter, watcher, sheet, seen)
        # What nginx would otherwise collect before it passes it on.
        return StreamingResponse(frames, media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})

    def ask(self, title: str, template: str = "act", **context: Any) -> Response:
        """Return the page of a form that changes something."""
        return HTMLResponse(paper.whole(self.request.scope, template, title=title, **context))


def _visit(request: Request, desk: AtDesk, who: Reader) -> Visit:
    return Visit(request, desk, who)


Visiting = Annotated[Visit, Depends(_visit)]

#: Why something is changed, as a form says it; kept in the audit.
Why = Annotated[str, Form(max_length=LONGEST_WHY)]


def check_form(visit: Visiting, form: Annotated[str, Form(max_length=200)] = "") -> None:
    """Raise unless a form was sent from a page of the same login.

    Raises:
        NotAllowed: It was not.
    """
    door.check_origin(visit.request.scope)
    door.check_form(door.state(visit.request.scope).get("login"), form)


#: Of every route that changes something.
CHECKED = [Depends(check_form)]


def done(to: str) -> Response:
    """Return the way to a page, after something was changed."""
    return RedirectResponse(to, 303)


def serve(router: APIRouter, path: str, make: Callable[..., Sheet]) -> None:
    """Have a router show a page, and follow it under ``/live``."""
    asked_for = Depends(make)

    def show(visit: Visiting, sheet: Sheet = asked_for) -> Response:
        return visit.show(sheet)

    async def follow(
        visit: Visiting, sheet: Sheet = asked_for, seen: Annotated[str, Query(max_length=500)] = ""
    ) -> Response:
        return visit.follow(sheet, seen)

    router.add_api_route(path, show, response_class=HTMLResponse)
    router.add_api_route("/live" + path, follow, response_class=StreamingResponse)
