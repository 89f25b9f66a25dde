"""Batches that wait for a decision, and their JSON."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from pubworks.clock import iso
from pubworks.errors import BatchNotHeld

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from pubworks.views.session import Session


class Decision(StrEnum):
    """What can become of a held batch."""

    #: The provider took it: its job is watched and fetched.
    ADOPT = "adopt"
    #: The provider did not take it, or paying twice is fine: it is run again.
    RESUBMIT = "resubmit"
    #: It is given up.
    FAIL = "fail"


@dataclass(frozen=True)
class HeldBatch:
    """A batch that waits for a decision."""

    id: str
    job: str
    backend: str
    num_circuits: int
    shots: int
    #: When the run was begun that is in doubt; seconds since 1970.
    since: float | None
    why: str
    #: What the call of the provider came to.
    error: str | None


def list_held(connection: Connection) -> list[HeldBatch]:
    """Return the batches that wait for a decision, oldest first."""
    from pubworks.store import doubts, waiting

    rows = doubts.held(connection)
    runs = waiting.runs_in_doubt(connection, [row.id for row in rows])
    return [
        HeldBatch(
            row.id, row.job_id, row.backend, row.num_circuits, row.shots,
            runs[row.id].claimed_at if row.id in runs else None,
            row.reason, runs[row.id].error if row.id in runs else None,
        )
        for row in rows
    ]  # fmt: skip


def find_held(session: Session, batch_id: str) -> HeldBatch:
    """Return the one held batch whose id starts, or ends, so.

    Raises:
        BatchNotHeld: None fits, or several do.
    """
    with session.store.read() as connection:
        return pick(list_held(connection), batch_id)


def pick(held: Iterable[HeldBatch], batch_id: str) -> HeldBatch:
    """Return the one of these batches whose id starts, or ends, so.

    Raises:
        BatchNotHeld: None fits, or several do.
    """
    found = [one for one in held if _fits(one, batch_id.strip())]
    exact = [one for one in found if one.id == batch_id] or found
    if len(exact) != 1:
        problem = "Several held batches fit" if found else "No held batch has the id"
        raise BatchNotHeld(f"{problem} {batch_id!r}. `pubworks held` shows those there are.")
    return exact[0]


def _fits(batch: HeldBatch, part: str) -> bool:
    return bool(part) and (batch.id.startswith(part) or batch.id.endswith(part))  # an unset variable fits nothing


def document(batch: HeldBatch) -> dict[str, Any]:
    """Return a held batch as JSON values."""
    return {
        "id": batch.id,
        "job": batch.job,
        "backend": batch.backend,
        "circuits": batch.num_circuits,
        "shots": batch.shots,
        "since": iso(batch.since),
        "why": batch.why,
        "error": batch.error,
        "resolve": commands(batch),
    }


def commands(batch: HeldBatch) -> list[str]:
    """Return the commands that decide on a batch."""
    return [f"pubworks resolve {batch.id} {choice}" for choice in ("adopt PROVIDER_ID", "resubmit", "fail")]
