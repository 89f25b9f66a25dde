"""The batches of a job and their runs, as people look at them."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pubworks.clock import iso
from pubworks.states import BatchState

if TYPE_CHECKING:
    from sqlalchemy import Connection, Row

#: What needs somebody's eyes first.
_TROUBLE_FIRST = (
    BatchState.HELD, BatchState.UNCERTAIN, BatchState.FAILED, BatchState.SUBMITTING, BatchState.CLAIMED,
    BatchState.IN_FLIGHT, BatchState.PENDING, BatchState.CANCELLED, BatchState.DONE,
)  # fmt: skip


@dataclass(frozen=True)
class BatchView:
    """A batch with its runs, oldest first."""

    row: Row[Any]
    runs: tuple[Row[Any], ...]
    #: When its job was submitted, and the database's time; seconds since 1970.
    began: float
    now: float

    @property
    def name(self) -> str:
        """The end of its id: its position, and ``.0`` and ``.1`` for halves."""
        return str(self.row.id).rpartition("-")[2]

    @cached_property
    def spans(self) -> tuple[float, float, float]:
        """Seconds that its last run waited, was being submitted, and was at the provider or in the worker."""
        if not self.runs:
            until = self.row.finished_at or self.now
            return (max(0.0, until - self.began), 0.0, 0.0)
        last = self.runs[-1]
        until = last.finished_at or self.now
        accepted = last.accepted_at or last.claimed_at
        spans = (last.claimed_at - self.began, accepted - last.claimed_at, until - accepted)
        return (max(0.0, spans[0]), max(0.0, spans[1]), max(0.0, spans[2]))

    @property
    def troubled(self) -> bool:
        """Whether more happened than one good run."""
        return len(self.runs) > 1 or any(run.error for run in self.runs)

    @property
    def reason(self) -> str | None:
        """Why it is where it is; what is done needs none, and what a run says need not be said twice."""
        told = self.row.state == BatchState.DONE or any(run.error == self.row.reason for run in self.runs)
        return None if told else self.row.reason

    def run_documents(self) -> list[dict[str, Any]]:
        """Return its runs with times as ISO 8601."""
        return [
            {
                "attempt": run.number,
                "state": run.state,
                "provider_job_id": run.provider_job_id,
                "worker": run.worker,
                "error": run.error,
                "claimed_at": iso(run.claimed_at),
                "seconds": None if run.finished_at is None else run.finished_at - run.claimed_at,
            }
            for run in self.runs
        ]


def look(connection: Connection, job_id: str) -> list[BatchView]:
    """Return the batches of a job in order, with their runs."""
    from sqlalchemy import select

    from pubworks.store import jobs, parts
    from pubworks.store.engine import now

    began = jobs.get(connection, job_id).created_at
    time = connection.execute(select(now())).scalar_one()
    runs: dict[str, list[Any]] = defaultdict(list)
    for run in jobs.runs(connection, job_id):
        runs[run.batch_id].append(run)
    return [BatchView(row, tuple(runs[row.id]), began, time) for row in parts.batches_of(connection, job_id)]


def by_trouble(views: list[BatchView]) -> list[BatchView]:
    """Return batches with those first that need somebody's eyes."""
    return sorted(views, key=lambda view: (_TROUBLE_FIRST.index(BatchState(view.row.state)), not view.troubled))
