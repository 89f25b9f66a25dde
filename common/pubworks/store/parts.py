"""Batches, for those who look at a job or a worker closely."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, select

from pubworks.states import BatchState
from pubworks.store.jobs import seen_by
from pubworks.store.tables import batches, jobs

_COLUMNS: list[Any] = [
    batches.c.id, batches.c.backend, batches.c.state, batches.c.num_circuits, batches.c.shots, batches.c.slices,
    batches.c.attempts, batches.c.reason, batches.c.due_at, batches.c.provider_job_id, batches.c.finished_at,
]  # fmt: skip


def batches_of(connection: Connection, job_id: str) -> Sequence[Row[Any]]:
    """Return the batches of a job in order; halves stand for what was split."""
    query = select(*_COLUMNS).where(batches.c.job_id == job_id, batches.c.state != BatchState.SPLIT)
    found: Sequence[Row[Any]] = connection.execute(query.order_by(batches.c.position, batches.c.id)).all()
    return found


def in_hand(connection: Connection, viewer: str | None) -> Sequence[Row[Any]]:
    """Return (process that holds it, batch, job, name of the job, backend, state) of batches that workers hold.

    Args:
        connection: An open connection.
        viewer: Of whose jobs; None: of everybody's.
    """
    columns: list[Any] = [
        batches.c.lease_owner, batches.c.id, batches.c.job_id, jobs.c.name, batches.c.backend, batches.c.state,
    ]  # fmt: skip
    query = select(*columns).join(jobs, jobs.c.id == batches.c.job_id).where(batches.c.lease_until.is_not(None))
    query = query if viewer is None else query.where(seen_by(viewer))
    return connection.execute(query.order_by(batches.c.id)).all()
