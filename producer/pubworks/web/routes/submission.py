"""Submit a job, or plan one: circuits and values as parts of one upload."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Header, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.datastructures import UploadFile

from pubworks.backends import registry
from pubworks.web import models
from pubworks.web.desk import AtDesk, Desk, Submitter
from pubworks.web.requests import MOST_PUBS, JobRequest
from pubworks.web.routes.jobs import view
from pubworks.web.routes.sessions import own

if TYPE_CHECKING:
    from pubworks.store.records import JobDraft
    from pubworks.store.tokens import Principal

router = APIRouter(prefix="/v1", tags=["submission"])

#: Largest part that is no file, in bytes.
_FIELD_BYTES = 8 << 20

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
    asked, parts = await _read(request)
    document, is_new = await run_in_threadpool(
        _store, desk, asked, parts, idempotency_key or asked.idempotency_key, who
    )
    response.status_code = 201 if is_new else 200
    response.headers["Location"] = f"/v1/jobs/{document['id']}"
    return document


@router.post("/plan", response_model=models.Plan, openapi_extra=_BODY)
async def plan(request: Request, desk: AtDesk, _who: Submitter) -> dict[str, Any]:
    """Tell what the same submission to ``/v1/jobs`` would run, how long it may take, and what it may cost."""
    asked, parts = await _read(request)
    return await run_in_threadpool(_plan, desk, asked, parts)


async def _read(request: Request) -> tuple[JobRequest, dict[str, bytes]]:
    async with request.form(max_files=MOST_PUBS, max_fields=MOST_PUBS, max_part_size=_FIELD_BYTES) as form:
        parts = {
            name: await part.read() if isinstance(part, UploadFile) else part.encode()
            for name, part in form.multi_items()
        }
    try:
        return JobRequest.model_validate_json(parts.pop("job", b"")), parts
    except ValidationError as error:
        raise RequestValidationError([{**item, "loc": ("job", *item["loc"])} for item in error.errors()]) from None


def _store(
    desk: Desk, asked: JobRequest, parts: dict[str, bytes], key: str | None, who: Principal
) -> tuple[dict[str, Any], bool]:
    draft, warned = _draft(desk, asked, parts, key)
    session = asked.session and own(desk, asked.session, who).id
    job = desk.client.submit(replace(draft, owner=who.owner, shared=asked.shared, session=session), ())
    return {**view(desk, job), "warnings": warned}, job.job_id() == draft.id


def _plan(desk: Desk, asked: JobRequest, parts: dict[str, bytes]) -> dict[str, Any]:
    draft, _ = _draft(desk, asked, parts, None)
    return desk.client.quote(draft, ()).document()


def _draft(desk: Desk, asked: JobRequest, parts: dict[str, bytes], key: str | None) -> tuple[JobDraft, list[str]]:
    registry.find(desk.client.settings, asked.backend)  # no object of this process, whatever the name
    known = desk.client.target(asked.backend)
    target = {**asdict(known), "behaviour": known.behaviour.model_dump(mode="json")}
    job_id = desk.client.new_id()
    said = {"target": target, "job_id": job_id, "idempotency_key": key}
    draft, warned = desk.reader.draft({**asked.model_dump(mode="json"), **said}, parts)
    return replace(draft, id=job_id, backend=asked.backend), warned
