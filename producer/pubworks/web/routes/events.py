"""Events as they happen, as server-sent events."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Header, Query
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse

from pubworks.web import models
from pubworks.web.desk import AtDesk, Reader

router = APIRouter(prefix="/v1", tags=["events"])

#: Most seconds that a request may wait for something to happen.
LONGEST_WAIT_S = 25.0

_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "For each event its id, its name and JSON as in the timeline, with `id` and `job`.",
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
    }
}
_Id = Annotated[int | None, Header(ge=0, lt=2**63, description="Begin behind this event.")]


@router.get("/events", response_class=StreamingResponse, responses=_ANSWERS)
async def events(
    desk: AtDesk, who: Reader, last_event_id: _Id = None,
    after: Annotated[int | None, Query(ge=0, lt=2**63, description="The same, where headers cannot be set.")] = None,
    job: Annotated[str | None, Query(max_length=64, description="Only of this job.")] = None,
) -> StreamingResponse:  # fmt: skip
    """Stream what happens to jobs that one may see, in order; without an id to begin behind, from now on."""
    whole_id = None if job is None else await run_in_threadpool(desk.session.find, job, who.viewer)
    last = after if last_event_id is None else last_event_id
    return StreamingResponse(desk.feed.watch(who, whole_id, last), media_type="text/event-stream")


@router.get("/wait", response_model=models.Waited)
async def wait(
    desk: AtDesk, who: Reader,
    after: Annotated[int | None, Query(ge=0, lt=2**63, description="`after` of the answer before.")] = None,
    most_s: Annotated[float, Query(gt=0, le=LONGEST_WAIT_S, description="Seconds until it answers all the same.")] = 10,
    job: Annotated[str | None, Query(max_length=64, description="Only of this job.")] = None,
) -> dict[str, Any]:  # fmt: skip
    """Answer once something happens to a job, or to any that one may see; without an `after`, at once."""
    whole_id = None if job is None else await run_in_threadpool(desk.session.find, job, who.viewer)
    seen = await desk.feed.wait(who, whole_id, after, most_s)
    if whole_id is not None:
        await run_in_threadpool(desk.session.find, whole_id, who.viewer)  # it may not be shared any more
    status = whole_id and str(await run_in_threadpool(desk.client.ledger.state, whole_id))
    return {"id": whole_id, "status": status, "after": seen}
