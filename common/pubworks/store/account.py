"""What a job used, when its parts ended, and what happened to it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, func, select

from pubworks.states import RunState
from pubworks.store.tables import batches, events, jobs, provider_jobs


class Used(NamedTuple):
    """What runs of one size used of a backend."""

    backend: str
    #: Circuits of each run, and shots of each circuit.
    circuits: int
    shots: int
    runs: int
    #: Of all of them.
    seconds: float


def usage(connection: Connection, job_id: str | None = None, *, session: str | None = None) -> list[Used]:
    """Return what the runs of a job, or of all jobs of a session, used that gave results, by backend and size.

    Seconds go from the moment when the provider took a run to the one when its result was stored.
    """
    mine = jobs.c.id == job_id if session is None else jobs.c.session == session
    began = func.coalesce(provider_jobs.c.accepted_at, provider_jobs.c.claimed_at)
    kind = (batches.c.backend, batches.c.num_circuits, batches.c.shots)
    query = (
        select(*kind, func.count(), func.sum(provider_jobs.c.finished_at - began))
        .join(batches, batches.c.id == provider_jobs.c.batch_id)
        .join(jobs, jobs.c.id == batches.c.job_id)
        .where(mine, provider_jobs.c.state == RunState.DONE)
        .group_by(*kind)
        .order_by(*kind)
    )
    return [Used(*row) for row in connection.execute(query)]


def last_batch_ended(connection: Connection, job_id: str) -> float | None:
    """Return when the last of a job's batches ended, so far."""
    return connection.execute(select(func.max(batches.c.finished_at)).where(batches.c.job_id == job_id)).scalar()


def happened(connection: Connection, job_id: str, newest: int | None = None) -> Sequence[Row[Any]]:
    """Return (at, batch, what, detail) of a job's events, in order; all of them, or the newest ones only."""
    columns: list[Any] = [events.c.at, events.c.batch_id, events.c.what, events.c.detail]
    query = select(*columns).where(events.c.job_id == job_id)
    if newest is None:
        return connection.execute(query.order_by(events.c.id)).all()
    return connection.execute(query.order_by(events.c.id.desc()).limit(newest)).all()[::-1]
