"""When a job may have ended: an estimate, from what its backends did lately."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection, and_, bindparam, case, func, select

from pubworks.states import BatchState
from pubworks.store.engine import now
from pubworks.store.pace import Pace, pace
from pubworks.store.statements import one_of
from pubworks.store.tables import batches, provider_jobs

#: Batches that go on by themselves: those that wait, and those that run.
_RUNNING = (BatchState.CLAIMED, BatchState.SUBMITTING, BatchState.UNCERTAIN, BatchState.IN_FLIGHT)


def seconds_left(connection: Connection, job_id: str, backends: Iterable[str]) -> float | None:
    """Return an estimate of the seconds until the last batch of a job has ended.

    What waits goes after what is before it in the queue of its backend; then the median run of late tells, and how many
    go at once by the limits, or did. Batches that are held wait for a person, and do not count.

    Args:
        connection: An open connection.
        job_id: An open job.
        backends: Those on which it has batches left.

    Returns:
        None: A backend did no run yet, its last run takes longer than others did, or all that is left is held.
    """
    found = [_on(connection, job_id, backend) for backend in backends]
    left = [seconds for seconds in found if seconds is not None]
    return max(left) if left and len(left) == len(found) else None


def _on(connection: Connection, job_id: str, backend: str) -> float | None:
    known = pace(connection, backend)
    if known is None:
        return None
    row = connection.execute(_OPEN, {"p_backend": backend, "p_job": job_id}).one()
    return _estimate(known, row) if row.waiting or row.running else None


def _estimate(known: Pace, row: Any) -> float | None:
    if not row.waiting:
        left = known.run_s - float(row.youngest_s or 0.0)
        return left if left > 0.0 else None  # it takes longer than others did: nobody knows how long
    done_s = min(known.run_s, float(row.mean_age_s or 0.0))  # of the runs that the waiting ones come after
    return max(known.run_s, known.seconds(row.before + row.waiting) - done_s)


_MINE = batches.c.job_id == bindparam("p_job")
_WAITS = batches.c.state == BatchState.PENDING
_RUNS = one_of(batches.c.state, _RUNNING)
_BEGAN = (
    select(func.max(func.coalesce(provider_jobs.c.accepted_at, provider_jobs.c.claimed_at)))
    .where(provider_jobs.c.batch_id == batches.c.id)
    .scalar_subquery()
)


def _count(condition: Any) -> Any:
    return func.coalesce(func.sum(case((condition, 1), else_=0)), 0)


#: Of the open batches of a backend: those of the job that wait and that run, the others that come before them, and the
#: ages of runs in seconds.
_OPEN = select(
    _count(and_(_MINE, _WAITS)).label("waiting"),
    _count(and_(_MINE, _RUNS)).label("running"),
    _count(~and_(_MINE, _WAITS) & (_RUNS | (batches.c.job_id < bindparam("p_job")))).label("before"),
    func.min(case((and_(_MINE, _RUNS), now() - _BEGAN))).label("youngest_s"),
    func.avg(case((_RUNS, now() - _BEGAN))).label("mean_age_s"),
).where(batches.c.backend == bindparam("p_backend"), batches.c.finished_at.is_(None), _WAITS | _RUNS)
