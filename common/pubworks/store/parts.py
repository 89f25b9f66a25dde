"""The batches of one job, for those who look at it closely."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, select

from pubworks.states import BatchState
from pubworks.store.tables import batches

_COLUMNS: list[Any] = [
    batches.c.id, batches.c.backend, batches.c.state, batches.c.num_circuits, batches.c.shots, batches.c.slices,
    batches.c.attempts, batches.c.reason, batches.c.due_at, batches.c.provider_job_id, batches.c.finished_at,
]  # fmt: skip


def batches_of(connection: Connection, job_id: str) -> Sequence[Row[Any]]:
    """Return the batches of a job in order; halves stand for what was split."""
    query = select(*_COLUMNS).where(batches.c.job_id == job_id, batches.c.state != BatchState.SPLIT)
    found: Sequence[Row[Any]] = connection.execute(query.order_by(batches.c.position, batches.c.id)).all()
    return found
