"""The process in which uploads are read: ``python -m pubworks.web.confined``.

It imports Qiskit once, and forks for each upload, which only the child has. The child may use so much memory and time,
writes no file, and ends with its answer; what it answers is data. The environment has no secret. Whatever goes wrong
ends this process, and the server starts another.

The server sends the parts, and is told the backend; it sends what it knows of that, and is told the job, or sends null,
and is told nothing. It sends no more before it is told: what was read ahead would be lost with the child.
"""

from __future__ import annotations

import os
import resource
import select
import sys
from dataclasses import replace
from typing import IO, TYPE_CHECKING, Any

from pydantic import ValidationError

from pubworks.errors import PubworksError
from pubworks.ledger import parcels
from pubworks.web.drafting import draft
from pubworks.web.requests import JobRequest

if TYPE_CHECKING:
    from pubworks.store.records import JobDraft

#: What one upload may use: bytes of address space, seconds of a processor, open files.
MEMORY_BYTES, CPU_S, FILES = 4 << 30, 60, 64

#: Largest parcel, in bytes, in each direction; more than ``api_max_upload_bytes`` may be.
MOST_BYTES = 2 << 30

#: Errors of a job request that are told, and how much of the names in them.
_ERRORS, _LONGEST_NAME = 3, 200


def main() -> None:
    """Answer until standard input ends."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is no answer
    while True:
        select.select([0], [], [])
        child = os.fork()
        if child == 0:
            _serve(answers)
        if os.waitpid(child, 0)[1]:
            sys.exit(1)  # half a parcel may be under way, or the server is gone


def _serve(answers: IO[bytes]) -> None:
    code = 1
    try:
        confine()
        with os.fdopen(0, "rb", closefd=False) as uploads:
            _answer(uploads, answers)
        code = 0
    finally:
        os._exit(code)  # the parent's buffers and handlers are not this child's


def _answer(uploads: IO[bytes], answers: IO[bytes]) -> None:
    names, blobs = parcels.read(uploads, MOST_BYTES)
    try:
        parts = dict(zip(names, blobs, strict=True))
        asked = JobRequest.model_validate_json(parts.pop("job", b""))
        parcels.write(answers, {"backend": asked.backend}, [])
        known, _ = parcels.read(uploads, MOST_BYTES)
        answer, kept = _job(asked, known, parts) if known is not None else ({}, [])
    except ValidationError as error:
        answer, kept = {"wrong": _errors(error)}, []
    except PubworksError as error:
        answer, kept = {"refused": str(error)}, []
    except (MemoryError, RecursionError) as error:
        answer, kept = {"refused": f"It needs too much memory: {type(error).__name__}. Send less."}, []
    except Exception as error:
        answer, kept = {"broken": f"{type(error).__name__}: {error}"}, []
    parcels.write(answers, answer, kept)


def _job(asked: JobRequest, known: dict[str, Any], parts: dict[str, bytes]) -> tuple[dict[str, Any], list[bytes]]:
    """Return a job, planned; without circuits and values where it is not to be stored."""
    key = known["idempotency_key"] or asked.idempotency_key
    said = {**asked.model_dump(mode="json"), "target": known["target"], "job_id": known["job_id"]}
    found, warned = draft({**said, "idempotency_key": key}, parts)
    found = replace(found, session=asked.session, shared=asked.shared)
    packed, kept = parcels.pack_draft(found if known["stored"] else _bare(found))
    return {"draft": packed, "warnings": warned}, kept


def _bare(draft: JobDraft) -> JobDraft:
    pubs = (replace(pub, parameter_values=None, measurement=None) for pub in draft.pubs)
    return replace(draft, circuits={}, pubs=tuple(pubs))


def _errors(error: ValidationError) -> list[dict[str, Any]]:
    found = error.errors(include_url=False, include_context=False, include_input=False)[:_ERRORS]
    return [{**item, "loc": [str(name)[:_LONGEST_NAME] for name in item["loc"]]} for item in found]


def confine() -> None:
    """Take from this process what reading does not need."""
    for kind, most in (
        (resource.RLIMIT_AS, MEMORY_BYTES),
        (resource.RLIMIT_CPU, CPU_S),
        (resource.RLIMIT_NOFILE, FILES),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(kind)[1]
        allowed = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (allowed, allowed))


if __name__ == "__main__":
    main()
