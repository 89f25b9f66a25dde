"""Every change of a batch's state: one conditional UPDATE that names the state it expects and the fence it holds."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, and_, bindparam, case, select, update

from pubworks.states import LEASED, BatchState, JobState, RunState
from pubworks.store.engine import now
from pubworks.store.jobs import cancel_waiting, settle
from pubworks.store.records import Claim, Slice
from pubworks.store.statements import record
from pubworks.store.tables import batches, chunks, jobs, provider_jobs, pubs

#: A result is welcome from whoever made the last claim, also when the lease ended before it came.
_STILL_MINE = (*LEASED, BatchState.PENDING, BatchState.HELD)

#: Nobody holds the batch, and nobody is to act on it.
_FREE = {"lease_owner": None, "lease_until": None, "due_at": None}


def claim(connection: Connection, backend: str, owner: str, lease_s: float) -> Claim | None:
    """Take the next due batch of a backend under a lease, and commit to running it.

    A PENDING batch becomes CLAIMED with a new provider job; an IN_FLIGHT one that lost its worker keeps its state and
    its provider job.

    Args:
        connection: An open transaction.
        backend: Name of the backend.
        owner: Id of the claiming process.
        lease_s: Seconds until others may take the batch.

    Returns:
        The claim, or None when nothing is due.
    """
    row = connection.execute(_TAKE, {"p_backend": backend, "p_owner": owner, "p_lease": lease_s}).one_or_none()
    if row is None:
        return None
    taken = Claim(
        row.id, row.job_id, backend, row.shots, row.seed, tuple(Slice(*piece) for piece in row.slices),
        fence=row.fence, attempt=row.fence,
    )  # fmt: skip
    if row.state == BatchState.IN_FLIGHT:
        return _with_run_in_flight(connection, taken)
    _open_run(connection, taken, owner)
    return taken


_NEXT = (
    select(batches.c.id)
    .where(batches.c.backend == bindparam("p_backend"), batches.c.due_at <= now())
    .order_by(batches.c.due_at, batches.c.job_id, batches.c.position)
    .limit(1)
    .with_for_update(skip_locked=True)
    .scalar_subquery()
)
_TAKE = (
    update(batches)
    .where(batches.c.id == _NEXT, batches.c.due_at.is_not(None))
    .values(
        state=case((batches.c.state == BatchState.PENDING, BatchState.CLAIMED), else_=batches.c.state),
        due_at=None,
        fence=batches.c.fence + 1,
        lease_owner=bindparam("p_owner"),
        lease_until=now() + bindparam("p_lease"),
        reason=None,
    )
    .returning(batches.c.id, batches.c.job_id, batches.c.state, batches.c.shots, batches.c.seed,
               batches.c.slices, batches.c.fence)
)  # fmt: skip


def _open_run(connection: Connection, taken: Claim, owner: str) -> None:
    connection.execute(
        provider_jobs.insert().values(
            batch_id=taken.batch_id, attempt=taken.attempt, state=RunState.INTENT, worker=owner, claimed_at=now()
        )
    )
    connection.execute(
        update(jobs)
        .where(jobs.c.id == taken.job_id, jobs.c.state == JobState.QUEUED)
        .values(state=JobState.RUNNING, started_at=now())
    )
    record(connection, taken.job_id, "claimed", taken.batch_id, worker=owner, attempt=taken.attempt)


def _with_run_in_flight(connection: Connection, taken: Claim) -> Claim:
    run = connection.execute(
        select(provider_jobs.c.attempt, provider_jobs.c.provider_job_id).where(
            provider_jobs.c.batch_id == taken.batch_id, provider_jobs.c.state == RunState.ACCEPTED
        )
    ).one()
    record(connection, taken.job_id, "taken up", taken.batch_id, provider_job_id=run.provider_job_id)
    return Claim(**{**vars(taken), "attempt": run.attempt, "provider_job_id": run.provider_job_id})


def begin_call(connection: Connection, held: Claim) -> bool:
    """CLAIMED -> SUBMITTING, just before a call that may cost. Returns whether the lease still holds."""
    return _move(connection, held, (BatchState.CLAIMED,), fresh_only=True, state=BatchState.SUBMITTING)


def accept(connection: Connection, held: Claim, provider_job_id: str) -> bool:
    """SUBMITTING -> IN_FLIGHT with the provider's id. Returns whether the batch is still held."""
    moved = _move(connection, held, (BatchState.SUBMITTING,), state=BatchState.IN_FLIGHT)
    if moved:
        _end_run(connection, held, RunState.ACCEPTED, provider_job_id=provider_job_id, accepted_at=now())
        record(connection, held.job_id, "accepted", held.batch_id, provider_job_id=provider_job_id)
    return moved


