"""Batches of which nobody knows whether the provider took them: looked up by their tag, or held for a person."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, and_, bindparam, exists, func, or_, select, update

from pubworks.errors import BatchNotHeld
from pubworks.policy import Policy
from pubworks.states import BatchState, RunState
from pubworks.store import limits, splits
from pubworks.store.engine import now
from pubworks.store.flights import AGE, FIRST_LOOK_S, clamp, look_at
from pubworks.store.jobs import cancel_given_back, settle
from pubworks.store.records import Claim, Look
from pubworks.store.statements import record
from pubworks.store.tables import batches, provider_jobs

#: A look-up comes after this part of the time in doubt, and after these seconds at least and at most.
_LAG = 0.25
_LEAST_S, _MOST_S = 0.5, 10.0

_DUE = look_at(BatchState.UNCERTAIN, now() + clamp(_LAG * AGE, _LEAST_S, _MOST_S), 0.0)


def due(connection: Connection, backend: str, most: int, policy: Policy) -> tuple[list[Look], float | None]:
    """Return batches in doubt that are to be looked up now, one request each; each becomes due again by itself.

    Returns:
        The batches, and seconds to wait where a limit on requests kept it from more.
    """
    limited = limits.lock(connection, backend)
    grant = limits.requests(limited, most) if limited is not None else limits.Grant(most)
    if not grant.count:
        return [], grant.wait_s
    rows = connection.execute(_DUE, {"p_backend": backend, "p_most": grant.count}).all()
    if limited is not None:
        limits.spend(connection, limited, policy, requests=len(rows))
    return [Look(*row) for row in rows], grant.wait_s if len(rows) == grant.count < most else None


def adopt(connection: Connection, batch_id: str, attempt: int, provider_job_id: str, *, by_hand: bool = False) -> bool:
    """Go on with a run that the provider did take, found by its tag or told by who called: -> IN_FLIGHT.

    The run of an older claim will do where no newer one is known to be at the provider: it is paid for.

    Args:
        connection: An open transaction.
        batch_id: The batch.
        attempt: The fence of the claim that made the run.
        provider_job_id: The provider's id of it.
        by_hand: Whether a person gave it.

    Returns:
        Whether this run is the batch's, now or already.
    """
    key = {"p_batch": batch_id, "p_attempt": attempt, "p_provider_job_id": provider_job_id}
    job_id = connection.execute(_ADOPT, {**key, "p_look": FIRST_LOOK_S}).scalar()
    if job_id is None:  # perhaps another worker found it first
        return connection.execute(_IS_ADOPTED, key).first() is not None
    connection.execute(_RUN_OUTDONE, key)
    connection.execute(_RUN_ACCEPTED, {**key, "p_by_hand": by_hand})
    record(connection, job_id, "adopted", batch_id, provider_job_id=provider_job_id)
    splits.judge_twin(connection, batch_id, is_over=False)
    return True


def keep_id(
    connection: Connection, batch_id: str, attempt: int, provider_job_id: str, *, cancelled: bool = False
) -> None:
    """Note the provider's id of a run that came too late to be its batch's, so that people find it.

    Args:
        connection: An open transaction.
        batch_id: The batch.
        attempt: The fence of the claim that made the run.
        provider_job_id: The provider's id of it.
        cancelled: Whether it is being cancelled; a look-up may still come upon another.
    """
    key = {"p_batch": batch_id, "p_attempt": attempt, "p_provider_job_id": provider_job_id}
    connection.execute(_KEEP_CANCELLED if cancelled else _KEEP, key)


def _latest(batch_id: Any) -> tuple[Any, Any]:
    """Return the conditions for the latest run of a batch."""
    other = provider_jobs.alias()
    last = select(func.max(other.c.attempt)).where(other.c.batch_id == batch_id).scalar_subquery()
    return provider_jobs.c.batch_id == batch_id, provider_jobs.c.attempt == last


_ADOPTABLE = (BatchState.UNCERTAIN, BatchState.HELD, BatchState.PENDING)
_RUN = (provider_jobs.c.batch_id == bindparam("p_batch"), provider_jobs.c.attempt == bindparam("p_attempt"))
_IS_ITS = provider_jobs.c.provider_job_id == bindparam("p_provider_job_id")
#: A run whose id nobody told yet, or too late: one that ended at the provider must not be taken up again.
_UNKNOWN = (
    *_RUN,
    or_(provider_jobs.c.provider_job_id.is_(None), and_(_IS_ITS, provider_jobs.c.state == RunState.UNCERTAIN)),
)
_ADOPT = (
    update(batches)
    .where(
        batches.c.id == bindparam("p_batch"), exists().where(*_UNKNOWN),
        or_(
            batches.c.state.in_(_ADOPTABLE),
            and_(batches.c.state == BatchState.SUBMITTING, batches.c.fence == bindparam("p_attempt")),
        ),
    )
    .values(
        state=BatchState.IN_FLIGHT, provider_job_id=bindparam("p_provider_job_id"), accepted_at=now(),
        due_at=now() + bindparam("p_look"), reason=None, failing_since=None, lease_owner=None, lease_until=None,
    )
    .returning(batches.c.job_id)
)  # fmt: skip
_RUN_OUTDONE = (
    update(provider_jobs)
    .where(
        provider_jobs.c.batch_id == bindparam("p_batch"), provider_jobs.c.attempt != bindparam("p_attempt"),
        provider_jobs.c.state == RunState.UNCERTAIN,
    )
    .values(state=RunState.LOST, error="an earlier run of its batch was found", finished_at=now())
)  # fmt: skip
_KEEP = update(provider_jobs).where(*_UNKNOWN).values(provider_job_id=bindparam("p_provider_job_id"))
_KEEP_CANCELLED = _KEEP.values(accepted_at=now())
_RUN_ACCEPTED = (
    update(provider_jobs)
    .where(*_RUN)
    .values(
        state=RunState.ACCEPTED, provider_job_id=bindparam("p_provider_job_id"), by_hand=bindparam("p_by_hand"),
        accepted_at=now(), finished_at=None,
    )
)  # fmt: skip


_IS_ADOPTED = select(provider_jobs.c.attempt).where(
    provider_jobs.c.batch_id == bindparam("p_batch"), provider_jobs.c.provider_job_id == bindparam("p_provider_job_id"),
    provider_jobs.c.state.in_((RunState.ACCEPTED, RunState.CANCELLING, RunState.DONE)),
)  # fmt: skip


def unseen(connection: Connection, batch_id: str, provider_job_ids: Sequence[str]) -> list[str]:
    """Return those of a provider's jobs with the tag of a batch that are no run of it that ended before."""
    known = select(provider_jobs.c.provider_job_id).where(
        provider_jobs.c.batch_id == batch_id, provider_jobs.c.provider_job_id.in_(provider_job_ids),
        provider_jobs.c.accepted_at.is_not(None),
    )  # fmt: skip
    ended = set(connection.execute(known).scalars())
    return [one for one in provider_job_ids if one not in ended]


