"""What happens to all jobs, in order, for those who watch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, func, or_, select

from pubworks.store.jobs import seen_by
from pubworks.store.listing import UNSHARED
from pubworks.store.tables import events, jobs


def newest(connection: Connection) -> int:
    """Return the id of the newest event; 0 where there is none."""
    return int(connection.execute(select(func.coalesce(func.max(events.c.id), 0))).scalar_one())


def after(
    connection: Connection, event_id: int, limit: int, until: int | None = None, *, job: str | None = None,
    viewer: str | None = None,
) -> Sequence[Row[Any]]:  # fmt: skip
    """Return events in order, each with the owner of its job and whether that is shared.

    Args:
        connection: An open connection.
        event_id: Only events with a larger id.
        limit: How many at most.
        until: And with no larger one than this.
        job: Only of this job.
        viewer: Only what this user of the server may be told; None: everything.
    """
    columns: list[Any] = [events, jobs.c.owner, jobs.c.shared]
    query = select(*columns).join(jobs, jobs.c.id == events.c.job_id).where(events.c.id > event_id)
    query = query if until is None else query.where(events.c.id <= until)
    query = query if job is None else query.where(events.c.job_id == job)
    query = query if viewer is None else query.where(or_(seen_by(viewer), events.c.what == UNSHARED))
    return connection.execute(query.order_by(events.c.id).limit(limit)).all()
