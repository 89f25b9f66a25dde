"""What open batches wait for, for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, and_, bindparam, case, func, null, select

from pubworks.policy import Policy
from pubworks.states import BatchState
from pubworks.store import limits, sessions
from pubworks.store.engine import now
from pubworks.store.records import Wait
from pubworks.store.statements import one_of
from pubworks.store.tables import batches, provider_jobs
from pubworks.store.tables import limits as limit_table

#: Most different reasons of one job that are told.
_MOST = 8

#: A limit that asks to come again sooner than this, in seconds, waits for an event, not for a time.
_SOON_S = 0.5


_READY = and_(batches.c.state == BatchState.PENDING, batches.c.due_at <= now())
_WHY = case((_READY, null()), else_=batches.c.reason).label("why")  # no column's name: PostgreSQL would group by that
_LIMITED = select(limit_table.c.backend).where(limit_table.c.backend == batches.c.backend).exists()
_DUE_IN = func.min(case((_READY, null()), else_=batches.c.due_at)) - now()
_WAITS = (
    select(
        batches.c.state, _WHY, batches.c.backend, func.count().label("num_batches"),
        _DUE_IN.label("due_in_s"), _LIMITED.label("limited"), func.max(case((_READY, 1), else_=0)).label("ready"),
        func.max(batches.c.session).label("session"),
    )
    .where(
        batches.c.job_id == bindparam("p_job"), batches.c.finished_at.is_(None),
        one_of(batches.c.state, (BatchState.PENDING, BatchState.UNCERTAIN, BatchState.HELD)),
    )
    .group_by(batches.c.state, "why", batches.c.backend)
    .order_by(func.min(batches.c.due_at).nulls_last())
    .limit(_MOST)
)  # fmt: skip


def waits(connection: Connection, job_id: str, policy: Policy) -> list[Wait]:
    """Return what the open batches of a job wait for that no worker holds and no provider runs.

    Args:
        connection: An open connection.
        job_id: The job.
        policy: That of its backend, for the breaker.
    """
    return [_wait(connection, row, policy) for row in connection.execute(_WAITS, {"p_job": job_id})]


def _wait(connection: Connection, row: Row[Any], policy: Policy) -> Wait:
    if not row.ready:
        due_in_s = None if row.due_in_s is None else max(0.0, row.due_in_s)
        return Wait(BatchState(row.state), row.num_batches, row.why, due_in_s)
    grant = limits.Grant(1)
    if row.limited:
        grant = limits.submissions(connection, limits.standing(connection, [row.backend])[row.backend], 1, policy)
    if grant.count:
        first = sessions.first(connection, row.backend)
        why = f"the jobs of others go first: of a session, {first}" if first not in (None, row.session) else None
        return Wait(BatchState.PENDING, row.num_batches, why, None)
    return Wait(BatchState.PENDING, row.num_batches, grant.why, grant.wait_s if grant.wait_s > _SOON_S else None)


def runs_in_doubt(connection: Connection, batch_ids: Sequence[str]) -> Mapping[str, Row[Any]]:
    """Return, by batch, the run of which nobody knows whether the provider took it."""
    query = select(provider_jobs).where(
        provider_jobs.c.batch_id.in_(batch_ids), provider_jobs.c.state == "UNCERTAIN"
    ).order_by(provider_jobs.c.attempt)  # fmt: skip
    return {row.batch_id: row for row in connection.execute(query)}