def hold_again(connection: Connection, claim: Claim, reason: str) -> bool:
    """Give a batch back to the person who named a job for it that is none: IN_FLIGHT -> HELD."""
    moved = connection.execute(
        update(batches)
        .where(
            batches.c.id == claim.batch_id, batches.c.fence == claim.fence, batches.c.state == BatchState.IN_FLIGHT,
            batches.c.lease_owner.is_not(None),
        )
        .values(
            state=BatchState.HELD, reason=reason, due_at=None, lease_owner=None, lease_until=None, accepted_at=None,
            provider_job_id=None, failing_since=func.coalesce(batches.c.failing_since, now()),
        )
    ).rowcount  # fmt: skip
    if not moved:
        return False
    doubted = {"state": RunState.UNCERTAIN, "provider_job_id": None, "by_hand": False, "error": reason}
    connection.execute(update(provider_jobs).where(*_latest(claim.batch_id)).values(**doubted))
    record(connection, claim.job_id, "held", claim.batch_id, reason=reason)
    cancel_given_back(connection, claim.job_id)
    return True


def run_again(connection: Connection, batch_id: str, fence: int, reason: str, *, counts: bool = False) -> bool:
    """Run a batch again whose run surely never reached the provider, or costs nothing: -> PENDING.

    Args:
        connection: An open transaction.
        batch_id: The batch.
        fence: The fence of the claim that made the run.
        reason: Why.
        counts: Whether the run before was an attempt.

    Returns:
        Whether it was still in doubt, or held.
    """
    more = {"attempts": batches.c.attempts + int(counts)}
    return _decide(connection, batch_id, fence, reason, state=BatchState.PENDING, run=RunState.LOST, **more)


