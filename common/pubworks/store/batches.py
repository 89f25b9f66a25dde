"""Every change of a batch's state: one conditional UPDATE that names the state it expects and the fence it holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Boolean, Connection, Update, and_, bindparam, case, select, update

from pubworks.states import LEASED, BatchState, JobState, RunState
from pubworks.store.engine import now
from pubworks.store.jobs import cancel_waiting, settle
from pubworks.store.records import Claim, Slice
from pubworks.store.results import insert_results
from pubworks.store.statements import one_of, record
from pubworks.store.tables import batches, chunks, jobs, provider_jobs, pubs


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
        row.run_options, fence=row.fence, attempt=row.fence,
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
               batches.c.slices, batches.c.run_options, batches.c.fence)
)  # fmt: skip


def _open_run(connection: Connection, taken: Claim, owner: str) -> None:
    run = {"batch_id": taken.batch_id, "attempt": taken.attempt, "worker": owner}
    connection.execute(_INSERT_RUN, run)
    connection.execute(_START_JOB, {"p_job": taken.job_id})
    record(connection, taken.job_id, "claimed", taken.batch_id, worker=owner, attempt=taken.attempt)


_INSERT_RUN = provider_jobs.insert().values(state=RunState.INTENT, claimed_at=now())
_START_JOB = (
    update(jobs)
    .where(jobs.c.id == bindparam("p_job"), jobs.c.state == JobState.QUEUED)
    .values(state=JobState.RUNNING, started_at=now())
)


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
    return _move(connection, _BEGIN_CALL, held)


def accept(connection: Connection, held: Claim, provider_job_id: str) -> bool:
    """SUBMITTING -> IN_FLIGHT with the provider's id. Returns whether the batch is still held."""
    moved = _move(connection, _ACCEPT, held)
    if moved:
        _note(connection, _RUN_ACCEPTED, held, p_provider_job_id=provider_job_id)
        record(connection, held.job_id, "accepted", held.batch_id, provider_job_id=provider_job_id)
    return moved


def complete(
    connection: Connection, held: Claim, outcomes: list[bytes], merged: Mapping[int, bytes], provider_job_id: str | None
) -> list[int] | None:
    """Store the chunks of a batch and end it.

    Args:
        connection: An open transaction.
        held: The claim.
        outcomes: One stored chunk per slice, in order.
        merged: The results of PUBs that this batch covers alone.
        provider_job_id: The provider's id of the run, where it has one.

    Returns:
        The other PUBs that are ready to be merged now, or None when the batch is not held any more.
    """
    if not _move(connection, _DONE, held):
        return None
    connection.execute(_INSERT_CHUNKS, [
        {"batch_id": held.batch_id, "position": position, "job_id": held.job_id, "pub": piece.pub, "first": piece.first,
         "end": piece.end, "first_shot": piece.first_shot, "shots": held.shots, "outcomes": data}
        for position, (piece, data) in enumerate(zip(held.slices, outcomes, strict=True))
    ])  # fmt: skip
    if merged:
        insert_results(connection, held.job_id, merged)
    ready = _lower_missing(connection, held, merged)
    _note(connection, _RUN_DONE, held, p_provider_job_id=provider_job_id)
    record(connection, held.job_id, "done", held.batch_id)
    settle(connection, held.job_id, batches_ended=1)
    return ready


_INSERT_CHUNKS = chunks.insert()


def fail(connection: Connection, held: Claim, error: str) -> bool:
    """End a batch that will not be run again, and its job if it was the last. Returns whether it was still held."""
    if not _move(connection, _FAIL, held, p_reason=error):
        return False
    _note(connection, _RUN_FAILED, held, p_error=error)
    record(connection, held.job_id, "failed", held.batch_id, error=error)
    settle(connection, held.job_id, batches_ended=1)
    return True


