"""One job: how it stands, its batches and runs, its results, and what can be done about it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Form, Query
from fastapi.responses import Response
from markupsafe import Markup
from pydantic import BaseModel, ConfigDict

from pubworks.errors import SubmissionError
from pubworks.primitives.display import chart
from pubworks.primitives.timeline import timeline
from pubworks.states import BatchState, JobState, Scope
from pubworks.store.audit import because
from pubworks.views import batches, documents
from pubworks.web import door
from pubworks.web.desk import Submitter
from pubworks.web.page.draw.flow import flow
from pubworks.web.page.draw.grid import Piece, grid, note
from pubworks.web.page.live import Sheet
from pubworks.web.page.results import shown_result
from pubworks.web.page.visit import CHECKED, Visit, Visiting, Why, done, serve
from pubworks.web.routes import jobs as api
from pubworks.web.routes.jobs import JobId

if TYPE_CHECKING:
    from pubworks.primitives.job import Job
    from pubworks.primitives.timeline import Event
    from pubworks.views.batches import BatchView

router = APIRouter()

#: Batches of one page of their table, and events that are shown.
_ROWS, _EVENTS = 25, 24

#: Seconds after which an ended job is looked at again; it may be retried.
_QUIET_S = 15.0


class JobView(BaseModel):
    """What of a job is shown."""

    model_config = ConfigDict(extra="ignore")

    #: Which batches, from the first of them on.
    state: BatchState | None = None
    first: Annotated[int, Query(ge=0, le=10**6)] = 0
    #: Which result: the PUB (None: the first that has one), and which of its circuits, in the order of its shape.
    pub: Annotated[int | None, Query(ge=0, lt=2**31)] = None
    at: Annotated[int, Query(ge=0, lt=2**31)] = 0


def _sheet(visit: Visiting, job_id: JobId, asked: Annotated[JobView, Query()]) -> Sheet:
    job = visit.desk.job(job_id, visit.who)
    whole_id, record = job.job_id(), job.record()
    parts = ("head", "flow", "runs", "results", "batches", "events")
    tick_s = _QUIET_S if record.state.is_final else 2.0
    key = ("job", visit.sees, whole_id, asked.model_dump_json())
    return Sheet("job", record.name or whole_id, partial(_look, visit, whole_id, asked), parts, key, whole_id, tick_s)


def _look(visit: Visit, job_id: str, asked: JobView) -> dict[str, Any]:
    job = visit.desk.job(job_id, visit.who)  # again each time: it may not be shared any more
    with visit.desk.session.store.read() as connection:
        views = batches.look(connection, job.job_id())
    document = documents.of_view(visit.desk.session.view(job.job_id()))
    mine = visit.who.viewer is None or document["owner"] == visit.who.owner
    return {
        "job": document,
        "mine": mine and visit.who.may(Scope.SUBMIT),
        "is_final": JobState(document["status"]).is_final,
        "retries": document["status"] in (JobState.FAILED, JobState.PARTIAL, JobState.CANCELLED),
        "error": job.error(),
        "usage": job.usage(),
        "flow": flow(document["batches"]),
        "chart": Markup(_chart(job, views)),
        "grid": _grid(document["num_pubs"], views),
        "table": _table(views, asked),
        "result": shown_result(visit.desk, job, asked.pub, asked.at),
        "events": [documents.of_event(event) for event in reversed(_events(visit, job))],
        "lines": _lines(job.job_id(), door.base_url(visit.request.scope)),
        "asked": asked,
    }


def _events(visit: Visit, job: Job) -> list[Event]:
    return timeline(visit.desk.session.store, job.job_id(), _EVENTS)


def _chart(job: Job, views: list[BatchView]) -> str:
    runs = [{**run._mapping, "attempt": run.number} for view in views for run in view.runs]
    return chart(job.record(), runs, views[0].now).drawing() if views else ""


def _grid(num_pubs: int, views: list[BatchView]) -> dict[str, Any]:
    pieces = (
        Piece(piece[0], place, BatchState(view.row.state))
        for place, view in enumerate(views)
        for piece in view.row.slices
    )
    names = [view.name for view in views]
    return {"drawing": grid(num_pubs, names, pieces), "note": note(num_pubs, len(names))}


@dataclass(frozen=True)
class _Table:
    """Some of the batches of a job."""

    rows: list[BatchView]
    first: int
    total: int
    #: Seconds of the longest one shown.
    longest: float

    @property
    def before(self) -> int | None:
        """Where the page before these begins."""
        return max(0, self.first - _ROWS) if self.first else None

    @property
    def after(self) -> int | None:
        """Where the page after these begins."""
        return self.first + _ROWS if self.first + _ROWS < self.total else None


def _table(views: list[BatchView], asked: JobView) -> _Table:
    wanted = batches.by_trouble([view for view in views if asked.state in (None, BatchState(view.row.state))])
    rows = wanted[asked.first : asked.first + _ROWS]
    return _Table(rows, asked.first, len(wanted), max((sum(view.spans) for view in rows), default=0.0))


def _lines(job_id: str, url: str) -> dict[str, str]:
    """Return what to type to have the job elsewhere."""
    python = f'from pubworks.client import Client\n\njob = Client("{url}").job("{job_id}")\nresult = job.result()'
    return {"Python": python, "Shell": f"export PUBWORKS_URL={url}\npubworks watch {job_id}\npubworks result {job_id}"}


serve(router, "/jobs/{job_id}", _sheet)


@router.get("/jobs/{job_id}/cancel")
def ask_to_cancel(visit: Visiting, job_id: JobId, who: Submitter) -> Response:
    """Ask whether to cancel a job, and say what becomes of it."""
    job = visit.desk.own_job(job_id, who)
    document = api.view(visit.desk, job)
    return visit.ask("Cancel the job", "job_cancel", job=document, is_final=JobState(document["status"]).is_final)


@router.post("/jobs/{job_id}/cancel", dependencies=CHECKED)
def cancel(visit: Visiting, job_id: JobId, who: Submitter, why: Why = "") -> Response:
    """Cancel a job."""
    with because(why):
        found = api.cancel(job_id, visit.desk, who)
    return done(f"/jobs/{found['id']}")


@router.get("/jobs/{job_id}/retry")
def ask_to_retry(visit: Visiting, job_id: JobId, who: Submitter) -> Response:
    """Ask whether to run what is missing of a job again."""
    job = visit.desk.own_job(job_id, who)
    return visit.ask("Retry what is missing", "job_retry", job=api.view(visit.desk, job), error=job.error())


@router.post("/jobs/{job_id}/retry", dependencies=CHECKED)
def retry(visit: Visiting, job_id: JobId, who: Submitter, why: Why = "") -> Response:
    """Run what is missing of a job again."""
    with because(why):
        found = api.retry(job_id, visit.desk, who)
    return done(f"/jobs/{found['id']}")


@router.get("/jobs/{job_id}/shared")
def ask_to_share(visit: Visiting, job_id: JobId, who: Submitter) -> Response:
    """Ask whether to share a job, or to stop."""
    job = api.view(visit.desk, visit.desk.own_job(job_id, who))
    return visit.ask("Stop sharing the job" if job["shared"] else "Share the job", "job_shared", job=job)


@router.post("/jobs/{job_id}/shared", dependencies=CHECKED)
def share(visit: Visiting, job_id: JobId, who: Submitter, shared: Annotated[bool, Form()], why: Why = "") -> Response:
    """Share a job, or stop."""
    with because(why):
        found = api.share(job_id, visit.desk, who, shared)
    return done(f"/jobs/{found['id']}")


@router.get("/jobs/{job_id}/tags")
def ask_for_tags(visit: Visiting, job_id: JobId, who: Submitter) -> Response:
    """Ask for the tags of a job."""
    return visit.ask("Tags of the job", "job_tags", job=api.view(visit.desk, visit.desk.own_job(job_id, who)))


@router.post("/jobs/{job_id}/tags", dependencies=CHECKED)
def set_tags(
    visit: Visiting, job_id: JobId, who: Submitter, tags: Annotated[str, Form(max_length=20_000)] = "", why: Why = ""
) -> Response:
    """Give a job these tags, which stand between commas, and no others."""
    words = [word.strip() for word in tags.split(",") if word.strip()]
    if len(words) > api.MOST_TAGS:
        raise SubmissionError(f"A job has at most {api.MOST_TAGS} tags, not {len(words)}. Leave some out.")
    with because(why):
        found = api.update_tags(job_id, visit.desk, who, words)
    return done(f"/jobs/{found['id']}")
