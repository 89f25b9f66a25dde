"""Submit a job, or plan one: circuits and values as parts of one upload."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Header, Request, Response
from fastapi.concurrency import run_in_threadpool

from pubworks.backends import registry
from pubworks.web import models
from pubworks.web.desk import AtDesk, Desk, Submitter
from pubworks.web.routes.jobs import view
from pubworks.web.routes.sessions import own

if TYPE_CHECKING:
    from pubworks.ledger.parcels import Span
    from pubworks.store.records import JobDraft
    from pubworks.store.tokens import Principal

router = APIRouter(prefix="/v1", tags=["submission"])

_BODY = {
    "requestBody": {
        "required": True,
        "description": "`job` is a JobRequest as JSON; every other part is a file that its PUBs name.",
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["job"],
                    "properties": {"job": {"type": "string", "contentMediaType": "application/json"}},
                    "additionalProperties": {"type": "string", "contentMediaType": "application/octet-stream"},
                },
                "example": {"job": '{"backend": "aer", "pubs": [{"circuit": "circuits"}]}', "circuits": "(QPY)"},
            }
        },
    }
}


@router.post("/jobs", response_model=models.Submitted, status_code=201, openapi_extra=_BODY)
async def submit(
    request: Request, response: Response, desk: AtDesk, who: Submitter,
    idempotency_key: Annotated[str | None, Header(min_length=1, max_length=200)] = None,
) -> dict[str, Any]:  # fmt: skip
    """Submit a job. With an idempotency key of one's own, the same submission again answers 200 with the same job."""
    async with desk.intake.parts(request, who.owner) as parts, desk.intake.turn():
        document, is_new = await run_in_threadpool(_store, desk, parts, idempotency_key, who)
    response.status_code = 201 if is_new else 200
    response.headers["Location"] = f"/v1/jobs/{document['id']}"
    return document


@router.post("/plan", response_model=models.Plan, openapi_extra=_BODY)
async def plan(request: Request, desk: AtDesk, who: Submitter) -> dict[str, Any]:
    """Tell what the same submission to ``/v1/jobs`` would run, how long it may take, and what it may cost."""
    async with desk.intake.parts(request, who.owner) as parts, desk.intake.turn():
        return await run_in_threadpool(_plan, desk, parts)


def _store(desk: Desk, parts: dict[str, Span], key: str | None, who: Principal) -> tuple[dict[str, Any], bool]:
    draft, warned = _draft(desk, parts, key=key)
    session = draft.session and own(desk, draft.session, who).id
    job = desk.client.submit(replace(draft, owner=who.owner, session=session), ())
    return {**view(desk, job), "warnings": warned}, job.job_id() == draft.id


def _plan(desk: Desk, parts: dict[str, Span]) -> dict[str, Any]:
    draft, _ = _draft(desk, parts, stored=False)
    return desk.client.quote(draft, ()).document()


def _draft(
    desk: Desk, parts: dict[str, Span], *, key: str | None = None, stored: bool = True
) -> tuple[JobDraft, list[str]]:
    job_id = desk.client.new_id()

    def look_up(backend: str) -> dict[str, Any]:
        registry.find(desk.client.settings, backend)  # no object of this process, whatever the name
        known = desk.client.target(backend)
        target = {**asdict(known), "behaviour": known.behaviour.model_dump(mode="json")}
        return {"target": target, "job_id": job_id, "idempotency_key": key, "stored": stored}

    draft, warned = desk.reader.draft(parts, look_up)
    return replace(draft, id=job_id), warned
