"""Which batches failed, and why, over all jobs of which something is missing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, func, select

from pubworks.states import BatchState, JobState
from pubworks.store.jobs import seen_by
from pubworks.store.tables import batches, jobs

#: The newest jobs that are looked at.
_JOBS = 2000


def failed_batches(connection: Connection, viewer: str | None) -> Sequence[Row[Any]]:
    """Return (job, owner, state of the job, backend, reason, batches, when the last of them ended), by job and reason.

    Args:
        connection: An open connection.
        viewer: Whose jobs; None: everybody's.
    """
    troubled = select(jobs.c.id, jobs.c.owner, jobs.c.state).where(
        jobs.c.state.in_((JobState.FAILED, JobState.PARTIAL, JobState.RUNNING))
    )
    troubled = troubled if viewer is None else troubled.where(seen_by(viewer))
    newest = troubled.order_by(jobs.c.created_at.desc()).limit(_JOBS).subquery()
    kind = (newest.c.id, newest.c.owner, newest.c.state, batches.c.backend, batches.c.reason)
    query = (
        select(*kind, func.count(), func.max(batches.c.finished_at))
        .join(batches, batches.c.job_id == newest.c.id)
        .where(batches.c.state == BatchState.FAILED)
        .group_by(*kind)
    )
    return connection.execute(query).all()