def complete(connection: Connection, held: Claim, outcomes: list[bytes], provider_job_id: str | None) -> list[int] | None:
    """Store the chunks of a batch and end it.

    Args:
        connection: An open transaction.
        held: The claim.
        outcomes: One stored chunk per slice, in order.
        provider_job_id: The provider's id of the run, where it has one.

    Returns:
        The PUBs that are ready to be merged now, or None when the batch is not held any more.
    """
    if not _move(connection, held, _STILL_MINE, state=BatchState.DONE, finished_at=now(), **_FREE, reason=None):
        return None
    connection.execute(chunks.insert(), [
        {"batch_id": held.batch_id, "position": position, "job_id": held.job_id, "pub": piece.pub, "first": piece.first,
         "end": piece.end, "first_shot": piece.first_shot, "shots": held.shots, "outcomes": data}
        for position, (piece, data) in enumerate(zip(held.slices, outcomes, strict=True))
    ])  # fmt: skip
    ready = _lower_missing(connection, held)
    _end_run(connection, held, RunState.DONE, provider_job_id=provider_job_id, finished_at=now())
    _lower_batches_left(connection, held.job_id)
    record(connection, held.job_id, "done", held.batch_id)
    return ready


def fail(connection: Connection, held: Claim, error: str) -> bool:
    """End a batch that will not be run again, and its job if it was the last. Returns whether it was still held."""
    if not _move(connection, held, LEASED, state=BatchState.FAILED, finished_at=now(), **_FREE, reason=error):
        return False
    _end_run(connection, held, RunState.FAILED, error=error, finished_at=now())
    _lower_batches_left(connection, held.job_id)
    record(connection, held.job_id, "failed", held.batch_id, error=error)
    settle(connection, held.job_id)
    return True


def renew(connection: Connection, owner: str, lease_s: float) -> int:
    """Extend every lease of a process by the database's clock. Returns how many it holds."""
    return connection.execute(
        update(batches)
        .where(batches.c.lease_owner == owner, batches.c.state.in_(LEASED), batches.c.lease_until.is_not(None))
        .values(lease_until=now() + lease_s)
    ).rowcount


def expire(connection: Connection, reason: str, owner: str | None = None) -> int:
    """Take batches back from workers whose lease ended, or from one worker that stops or died.

    CLAIMED -> PENDING, since nothing that costs was called; SUBMITTING -> HELD, since nobody knows; IN_FLIGHT stays,
    to be taken up by the provider's id.

    Args:
        connection: An open transaction.
        reason: Why, for people.
        owner: Only the leases of this process, whether ended or not.

    Returns:
        How many batches changed.
    """
    whose = batches.c.lease_until < now() if owner is None else batches.c.lease_owner == owner
    state = case(
        (batches.c.state == BatchState.CLAIMED, BatchState.PENDING),
        (batches.c.state == BatchState.SUBMITTING, BatchState.HELD),
        else_=batches.c.state,
    )
    due_at = case((batches.c.state == BatchState.SUBMITTING, None), else_=now())
    freed = connection.execute(
        update(batches)
        .where(whose, batches.c.state.in_(LEASED), batches.c.lease_until.is_not(None))
        .values(state=state, due_at=due_at, lease_owner=None, lease_until=None, reason=reason)
        .returning(batches.c.id, batches.c.job_id, batches.c.state, batches.c.fence)
    ).all()
    for row in freed:
        _lose_run(connection, row.id)
        record(connection, row.job_id, "released", row.id, state=row.state, reason=reason)
    for job_id in {row.job_id for row in freed}:
        cancel_waiting(connection, job_id, only_if_cancelled=True)
    return len(freed)


def _lose_run(connection: Connection, batch_id: str) -> None:
    connection.execute(
        update(provider_jobs)
        .where(provider_jobs.c.batch_id == batch_id, provider_jobs.c.state == RunState.INTENT)
        .values(state=RunState.LOST, finished_at=now())
    )


def _move(
    connection: Connection, held: Claim, expected: tuple[BatchState, ...], *, fresh_only: bool = False, **values: Any
) -> bool:
    same = and_(batches.c.id == held.batch_id, batches.c.fence == held.fence, batches.c.state.in_(expected))
    if fresh_only:
        same = and_(same, batches.c.lease_until > now())
    return connection.execute(update(batches).where(same).values(**values)).rowcount == 1


def _end_run(connection: Connection, held: Claim, state: RunState, **values: Any) -> None:
    connection.execute(
        update(provider_jobs)
        .where(provider_jobs.c.batch_id == held.batch_id, provider_jobs.c.attempt == held.attempt)
        .values(state=state, **values)
    )


def _lower_missing(connection: Connection, held: Claim) -> list[int]:
    done: dict[int, int] = {}
    for piece in held.slices:
        done[piece.pub] = done.get(piece.pub, 0) + piece.num_circuits
    rows = [{"p_job": held.job_id, "p_pub": pub, "p_count": count} for pub, count in sorted(done.items())]
    connection.execute(_LOWER, rows)
    ready = select(pubs.c.position).where(
        pubs.c.job_id == held.job_id, pubs.c.position.in_(done), pubs.c.missing == 0
    )
    return list(connection.execute(ready).scalars())


_LOWER = (
    update(pubs)
    .where(pubs.c.job_id == bindparam("p_job"), pubs.c.position == bindparam("p_pub"))
    .values(
        missing=pubs.c.missing - bindparam("p_count"),
        ready_at=case((pubs.c.missing == bindparam("p_count"), now()), else_=None),
    )
)


def _lower_batches_left(connection: Connection, job_id: str) -> None:
    connection.execute(update(jobs).where(jobs.c.id == job_id).values(batches_left=jobs.c.batches_left - 1))