def hold(connection: Connection, batch_id: str, fence: int, reason: str) -> bool:
    """Leave a batch in doubt to a person: UNCERTAIN -> HELD."""
    why = func.coalesce(batches.c.reason + "; ", "") + reason
    return _decide(connection, batch_id, fence, why, state=BatchState.HELD, run=RunState.UNCERTAIN)


def _decide(
    connection: Connection, batch_id: str, fence: int, reason: Any, *, state: BatchState, run: RunState, **more: Any
) -> bool:
    due_at = now() if state == BatchState.PENDING else None
    before = (BatchState.UNCERTAIN, BatchState.HELD) if state == BatchState.PENDING else (BatchState.UNCERTAIN,)
    decided = connection.execute(
        update(batches)
        .where(batches.c.id == batch_id, batches.c.fence == fence, batches.c.state.in_(before))
        .values(state=state, due_at=due_at, reason=reason, accepted_at=None, **more)
        .returning(batches.c.job_id, batches.c.reason)
    ).one_or_none()
    if decided is None:
        return False
    _note_run(connection, batch_id, run)
    record(connection, decided.job_id, state.lower(), batch_id, reason=decided.reason)
    cancel_given_back(connection, decided.job_id)
    return True


def _note_run(connection: Connection, batch_id: str, run: RunState) -> None:
    over = {"finished_at": now()} if run == RunState.LOST else {}
    connection.execute(
        update(provider_jobs)
        .where(*_latest(batch_id), provider_jobs.c.state == RunState.UNCERTAIN)
        .values(state=run, **over)
    )


_LAST = select(func.max(provider_jobs.c.attempt)).where(provider_jobs.c.batch_id == batches.c.id).scalar_subquery()
_HELD = select(
    batches.c.id, batches.c.job_id, batches.c.backend, batches.c.num_circuits, batches.c.shots, batches.c.fence,
    batches.c.reason, batches.c.accepted_at, (now() - batches.c.failing_since).label("held_s"), _LAST.label("attempt"),
).where(batches.c.state == BatchState.HELD, batches.c.finished_at.is_(None))  # fmt: skip


def held(connection: Connection, prefix: str = "") -> Sequence[Row[Any]]:
    """Return the batches that wait for a person's decision, oldest first."""
    fits = batches.c.id.startswith(prefix, autoescape=True)
    return connection.execute(_HELD.where(fits).order_by(batches.c.failing_since, batches.c.id)).all()


def resolve(connection: Connection, batch_id: str, decision: str, provider_job_id: str | None = None) -> str:
    """Decide on a held batch.

    Args:
        connection: An open transaction.
        batch_id: The batch, or the start of its id.
        decision: ``adopt`` the provider's job, ``resubmit`` it, or ``fail`` it.
        provider_job_id: The provider's job to adopt.

    Returns:
        The whole id of the batch.

    Raises:
        BatchNotHeld: No held batch has this id, or several start so.
    """
    found = held(connection, batch_id)
    exact = [row for row in found if row.id == batch_id] or found
    if len(exact) != 1:
        problem = "Several held batches fit" if found else "No held batch has the id"
        raise BatchNotHeld(f"{problem} {batch_id!r}. `pubworks held` shows those there are.")
    (row,) = exact
    if not _carry_out(connection, row, decision, provider_job_id):
        raise BatchNotHeld(f"Batch {row.id} is held no more: somebody else decided, or its result came.")
    return str(row.id)


def _carry_out(connection: Connection, row: Row[Any], decision: str, provider_job_id: str | None) -> bool:
    if decision == "adopt":
        return adopt(connection, row.id, row.attempt, provider_job_id or "", by_hand=True)
    if decision == "resubmit":
        return run_again(connection, row.id, row.fence, "a person decided to run it again")
    return _give_up(connection, row)


def _give_up(connection: Connection, row: Row[Any]) -> bool:
    reason = f"a person gave it up; {row.reason}"
    ended = connection.execute(
        update(batches)
        .where(batches.c.id == row.id, batches.c.state == BatchState.HELD)
        .values(state=BatchState.FAILED, reason=reason, due_at=None, finished_at=now())
    ).rowcount
    if ended:  # what became of the run stays unknown: who retries the job is asked again
        record(connection, row.job_id, "failed", row.id, error=reason)
        splits.release_twin(connection, row.id)
        settle(connection, row.job_id, batches_ended=1)
    return bool(ended)
