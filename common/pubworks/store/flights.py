"""Runs in flight: nobody holds them while the provider works; whoever finds one due asks how it goes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, bindparam, case, func, null, select, tuple_, update

from pubworks.policy import Policy
from pubworks.states import BatchState, JobState, RunState
from pubworks.store import limits
from pubworks.store.claiming import CLAIMED, FAILING, to_claim
from pubworks.store.engine import now, now_once
from pubworks.store.records import Claim, Look
from pubworks.store.statements import in_order, record
from pubworks.store.tables import batches, jobs, provider_jobs

#: A look comes after this part of the time waited, where one question tells of one run and of many; and after these
#: seconds at least.
_LAG, _LAG_OF_MANY = 0.1, 0.05
FIRST_LOOK_S = 0.05

#: Looks that are due within these seconds are made together.
_TOGETHER_S = 0.02


def due(
    connection: Connection, backend: str, *, calls: int, per_call: int, policy: Policy
) -> tuple[list[Look], float | None]:
    """Return runs in flight that the provider is to be asked about now, or to cancel; each becomes due again by itself.

    Args:
        connection: An open transaction.
        backend: The backend.
        calls: Most requests that are to be made.
        per_call: Runs that one request can ask about.
        policy: The backend's, for the spacing.

    Returns:
        The runs, and seconds to wait where a limit on requests kept it from more.
    """
    limited = limits.lock(connection, backend)
    grant = limits.requests(limited, calls) if limited is not None else limits.Grant(calls)
    if not grant.count:
        return [], grant.wait_s
    rows = connection.execute(_DUE, {
        "p_backend": backend, "p_most": grant.count * per_call, "p_longest": policy.poll_longest_s,
        "p_lag": _LAG if per_call == 1 else _LAG_OF_MANY,
    }).all()  # fmt: skip
    cancels, others = _share(connection, [Look(*row) for row in rows], grant.count, per_call)
    if limited is not None:
        limits.spend(connection, limited, policy, requests=len(cancels) - (-len(others) // per_call))
    held_up = len(rows) == grant.count * per_call and grant.count < calls
    return cancels + others, grant.wait_s if held_up else None


#: Runs that the provider is to be asked to cancel. While it does not answer, it is asked how they go.
_TO_CANCEL = (
    select(batches.c.id)
    .join(jobs, jobs.c.id == batches.c.job_id)
    .join(provider_jobs, provider_jobs.c.batch_id == batches.c.id)
    .where(
        batches.c.id.in_(bindparam("p_batches", expanding=True)), batches.c.failing_since.is_(None),
        jobs.c.state == JobState.CANCELLED, provider_jobs.c.state == RunState.ACCEPTED,
    )
)  # fmt: skip


def _share(connection: Connection, looks: list[Look], calls: int, per_call: int) -> tuple[list[Look], list[Look]]:
    """Return the runs to cancel, each for one request, and those to ask about with the others; the rest stays due."""
    found = connection.execute(_TO_CANCEL, {"p_batches": [look.batch_id for look in looks]}).scalars() if looks else ()
    ending = set(found)
    if not ending:
        return [], looks
    cancels = [replace(look, cancel=True) for look in looks if look.batch_id in ending]
    others = [look for look in looks if look.batch_id not in ending]
    first = max(1, calls // 2)
    rest = (calls - len(cancels[:first])) * per_call
    look_in(connection, cancels[first:] + others[rest:], 0.0)
    return cancels[:first], others[:rest]


def look_in(connection: Connection, looks: Sequence[Look], wait_s: float) -> None:
    """Have runs in flight looked at again in so many seconds."""
    if looks:
        connection.execute(_LOOK_IN, [{**key_of(look), "p_wait": wait_s} for look in looks])


def key_of(look: Look) -> dict[str, Any]:
    """Return the parameters of ``OF_LOOK``."""
    return {"p_batch": look.batch_id, "p_fence": look.fence}


#: A run in flight as it was when it was looked at, and that nobody fetches.
OF_LOOK = (
    batches.c.id == bindparam("p_batch"), batches.c.fence == bindparam("p_fence"),
    batches.c.state == BatchState.IN_FLIGHT, batches.c.lease_owner.is_(None),
)  # fmt: skip
_LOOK_IN = update(batches).where(*OF_LOOK).values(due_at=now() + bindparam("p_wait"))


AGE = func.coalesce(now() - batches.c.accepted_at, 0.0)


def clamp(value: Any, least: Any, most: Any) -> Any:
    """Return ``value``, but at least ``least`` and at most ``most``, as SQL of both dialects."""
    return case((value > most, most), (value < least, least), else_=value)


_NEXT = now() + clamp(bindparam("p_lag") * AGE, FIRST_LOOK_S, bindparam("p_longest"))


def _due_now(state: BatchState, slack: float) -> Any:
    return (
        select(batches.c.id)
        .where(
            batches.c.backend == bindparam("p_backend"), batches.c.state == state,
            batches.c.due_at <= now_once() + slack, batches.c.finished_at.is_(None),
        )
        .order_by(batches.c.due_at)
        .limit(bindparam("p_most"))
        .with_for_update(skip_locked=True)
        .cte("chosen")
    )  # fmt: skip


def look_at(state: BatchState, next_due: Any, slack: float) -> Any:
    """Return the UPDATE that gives due batches in a state to the one who asks, and makes them due again."""
    chosen = _due_now(state, slack)
    return (
        update(batches)
        .where(batches.c.id.in_(select(chosen.c.id)), batches.c.state == state)
        .values(due_at=next_due)
        .returning(
            batches.c.id, batches.c.job_id, batches.c.fence, batches.c.provider_job_id,
            AGE.label("age_s"), (batches.c.due_at - now()).label("due_in_s"),
            batches.c.attempts, FAILING.label("failing_s"),
        )
    )  # fmt: skip


_DUE = look_at(BatchState.IN_FLIGHT, _NEXT, _TOGETHER_S)


def take_up(
    connection: Connection, backend: str, looks: Sequence[Look], *, owner: str, lease_s: float, policy: Policy
) -> tuple[list[Claim], float | None]:
    """Take a lease on runs that are over, to fetch their results; each result is one request.

    Returns:
        The claims, and seconds to wait where a limit on requests kept it from more.
    """
    limited = limits.lock(connection, backend)
    grant = limits.requests(limited, len(looks)) if limited is not None else limits.Grant(len(looks))
    if grant.count < len(looks):
        looks = _not_taken(connection, looks)  # others have the rest, which must not stand in front of these
    claims = _lease(connection, backend, looks[: grant.count], {"p_owner": owner, "p_lease": lease_s})
    if limited is not None:
        limits.spend(connection, limited, policy, requests=len(claims))
    return claims, grant.wait_s if grant.count < len(looks) else None


def _lease(connection: Connection, backend: str, looks: Sequence[Look], who: dict[str, Any]) -> list[Claim]:
    seen = [(look.batch_id, look.fence) for look in looks]
    rows = connection.execute(_TAKE_UP, {"p_seen": seen, **who}).all() if seen else []
    if not rows:
        return []
    runs = {run.batch_id: run for run in connection.execute(_RUNS, {"p_batches": [row.id for row in rows]})}
    return [
        to_claim(
            row, backend, provider_job_id=row.provider_job_id,
            attempt=runs[row.id].attempt, by_hand=runs[row.id].by_hand,
        )
        for row in rows
    ]  # fmt: skip


def _not_taken(connection: Connection, looks: Sequence[Look]) -> list[Look]:
    seen = [(look.batch_id, look.fence) for look in looks]
    free = set(connection.execute(_NOT_TAKEN, {"p_seen": seen}).scalars())
    return [look for look in looks if look.batch_id in free]


_SEEN = (
    tuple_(batches.c.id, batches.c.fence).in_(bindparam("p_seen", expanding=True)),
    batches.c.state == BatchState.IN_FLIGHT, batches.c.lease_owner.is_(None),
)  # fmt: skip
_NOT_TAKEN = select(batches.c.id).where(*_SEEN)
_TAKE_UP = (
    update(batches)
    .where(*in_order(*_SEEN))
    .values(
        fence=batches.c.fence + 1, due_at=None,
        lease_owner=bindparam("p_owner"), lease_until=now() + bindparam("p_lease"),
    )
    .returning(*(batches.c[name] for name in CLAIMED), batches.c.provider_job_id, FAILING.label("failing_s"))
)  # fmt: skip
_RUNS = select(provider_jobs.c.batch_id, provider_jobs.c.attempt, provider_jobs.c.by_hand).where(
    provider_jobs.c.batch_id.in_(bindparam("p_batches", expanding=True)),
    provider_jobs.c.state.in_((RunState.ACCEPTED, RunState.CANCELLING)),
)


def note_silence(connection: Connection, looks: Sequence[Look], reason: str | None) -> None:
    """Note since when the provider tells nothing about runs, and why; None: it tells again."""
    since = null() if reason is None else func.coalesce(batches.c.failing_since, now())
    connection.execute(
        update(batches)
        .where(*in_order(batches.c.id.in_([look.batch_id for look in looks]), batches.c.state == BatchState.IN_FLIGHT))
        .values(failing_since=since, reason=reason)
    )


def look_again(connection: Connection, held: Claim, reason: str | None, wait_s: float) -> bool:
    """Give back a run whose result could not be fetched yet; it is due again in ``wait_s`` seconds."""
    key = {"p_batch": held.batch_id, "p_fence": held.fence, "p_reason": reason, "p_wait": wait_s}
    if connection.execute(_LOOK_AGAIN, key).rowcount != 1:
        return False
    record(connection, held.job_id, "fetch failed", held.batch_id, reason=reason)
    return True


_LOOK_AGAIN = (
    update(batches)
    .where(
        batches.c.id == bindparam("p_batch"), batches.c.fence == bindparam("p_fence"),
        batches.c.state == BatchState.IN_FLIGHT,
    )
    .values(
        due_at=now() + bindparam("p_wait"), lease_owner=None, lease_until=None, reason=bindparam("p_reason"),
        failing_since=func.coalesce(batches.c.failing_since, now()),
    )
)  # fmt: skip
