"""How a worker gets batches: the next ones that are due, within the backend's limits, those of a session first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, bindparam, case, func, select, union_all, update

from pubworks.policy import Policy
from pubworks.states import BatchState, JobState, RunState
from pubworks.store import limits, sessions
from pubworks.store.engine import now, now_once
from pubworks.store.records import Claim, Slice, Taken
from pubworks.store.statements import PENDING, record
from pubworks.store.tables import batches, jobs, provider_jobs
from pubworks.store.tables import limits as limit_table


def claim(
    connection: Connection, backend: str, owner: str, lease_s: float, *, most: int = 1, policy: Policy | None = None
) -> Taken:
    """Take the next due batches of a backend under a lease, within its limits, and commit to running them.

    PENDING -> CLAIMED, with a new provider job each.

    Args:
        connection: An open transaction.
        backend: Name of the backend.
        owner: Id of the claiming process.
        lease_s: Seconds until others may take the batches.
        most: How many at most.
        policy: The backend's, for its breaker.
    """
    key = {"p_backend": backend, "p_owner": owner, "p_lease": lease_s}
    rows = connection.execute(_TAKE_AT_ONCE, {**key, "p_most": most}).all()
    if rows:
        return Taken(_open_runs(connection, rows, backend, owner))
    stands = connection.execute(_STANDS, key).one()
    limited = limits.lock(connection, backend) if stands.limited else None
    if not stands.due:
        return Taken([], troubled=limited is not None and limits.is_troubled(limited))
    if limited is None:
        rows = connection.execute(_TAKE_UNLIMITED, {**key, "p_most": most}).all()
        return Taken(_open_runs(connection, rows, backend, owner))
    policy = policy or Policy()
    grant = limits.submissions(connection, limited, most, policy)
    if grant.count:
        rows = connection.execute(_TAKE[bool(stands.in_session)], {**key, "p_most": grant.count}).all()
        limits.spend(connection, limited, policy, submissions=len(rows))
    claims = _open_runs(connection, rows, backend, owner, probes=limits.is_open(limited, policy))
    wait_s, why = (grant.wait_s, grant.why) if len(rows) == grant.count < most else (None, None)
    return Taken(claims, wait_s, why, limits.is_troubled(limited))


_IS_DUE = (batches.c.state == PENDING, batches.c.due_at <= now_once(), batches.c.finished_at.is_(None))
_ANY_DUE = select(batches.c.id).where(batches.c.backend == bindparam("p_backend"), *_IS_DUE).exists()


def _take(chosen: Any) -> Any:
    return (
        update(batches)
        .where(batches.c.id.in_(select(chosen.c.id)), batches.c.state == BatchState.PENDING)
        .values(
            state=BatchState.CLAIMED, due_at=None, fence=batches.c.fence + 1, reason=None,
            lease_owner=bindparam("p_owner"), lease_until=now() + bindparam("p_lease"),
        )
        .returning(*(batches.c[name] for name in CLAIMED), FAILING.label("failing_s"), _WAITED.label("waited_s"))
    )  # fmt: skip


def _in_order(*only_if: Any) -> Any:
    """Return the batches that are next in the order of all."""
    return _next(batches.c.backend == bindparam("p_backend"), *only_if).cte("chosen")


def _in_turn(*only_if: Any) -> Any:
    """Return those of the session in turn; else, or if others hold all of them, those next in the order of all."""
    first = _next(batches.c.session == sessions.in_turn(*only_if)).cte("first")
    none_first = ~select(first.c.id).exists()
    rest = _next(batches.c.backend == bindparam("p_backend"), none_first, *only_if).cte("rest")
    return union_all(select(first.c.id), select(rest.c.id)).cte("chosen")


def _next(*whose: Any) -> Any:
    """Return due batches, to be a CTE: it is run once, but a subquery might be run again, and lock more rows."""
    return (
        select(batches.c.id)
        .where(*whose, *_IS_DUE)
        .order_by(batches.c.due_at, batches.c.job_id, batches.c.position, batches.c.id)
        .limit(bindparam("p_most"))
        .with_for_update(skip_locked=True)
    )


_WAITED = case((batches.c.fence == 1, now() - select(jobs.c.created_at).where(
    jobs.c.id == batches.c.job_id
).scalar_subquery()))  # fmt: skip
CLAIMED = ("id", "job_id", "position", "shots", "seed", "slices", "run_options", "fence", "attempts", "session")
FAILING = func.coalesce(now() - batches.c.failing_since, 0.0)
_LIMITED = select(limit_table.c.backend).where(limit_table.c.backend == bindparam("p_backend")).exists()
#: What nearly every claim comes to, kept short: PostgreSQL plans it anew each time.
_TAKE_AT_ONCE = _take(_in_order(~_LIMITED, ~sessions.ANY_ACTIVE))
_STANDS = select(_LIMITED.label("limited"), sessions.ANY_ACTIVE.label("in_session"), _ANY_DUE.label("due"))
_TAKE_UNLIMITED = _take(_in_turn(~_LIMITED))
#: Whether a session may be active -> the claim of what limits allow.
_TAKE = {False: _take(_in_order()), True: _take(_in_turn())}


def to_claim(row: Row[Any], backend: str, **values: Any) -> Claim:
    """Return the claim that a row of ``batches`` gives its holder."""
    slices = tuple(Slice(*piece) for piece in row.slices)
    claim = {"fence": row.fence, "attempt": row.fence, "attempts": row.attempts, "failing_s": row.failing_s}
    return Claim(row.id, row.job_id, backend, row.shots, row.seed, slices, row.run_options, **{**claim, **values})


def _open_runs(
    connection: Connection, rows: Sequence[Row[Any]], backend: str, owner: str, *, probes: bool = False
) -> list[Claim]:
    if not rows:
        return []
    rows = sorted(rows, key=lambda row: (row.job_id, row.position, row.id))
    connection.execute(_INSERT_RUN, [{"batch_id": row.id, "attempt": row.fence, "worker": owner} for row in rows])
    connection.execute(_START_JOB, [{"p_job": job_id} for job_id in sorted({row.job_id for row in rows})])
    if grouped := {row.session for row in rows if row.session}:
        sessions.activate(connection, grouped)
    for row in rows:
        record(connection, row.job_id, "claimed", row.id, worker=owner, attempt=row.fence)
    return [to_claim(row, backend, waited_s=row.waited_s, probes=probes) for row in rows]


_INSERT_RUN = provider_jobs.insert().values(state=RunState.INTENT, claimed_at=now())
_START_JOB = (
    update(jobs)
    .where(jobs.c.id == bindparam("p_job"), jobs.c.state == JobState.QUEUED)
    .values(state=JobState.RUNNING, started_at=func.coalesce(jobs.c.started_at, now()))
)
