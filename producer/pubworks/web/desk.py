"""What the routes work with: the client, and who asks for which job."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import Depends, Request, Security
from fastapi.security import HTTPBearer

from pubworks.errors import NotAllowed
from pubworks.primitives.job import Job
from pubworks.states import Scope
from pubworks.store.tokens import Principal

if TYPE_CHECKING:
    from collections.abc import Callable

    from prometheus_client import CollectorRegistry

    from pubworks.client import Client
    from pubworks.views.overview import Overviews
    from pubworks.views.session import Session
    from pubworks.web.feed import Feed
    from pubworks.web.intake import Intake
    from pubworks.web.page.live import Painter
    from pubworks.web.reader import Reader as UploadReader


@dataclass(frozen=True)
class Desk:
    """The client that a user at this machine would have, shared by all requests."""

    client: Client
    session: Session
    intake: Intake
    reader: UploadReader
    feed: Feed
    painter: Painter
    overviews: Overviews
    metrics: CollectorRegistry

    def job(self, job_id: str, who: Principal) -> Job:
        """Return the handle of a job that they may see.

        Raises:
            JobNotFound: There is none, or they may not.
        """
        return self.client.job(self.session.find(job_id, who.viewer))

    def own_job(self, job_id: str, who: Principal) -> Job:
        """Return the handle of a job that they may change.

        Raises:
            JobNotFound: There is none, or they may not even see it.
            NotAllowed: It is another's.
        """
        job = self.job(job_id, who)
        if who.viewer is not None and job.record().owner != who.owner:
            raise NotAllowed(f"Job {job.job_id()} is another user's. Who submitted it, or an operator, may change it.")
        return job


def _desk(request: Request) -> Desk:
    desk: Desk = request.app.state.desk
    return desk


def _needs(scope: Scope) -> Callable[..., Any]:
    """Return the dependency that gives who asks, if their token reaches so far."""

    async def principal(request: Request, _: Annotated[Any, Security(_BEARER)]) -> Principal:
        found: Principal = request.state.principal
        if not found.may(scope):
            raise NotAllowed(f"This needs a token with the scope {scope}; yours has {', '.join(sorted(found.scopes))}.")
        return found

    return principal


_BEARER = HTTPBearer(auto_error=False, description="A token of `pubworks token create`.")

AtDesk = Annotated[Desk, Depends(_desk)]
Reader = Annotated[Principal, Depends(_needs(Scope.READ))]
Submitter = Annotated[Principal, Depends(_needs(Scope.SUBMIT))]
Operator = Annotated[Principal, Depends(_needs(Scope.OPERATE))]
Admin = Annotated[Principal, Depends(_needs(Scope.ADMIN))]
