"""Results of a job: as JSON, as the stored bytes, as npy; PUB by PUB as they are read."""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Path, Query, Response
from fastapi.responses import StreamingResponse
from numpy.lib import format as npy
from pydantic import Field
from qiskit.primitives import BitArray

from pubworks.codec.results import decode
from pubworks.errors import JobFailed, JobTimeout
from pubworks.store import jobs, results
from pubworks.views.outcomes import Outcome, document
from pubworks.web.desk import AtDesk, Desk, Reader
from pubworks.web.routes.jobs import JobId

if TYPE_CHECKING:
    from pubworks.primitives.job import Job
    from pubworks.store.records import JobRecord

router = APIRouter(prefix="/v1/jobs/{job_id}/results", tags=["results"])

Form = Annotated[
    Literal["json", "bytes"],
    Query(
        alias="format", description="bytes: as they are stored; `pubworks.codec.results.decode` reads those of a PUB."
    ),
]
Pub = Annotated[int, Path(ge=0, lt=2**31, description="Position of the PUB.")]
_Position = Annotated[int, Field(ge=0, lt=2**31)]

#: Before the bytes of each PUB, where several are sent: its position, and how many bytes follow.
_FRAME = struct.Struct("!IQ")
BYTES = "application/vnd.pubworks.results"

_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "JSON as `pubworks result --json` writes it; or bytes: for each PUB its position (4 bytes) and "
        "length (8 bytes), big-endian, and its stored result.",
        "content": {"application/json": {"schema": {"type": "object"}}, BYTES: {"schema": {"type": "string"}}},
    }
}


@router.get("", response_class=StreamingResponse, responses=_ANSWERS)
def get_results(
    job_id: JobId, desk: AtDesk, who: Reader, *, form: Form = "json",
    partial: Annotated[bool, Query(description="Those there are, also before the job has ended.")] = False,
    first: Annotated[int, Query(ge=0, lt=2**31, description="Leave out the PUBs before this one.")] = 0,
    pub: Annotated[list[_Position] | None, Query(max_length=100, description="Only these PUBs.")] = None,
) -> StreamingResponse:  # fmt: skip
    """Stream the results that a job has; what it has no result of is in ``missing``, with the reason."""
    job = desk.job(job_id, who)
    record = job.record()
    if not (partial or record.state.is_final):
        raise JobTimeout(
            f"Job {record.id} is {record.state}, {record.batches_left} batches left. Ask later, or with partial=true."
        )
    pubs = [one for one in _finished(desk, record.id) if one >= first and (pub is None or one in pub)]
    if form == "bytes":
        return StreamingResponse(_frames(desk, job, pubs), media_type=BYTES)
    return StreamingResponse(_document(desk, job, record, pubs), media_type="application/json")


def _finished(desk: Desk, job_id: str) -> list[int]:
    with desk.session.store.read() as connection:
        return sorted(results.finished_pubs(connection, job_id))


def _load(desk: Desk, job: Job, pub: int) -> bytes:
    with desk.session.store.read() as connection:
        stored = results.load_results(connection, job.job_id(), [pub])
    if pub not in stored:
        raise JobFailed(f"PUB {pub} of job {job.job_id()} has no result: {job.error() or 'it is not done yet'}")
    return stored[pub]


def _frames(desk: Desk, job: Job, pubs: list[int]) -> Iterator[bytes]:
    for pub in pubs:
        data = _load(desk, job, pub)
        yield _FRAME.pack(pub, len(data)) + data


def _document(desk: Desk, job: Job, record: JobRecord, pubs: list[int]) -> Iterator[bytes]:
    """Yield the JSON of a job's results, one PUB at a time."""
    with desk.session.store.read() as connection:
        missing = jobs.failed_pubs(connection, record.id)
    head = document(Outcome(record, {}, missing))
    rest = {"missing": head.pop("missing")}
    yield json.dumps({**head, "pubs": []}).removesuffix("]}").encode()
    for number, pub in enumerate(pubs):
        yield (", " if number else "").encode() + json.dumps(_one(desk, job, record, pub)).encode()
    yield f"], {json.dumps(rest)[1:]}".encode()


def _one(desk: Desk, job: Job, record: JobRecord, pub: int) -> dict[str, Any]:
    found: dict[str, Any] = document(Outcome(record, {pub: decode(_load(desk, job, pub))}, {}))["pubs"][0]
    return found


@router.get("/{pub}", responses=_ANSWERS)
def get_result(job_id: JobId, pub: Pub, desk: AtDesk, who: Reader, form: Form = "json") -> Response:
    """Send the result of one PUB."""
    job = desk.job(job_id, who)
    if form == "bytes":
        return Response(_load(desk, job, pub), media_type=BYTES)
    return Response(json.dumps(_one(desk, job, job.record(), pub)), media_type="application/json")


@router.get("/{pub}/{name}.npy", response_class=Response)
def get_array(
    job_id: JobId, pub: Pub, name: Annotated[str, Path(max_length=200)], desk: AtDesk, who: Reader
) -> Response:
    """Send one array of a PUB as npy: a register's packed samples, as ``BitArray.array`` has them, or numbers."""
    job = desk.job(job_id, who)
    data = decode(_load(desk, job, pub)).data
    if name not in data:
        raise JobFailed(f"PUB {pub} of job {job.job_id()} has no {name!r}; it has {', '.join(data)}.")
    array = data[name].array if isinstance(data[name], BitArray) else np.asarray(data[name])
    buffer = io.BytesIO()
    npy.write_array(buffer, array, allow_pickle=False)
    bits = {"X-Num-Bits": str(data[name].num_bits)} if isinstance(data[name], BitArray) else {}
    return Response(buffer.getvalue(), media_type="application/x-npy", headers=bits)
