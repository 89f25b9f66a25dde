"""Batches of which nobody knows whether the provider took them: looked up by their tag, or held for a person."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, bindparam, func, select, update

from pubworks.errors import BatchNotHeld
from pubworks.policy import Policy
from pubworks.states import BatchState, RunState
from pubworks.store import limits, splits
from pubworks.store.engine import now
from pubworks.store.flights import AGE, FIRST_LOOK_S, clamp, look_at
from pubworks.store.jobs import cancel_waiting, settle
from pubworks.store.records import Look
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


def adopt(connection: Connection, batch_id: str, fence: int, provider_job_id: str) -> bool:
    """Go on with a run that the provider did take, found by its tag or told by who called: -> IN_FLIGHT.

    Args:
        connection: An open transaction.
        batch_id: The batch.
        fence: The fence of the claim that made the run.
        provider_job_id: The provider's id of it.

    Returns:
        Whether nobody ran the batch again meanwhile, so that this run is the batch's now.
    """
    key = {"p_batch": batch_id, "p_fence": fence, "p_provider_job_id": provider_job_id}
    job_id = connection.execute(_ADOPT, {**key, "p_look": FIRST_LOOK_S}).scalar()
    if job_id is None:
        return False
    connection.execute(_RUN_ACCEPTED, {"p_batch": batch_id, "p_attempt": fence, "p_provider_job_id": provider_job_id})
    record(connection, job_id, "adopted", batch_id, provider_job_id=provider_job_id)
    splits.judge_twin(connection, batch_id)
    return True


_ADOPTABLE = (BatchState.SUBMITTING, BatchState.UNCERTAIN, BatchState.HELD, BatchState.PENDING)
_ADOPT = (
    update(batches)
    .where(
        batches.c.id == bindparam("p_batch"), batches.c.fence == bindparam("p_fence"), batches.c.state.in_(_ADOPTABLE)
    )
    .values(
        state=BatchState.IN_FLIGHT, provider_job_id=bindparam("p_provider_job_id"), accepted_at=now(),
        due_at=now() + bindparam("p_look"), reason=None, lease_owner=None, lease_until=None,
    )
    .returning(batches.c.job_id)
)  # fmt: skip
_RUN_ACCEPTED = (
    update(provider_jobs)
    .where(provider_jobs.c.batch_id == bindparam("p_batch"), provider_jobs.c.attempt == bindparam("p_attempt"))
    .values(
        state=RunState.ACCEPTED, provider_job_id=bindparam("p_provider_job_id"), accepted_at=now(), finished_at=None
    )
)


def run_again(connection: Connection, batch_id: str, fence: int, reason: str) -> bool:
    """Run a batch again whose run surely never reached the provider, or costs nothing: -> PENDING."""
    return _decide(connection, batch_id, fence, reason, state=BatchState.PENDING, run=RunState.LOST)


def hold(connection: Connection, batch_id: str, fence: int, reason: str) -> bool:
    """Leave a batch in doubt to a person: UNCERTAIN -> HELD."""
    why = func.coalesce(batches.c.reason + "; ", "") + reason
    return _decide(connection, batch_id, fence, why, state=BatchState.HELD, run=RunState.UNCERTAIN)


def _decide(
    connection: Connection, batch_id: str, fence: int, reason: Any, *, state: BatchState, run: RunState
) -> bool:
    due_at = now() if state == BatchState.PENDING else None
    decided = connection.execute(
        update(batches)
        .where(
            batches.c.id == batch_id, batches.c.fence == fence,
            batches.c.state.in_((BatchState.UNCERTAIN, BatchState.HELD)),
        )
        .values(state=state, due_at=due_at, reason=reason, accepted_at=None)
        .returning(batches.c.job_id, batches.c.reason)
    ).one_or_none()  # fmt: skip
    if decided is None:
        return False
    _note_run(connection, batch_id, fence, run)
    record(connection, decided.job_id, state.lower(), batch_id, reason=decided.reason)
    if state == BatchState.PENDING:
        cancel_waiting(connection, decided.job_id, only_if_cancelled=True)
    return True


def _note_run(connection: Connection, batch_id: str, fence: int, run: RunState) -> None:
    over = {"finished_at": now()} if run == RunState.LOST else {}
    connection.execute(
        update(provider_jobs)
        .where(
            provider_jobs.c.batch_id == batch_id, provider_jobs.c.attempt == fence,
            provider_jobs.c.state == RunState.UNCERTAIN,
        )
        .values(state=run, **over)
    )  # fmt: skip


_HELD = select(
    batches.c.id, batches.c.job_id, batches.c.backend, batches.c.num_circuits, batches.c.shots, batches.c.fence,
    batches.c.reason, batches.c.accepted_at, (now() - batches.c.failing_since).label("held_s"),
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
    if decision == "adopt":
        adopt(connection, row.id, row.fence, provider_job_id or "")
    elif decision == "resubmit":
        run_again(connection, row.id, row.fence, "a person decided to run it again")
    else:
        _give_up(connection, row)
    return str(row.id)


def _give_up(connection: Connection, row: Row[Any]) -> None:
    reason = f"a person gave it up; {row.reason}"
    ended = connection.execute(
        update(batches)
        .where(batches.c.id == row.id, batches.c.state == BatchState.HELD)
        .values(state=BatchState.FAILED, reason=reason, due_at=None, finished_at=now())
    ).rowcount
    if ended:
        _note_run(connection, row.id, row.fence, RunState.LOST)
        record(connection, row.job_id, "failed", row.id, error=reason)
        splits.release_twin(connection, row.id)
        settle(connection, row.job_id, batches_ended=1)
