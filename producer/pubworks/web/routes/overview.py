"""The whole service over time, and its errors."""

from __future__ import annotations

import contextlib
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from pubworks.errors import JobNotFound, NotAllowed, NothingToRetry
from pubworks.views import errors
from pubworks.views.overview import Span
from pubworks.web import models
from pubworks.web.desk import AtDesk, Reader, Submitter

router = APIRouter(prefix="/v1", tags=["overview"])


class ErrorChoice(BaseModel):
    """Which errors, as `errors` lists them."""

    model_config = ConfigDict(extra="forbid")

    backend: str = Field(max_length=200, examples=["aria"])
    kind: str | None = Field(None, max_length=200, examples=["QpuError"])
    message: str = Field(max_length=5000, examples=["calibration lost"])


@router.get("/overview", response_model=models.Overview)
def get_overview(desk: AtDesk, who: Reader, span: Span = Span.HOUR) -> dict[str, Any]:
    """Show what there is to do, and what was done of late: of the jobs that one may see."""
    return desk.overviews.document(span, who.viewer)


@router.get("/errors", response_model=models.Errors)
def list_errors(desk: AtDesk, who: Reader) -> dict[str, Any]:
    """List what failed of jobs that are not complete, by backend, class and message, the newest first."""
    with desk.session.store.read() as connection:
        return {"errors": [errors.document(one) for one in errors.group(connection, who.viewer)]}


@router.post("/errors/retry", response_model=models.RetriedAll)
def retry_errors(choice: ErrorChoice, desk: AtDesk, who: Submitter) -> dict[str, Any]:
    """Run what is missing again of all jobs that have ended with these errors, and are one's own to retry."""
    with desk.session.store.read() as connection:
        found = [errors.document(one) for one in errors.group(connection, who.viewer)]
    wanted = (choice.backend, choice.kind, choice.message)
    jobs = [
        job for one in found if (one["backend"], one["kind"], one["message"]) == wanted for job in one["retryable_jobs"]
    ]
    retried = {}
    for job in jobs:
        with contextlib.suppress(NothingToRetry, NotAllowed, JobNotFound):  # another's, or somebody was faster
            retried[job] = desk.own_job(job, who).retry()
    return {"retried": retried}
