"""How quickly a backend does its runs, from what it did lately."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from sqlalchemy import Connection, Row, bindparam, desc, func, select

from pubworks.policy import Quota
from pubworks.states import BatchState, RunState
from pubworks.store.tables import batches, jobs, limits, provider_jobs

#: The newest jobs, and runs of them, that are looked at.
_JOBS = 20
_RUNS = 200


@dataclass(frozen=True)
class Pace:
    """How long a run takes, and how many go at once."""

    #: Seconds of one run, the median: from when the provider took it, its queue included, until its result was stored.
    run_s: float
    #: Runs that this is known from.
    num_runs: int
    #: Runs at once: as many as the limits allow, or as there were where runs live in the workers.
    at_once: float = math.inf
    #: Seconds from one submission to the next, once a burst is used up.
    interval_s: float = 0.0
    burst: int = 1

    def seconds(self, runs: int) -> float:
        """Return the seconds, estimated, of so many runs that are due now.

        >>> Pace(2.0, 50).seconds(7), Pace(2.0, 50, at_once=3).seconds(7), Pace(2.0, 50, interval_s=5).seconds(7)
        (2.0, 6.0, 32.0)
        """
        if runs == 0:
            return 0.0
        in_turns = math.ceil(runs / self.at_once) * self.run_s if self.at_once < runs else self.run_s
        return max(in_turns, max(0, runs - self.burst) * self.interval_s + self.run_s)


def pace(connection: Connection, backend: str, quota: Quota | None = None) -> Pace | None:
    """Return how quickly a backend does its runs; None: it did none yet.

    Args:
        connection: An open connection.
        backend: Its name.
        quota: Its configured limits, for a backend that no worker has served yet.
    """
    newest = connection.execute(_NEWEST, {"p_backend": backend}).scalars().all()
    runs = connection.execute(_RUNS_OF, {"p_jobs": newest, "p_backend": backend}).all()
    if not runs:
        return None
    spans = sorted((row.accepted_at or row.claimed_at, row.finished_at) for row in runs)
    run_s = median(end - start for start, end in spans)
    row = connection.execute(select(limits).where(limits.c.backend == backend)).one_or_none()
    caps = _caps(row, quota or Quota())
    if all(row.accepted_at is None for row in runs):
        caps.append(_overlap(spans))
    return Pace(run_s, len(runs), min(caps, default=math.inf), *_rate(row, quota or Quota()))


def ahead(connection: Connection, backend: str) -> int:
    """Return how many runs wait for a backend."""
    waiting = (batches.c.finished_at.is_(None), batches.c.state == BatchState.PENDING)
    return int(connection.execute(select(func.count()).where(batches.c.backend == backend, *waiting)).scalar_one())


#: Two queries, since a database may join them in an order that reads all batches there are.
_NEWEST = (
    select(jobs.c.id).where(jobs.c.backend == bindparam("p_backend")).order_by(desc(jobs.c.created_at)).limit(_JOBS)
)
_RUNS_OF = (
    select(provider_jobs.c.claimed_at, provider_jobs.c.accepted_at, provider_jobs.c.finished_at)
    .join(batches, batches.c.id == provider_jobs.c.batch_id)
    .where(batches.c.job_id.in_(bindparam("p_jobs", expanding=True)), batches.c.backend == bindparam("p_backend"))
    .where(provider_jobs.c.state == RunState.DONE, provider_jobs.c.finished_at.is_not(None))
    .order_by(desc(batches.c.job_id), desc(batches.c.position))
    .limit(_RUNS)
)


def _caps(row: Row[Any] | None, quota: Quota) -> list[float]:
    found = (quota.in_flight,) if row is None else (row.max_in_flight, row.window and int(row.window))
    return [cap for cap in found if cap]


def _rate(row: Row[Any] | None, quota: Quota) -> tuple[float, int]:
    if row is not None:
        return row.submit_interval or 0.0, row.submit_burst or 1
    return (quota.submit.interval_s, quota.submit.burst) if quota.submit else (0.0, 1)


def _overlap(spans: Sequence[tuple[float, float]]) -> float:
    """Return how many runs went on at once, on average over the time in which there was any.

    Args:
        spans: Beginnings and ends, sorted.
    """
    busy, until = 0.0, -math.inf
    for start, end in spans:
        busy += max(0.0, end - max(start, until))
        until = max(until, end)
    return max(1.0, sum(end - start for start, end in spans) / busy) if busy else 1.0
