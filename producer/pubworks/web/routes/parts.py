"""What a job was given and what it measured, PUB by PUB: for clients that go on with it."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from tempfile import SpooledTemporaryFile
from typing import IO, Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse

from pubworks.ledger import parcels
from pubworks.web import models
from pubworks.web.desk import AtDesk, Desk, Reader
from pubworks.web.intake import IN_MEMORY
from pubworks.web.routes.jobs import JobId
from pubworks.web.routes.results import Pub

router = APIRouter(prefix="/v1/jobs/{job_id}", tags=["results"])

#: Before the bytes of each chunk: its first circuit and the one behind the last, its first shot, shots, and how many
#: bytes follow.
CHUNK = struct.Struct("!QQQQQ")

#: Bytes that are sent at once.
_PIECE_BYTES = 1 << 16

INPUTS, CHUNKS = "application/vnd.pubworks.inputs", "application/vnd.pubworks.chunks"


def _bytes(media_type: str, description: str) -> dict[int | str, dict[str, Any]]:
    return {200: {"description": description, "content": {media_type: {"schema": {"type": "string"}}}}}


@router.get("/pubs", response_model=models.Pubs)
def pubs(job_id: JobId, desk: AtDesk, who: Reader) -> dict[str, Any]:
    """Tell which PUBs of a job have a result, and why the others have none."""
    whole_id, ledger = desk.job(job_id, who).job_id(), desk.client.ledger
    return {"id": whole_id, "finished": ledger.finished(whole_id), "missing": ledger.missing(whole_id)}


@router.get("/pubs/{pub}", response_model=models.PubParts)
def pub_parts(job_id: JobId, pub: Pub, desk: AtDesk, who: Reader) -> dict[str, Any]:
    """Show how the batches stand that cover a PUB."""
    found = desk.client.ledger.parts(desk.job(job_id, who).job_id(), pub)
    return {"pub": pub, "parts": [{"status": str(state), "reason": reason} for state, reason in found]}


@router.get(
    "/inputs", response_class=StreamingResponse,
    responses=_bytes(INPUTS, "As `pubworks.ledger.parcels.unpack_inputs` reads it."),
)  # fmt: skip
def inputs(
    job_id: JobId, desk: AtDesk, who: Reader,
    circuits: Annotated[bool, Query(description="Whether to send the circuits too.")] = True,
) -> StreamingResponse:  # fmt: skip
    """Send the PUBs of a job as they are stored."""
    found = desk.client.ledger.inputs(desk.job(job_id, who).job_id(), circuits=circuits)
    file = _file(desk)
    parcels.pack_inputs(file, *found)
    return StreamingResponse(_pieces(file), media_type=INPUTS)


@router.get(
    "/pubs/{pub}/chunks", response_class=StreamingResponse,
    responses=_bytes(CHUNKS, "For each chunk five numbers of 8 bytes, big-endian, and its outcomes as they are stored: "
                             "its first circuit and the one behind the last, its first shot, shots, bytes."),
)  # fmt: skip
def chunks(
    job_id: JobId, pub: Pub, desk: AtDesk, who: Reader, *,
    shot: Annotated[int, Query(ge=0, lt=2**63, description="Leave out the chunks whose first shot is less.")] = 0,
    circuit: Annotated[int, Query(ge=0, lt=2**63, description="And those of this shot of circuits before.")] = 0,
) -> StreamingResponse:  # fmt: skip
    """Stream the counts of a PUB as they were measured, in the order of shots, then circuits."""
    file = _frames(desk, desk.job(job_id, who).job_id(), pub, (shot, circuit))
    return StreamingResponse(_pieces(file), media_type=CHUNKS)


def _frames(desk: Desk, job_id: str, pub: int, start: tuple[int, int]) -> IO[bytes]:
    """Return the chunks in a file: the transaction that gives them belongs to this thread, and must not last."""
    file = _file(desk)
    with desk.client.ledger.chunks(job_id, pub) as found:
        for chunk in found:
            if (chunk.first_shot, chunk.first) < start:
                continue
            file.write(CHUNK.pack(chunk.first, chunk.end, chunk.first_shot, chunk.shots, len(chunk.outcomes)))
            file.write(chunk.outcomes)
    return file


def _file(desk: Desk) -> IO[bytes]:
    """Return a file for what somebody may take slowly, which would be in memory as long."""
    return SpooledTemporaryFile(IN_MEMORY, dir=str(desk.session.settings.data_dir))


def _pieces(file: IO[bytes]) -> Iterator[bytes]:
    with file:
        file.seek(0)
        while piece := file.read(_PIECE_BYTES):
            yield piece