def renew(connection: Connection, owner: str, held: Sequence[str], lease_s: float) -> int:
    """Extend the leases of a process on some batches, by the database's clock. Returns how many it still has."""
    return connection.execute(
        update(batches)
        .where(batches.c.id.in_(held), batches.c.lease_owner == owner, batches.c.state.in_(LEASED))
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
    leased = and_(whose, batches.c.state.in_(LEASED), batches.c.lease_until.is_not(None))
    in_order = select(batches.c.id).where(leased).order_by(batches.c.id).with_for_update()  # no deadlock of two keepers
    state = case(
        (batches.c.state == BatchState.CLAIMED, BatchState.PENDING),
        (batches.c.state == BatchState.SUBMITTING, BatchState.HELD),
        else_=batches.c.state,
    )
    due_at = case((batches.c.state == BatchState.SUBMITTING, None), else_=now())
    freed = connection.execute(
        update(batches)
        .where(leased, batches.c.id.in_(in_order))
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


def _move(connection: Connection, statement: Update, held: Claim, **values: Any) -> bool:
    """Move a held batch by one of the statements below. Returns whether it was as expected."""
    key = {"p_batch": held.batch_id, "p_fence": held.fence}
    return connection.execute(statement, {**key, **values}).rowcount == 1


def _note(connection: Connection, statement: Update, held: Claim, **values: Any) -> None:
    """Note on the provider job of a held batch how it goes."""
    connection.execute(statement, {"p_batch": held.batch_id, "p_attempt": held.attempt, **values})


def _if(*states: BatchState) -> Update:
    same = (batches.c.id == bindparam("p_batch"), batches.c.fence == bindparam("p_fence"))
    return update(batches).where(*same, one_of(batches.c.state, states))


#: Nobody holds the batch, and nobody is to act on it.
_OVER = {"lease_owner": None, "lease_until": None, "due_at": None, "finished_at": now()}

_BEGIN_CALL = _if(BatchState.CLAIMED).where(batches.c.lease_until > now()).values(state=BatchState.SUBMITTING)
_ACCEPT = _if(BatchState.SUBMITTING).values(state=BatchState.IN_FLIGHT)
#: A result is welcome from whoever made the last claim, also when the lease ended before it came.
_DONE = _if(*LEASED, BatchState.PENDING, BatchState.HELD).values(state=BatchState.DONE, reason=None, **_OVER)
_FAIL = _if(*LEASED).values(state=BatchState.FAILED, reason=bindparam("p_reason"), **_OVER)

_RUN = update(provider_jobs).where(
    provider_jobs.c.batch_id == bindparam("p_batch"), provider_jobs.c.attempt == bindparam("p_attempt")
)
_RUN_ACCEPTED = _RUN.values(state=RunState.ACCEPTED, provider_job_id=bindparam("p_provider_job_id"), accepted_at=now())
_RUN_DONE = _RUN.values(state=RunState.DONE, provider_job_id=bindparam("p_provider_job_id"), finished_at=now())
_RUN_FAILED = _RUN.values(state=RunState.FAILED, error=bindparam("p_error"), finished_at=now())


def _lower_missing(connection: Connection, held: Claim, merged: Mapping[int, bytes]) -> list[int]:
    """Count the circuit runs that are done. Returns the PUBs that are complete now and not merged."""
    done: dict[int, int] = {}
    for piece in held.slices:
        done[piece.pub] = done.get(piece.pub, 0) + piece.num_circuits
    connection.execute(_LOWER, [
        {"p_job": held.job_id, "p_pub": pub, "p_count": count, "p_merged": pub in merged}
        for pub, count in sorted(done.items())
    ])  # fmt: skip
    others = [pub for pub in done if pub not in merged]
    if not others:
        return []
    return list(connection.execute(_READY, {"p_job": held.job_id, "p_pubs": others}).scalars())


_LOWER = (
    update(pubs)
    .where(pubs.c.job_id == bindparam("p_job"), pubs.c.position == bindparam("p_pub"))
    .values(
        missing=pubs.c.missing - bindparam("p_count"),
        ready_at=case((pubs.c.missing == bindparam("p_count"), now()), else_=None),
        collected_at=case((bindparam("p_merged", type_=Boolean), now()), else_=pubs.c.collected_at),
    )
)
_READY = select(pubs.c.position).where(
    pubs.c.job_id == bindparam("p_job"), pubs.c.position.in_(bindparam("p_pubs", expanding=True)), pubs.c.missing == 0
)
