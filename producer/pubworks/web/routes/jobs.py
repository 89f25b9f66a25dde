"""Jobs: list, look at, cancel, retry, tag, share."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from fastapi import APIRouter, Body, Path, Query
from fastapi.exceptions import RequestValidationError
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from pubworks.primitives.filters import wanted
from pubworks.states import OPEN, JobState
from pubworks.store import listing
from pubworks.store.records import Wanted
from pubworks.views import documents
from pubworks.web import models
from pubworks.web.desk import AtDesk, Desk, Reader, Submitter
from pubworks.web.routes.sessions import own

if TYPE_CHECKING:
    from pubworks.primitives.job import Job
    from pubworks.store.records import JobRecord

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])

#: Most tags of a job.
MOST_TAGS = 100

JobId = Annotated[str, Path(description="The job's id, or enough of its beginning or end.", max_length=64)]
_Text = Annotated[str | None, Query(max_length=200)]


@router.get("", response_model=models.JobPage)
def list_jobs(
    desk: AtDesk, who: Reader, *,
    limit: Annotated[int, Query(ge=1, le=1000)] = 10,
    skip: Annotated[int, Query(ge=0, le=1_000_000)] = 0,
    cursor: Annotated[str | None, Query(description="`next` of the page before.", max_length=200)] = None,
    backend: _Text = None,
    status: Annotated[list[JobState] | None, Query(description="Any of these.")] = None,
    tag: Annotated[list[str] | None, Query(description="All of these.", max_length=20)] = None,
    name: _Text = None,
    primitive: Literal["sampler", "estimator"] | None = None,
    session: Annotated[str | None, Query(max_length=64)] = None,
    created_after: AwareDatetime | None = None,
    created_before: AwareDatetime | None = None,
    descending: bool = True,
) -> dict[str, Any]:  # fmt: skip
    """List the jobs for which all that is given holds: one's own and what is shared, or for operators everybody's."""
    asked = wanted(
        limit + 1, skip, backend=backend, status=status, tags=tag, name=name, primitive=primitive,
        created_after=created_after, created_before=created_before, descending=descending,
    )  # fmt: skip
    asked = replace(asked, session=session, viewer=who.viewer, behind=_place(cursor))
    with desk.session.store.read() as connection:
        found = listing.find_jobs(connection, asked)
        page = found[:limit]
        tags_of = listing.tags_of(connection, [record.id for record in page])
    return {
        "jobs": [documents.of_record(record, tags_of[record.id]) for record in page],
        "next": _cursor(page[-1]) if len(found) > limit else None,
    }


def _cursor(record: JobRecord) -> str:
    """Return where a page ends; its time of submission comes back to the last bit."""
    return base64.urlsafe_b64encode(json.dumps([record.created_at, record.id]).encode()).decode()


def _place(cursor: str | None) -> tuple[float, str] | None:
    if cursor is None:
        return None
    try:
        created_at, job_id = json.loads(base64.urlsafe_b64decode(cursor))
        return float(created_at), str(job_id).encode().decode()  # half a character, as JSON may hold, is none
    except (ValueError, TypeError, OverflowError, RecursionError):
        problem = {"loc": ("query", "cursor"), "msg": "it is no `next` of a page", "type": "value_error"}
        raise RequestValidationError([problem]) from None


class CancelRequest(BaseModel):
    """Which jobs to cancel: those with all of the tags, of the session."""

    model_config = ConfigDict(extra="forbid")

    tags: list[Annotated[str, Field(min_length=1, max_length=200)]] = Field([], max_length=20, examples=[["scan"]])
    session: str | None = Field(None, max_length=64)

    @model_validator(mode="after")
    def _says_which(self) -> Self:
        if not self.tags and self.session is None:
            raise ValueError("say which jobs to cancel: tags, or a session")
        return self


@router.post("/cancel", response_model=models.CancelledJobs)
def cancel_jobs(asked: CancelRequest, desk: AtDesk, who: Submitter) -> dict[str, int]:
    """Cancel one's own open jobs with all of these tags, of this session; for operators, everybody's."""
    session = asked.session and own(desk, asked.session, who).id
    found = Wanted(None, states=OPEN, tags=tuple(asked.tags), session=session, viewer=who.viewer)
    records = [record for record, _ in desk.client.ledger.jobs(found) if who.viewer in (None, record.owner)]
    return {"cancelled": sum(desk.client.ledger.cancel(record.id) for record in records)}


@router.get("/{job_id}", response_model=models.JobStatus)
def get_job(job_id: JobId, desk: AtDesk, who: Reader) -> dict[str, Any]:
    """Show a job: its state, how far it is, what it waits for."""
    return view(desk, desk.job(job_id, who))


def view(desk: Desk, job: Job) -> dict[str, Any]:
    """Return a job with its progress."""
    return documents.of_view(desk.session.view(job.job_id()))


@router.get("/{job_id}/timeline", response_model=models.Timeline)
def timeline(job_id: JobId, desk: AtDesk, who: Reader) -> dict[str, Any]:
    """Show what happened to a job, in order."""
    job = desk.job(job_id, who)
    return {"id": job.job_id(), "events": [documents.of_event(event) for event in job.timeline()]}


@router.get("/{job_id}/provider-jobs", response_model=models.ProviderJobs)
def provider_jobs(job_id: JobId, desk: AtDesk, who: Reader) -> dict[str, Any]:
    """List every run of the job's batches, with the provider's ids, errors and times."""
    job = desk.job(job_id, who)
    return {"id": job.job_id(), "provider_jobs": job.provider_jobs()}


@router.get("/{job_id}/account", response_model=models.Account)
def account(job_id: JobId, desk: AtDesk, who: Reader) -> dict[str, Any]:
    """Show a job's options, what it used, how long it took, and what went wrong."""
    job = desk.job(job_id, who)
    known = {"usage": job.usage(), "metrics": job.metrics(), "error": job.error()}
    return {"id": job.job_id(), "options": job.options, **known}


@router.put("/{job_id}/tags", response_model=models.JobStatus)
def update_tags(
    job_id: JobId, desk: AtDesk, who: Submitter,
    tags: Annotated[list[str], Body(embed=True, max_length=MOST_TAGS, examples=[["vqe", "paper"]])],
) -> dict[str, Any]:  # fmt: skip
    """Give a job these tags and no others."""
    job = desk.own_job(job_id, who)
    job.update_tags(tags)
    return view(desk, job)


@router.put("/{job_id}/shared", response_model=models.JobStatus)
def share(
    job_id: JobId, desk: AtDesk, who: Submitter, shared: Annotated[bool, Body(embed=True, examples=[True])]
) -> dict[str, Any]:
    """Let every user see a job, with what went in and what came out, or its owner and operators only."""
    job = desk.own_job(job_id, who)
    job.shared = shared
    return view(desk, job)


@router.post("/{job_id}/cancel", response_model=models.Cancelled)
def cancel(job_id: JobId, desk: AtDesk, who: Submitter) -> dict[str, Any]:
    """Cancel a job: what waits is never run, what is in flight is stored when it comes."""
    job = desk.own_job(job_id, who)
    cancelled = job.cancel()
    return {**view(desk, job), "cancelled": cancelled}


@router.post("/{job_id}/retry", response_model=models.Retried)
def retry(job_id: JobId, desk: AtDesk, who: Submitter) -> dict[str, Any]:
    """Run what is missing of a job again; what has a result keeps it."""
    job = desk.own_job(job_id, who)
    again = desk.client.ledger.retry(job.job_id())
    return {**view(desk, job), "retried": again.batches, "held": again.held}
