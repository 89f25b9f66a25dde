"""The process in which uploads are read: ``python -m pubworks.web.confined``.

It imports Qiskit once, and forks for each upload. The child may use so much memory and time, writes no file, and ends
with its answer; what it answers is data. The environment has no secret. Whatever goes wrong ends this process, and the
server starts another.
"""

from __future__ import annotations

import os
import resource
import sys
from typing import Any, BinaryIO

from pubworks.errors import PubworksError
from pubworks.ledger import parcels
from pubworks.web.drafting import draft

#: What one upload may use: bytes of address space, seconds of a processor, open files.
MEMORY_BYTES, CPU_S, FILES = 4 << 30, 60, 64

#: Largest parcel, in bytes, in each direction.
MOST_BYTES = 1 << 30


def main() -> None:
    """Answer until standard input ends."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is no answer
    while True:
        try:
            head, blobs = parcels.read(sys.stdin.buffer, MOST_BYTES)
        except EOFError:
            return
        child = os.fork()
        if child == 0:
            _end(_answer(head, blobs, answers))
        if os.waitpid(child, 0)[1]:
            sys.exit(1)  # half an answer may be under way


def _answer(head: dict[str, Any], blobs: list[bytes], answers: BinaryIO) -> int:
    try:
        confine()
        found, warned = draft(head["asked"], dict(zip(head["parts"], blobs, strict=True)))
        packed, kept = parcels.pack_draft(found)
        parcels.write(answers, {"draft": packed, "warnings": warned}, kept)
    except PubworksError as error:
        parcels.write(answers, {"refused": str(error)}, [])
    except (MemoryError, RecursionError) as error:
        parcels.write(answers, {"refused": f"It needs too much memory: {type(error).__name__}. Send less."}, [])
    except Exception as error:
        parcels.write(answers, {"broken": f"{type(error).__name__}: {error}"}, [])
    return 0


def _end(code: int) -> None:
    os._exit(code)  # the parent's buffers and handlers are not this child's


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
