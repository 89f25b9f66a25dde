"""What a worker does with batches that it holds: each change is one conditional UPDATE with the states it expects.

Groups of batches share a transaction, since that costs little more than one of them.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, Update, bindparam, case, delete, func, or_, select, tuple_, update

from pubworks.states import LEASED, BatchState, JobState, RunState
from pubworks.store import rests, splits
from pubworks.store.engine import now
from pubworks.store.jobs import cancel_given_back, settle
from pubworks.store.records import Claim, Run
from pubworks.store.results import insert_results
from pubworks.store.statements import in_order, one_of, record
from pubworks.store.tables import batches, chunks, jobs, provider_jobs, pubs


def begin_call(connection: Connection, held: Claim) -> bool:
    """CLAIMED -> SUBMITTING, just before a call that may cost.

    Returns:
        Whether the lease still holds and the job was not cancelled.
    """
    return _move(connection, _BEGIN_CALL, held)


def accept(connection: Connection, held: Claim, provider_job_id: str, first_look_s: float) -> bool:
    """Let a run go that the provider took: SUBMITTING -> IN_FLIGHT, to be looked at from ``first_look_s`` on.

    Returns:
        Whether the batch was still held.
    """
    values = {"p_provider_job_id": provider_job_id, "p_look": first_look_s}
    if not _move(connection, _ACCEPT, held, **values):
        return False
    note(connection, RUN_ACCEPTED, held, p_provider_job_id=provider_job_id)
    record(connection, held.job_id, "accepted", held.batch_id, provider_job_id=provider_job_id)
    splits.judge_twin(connection, held.batch_id, is_over=False)
    return True


def complete(connection: Connection, runs: Sequence[Run]) -> dict[str, list[int]]:
    """Store the chunks of batches and end them: the first result of a batch counts, whoever brings it.

    What a run did not bring becomes a batch of its own.

    Returns:
        The PUBs of each job that are ready to be merged now.
    """
    runs, overtaken = _end(connection, runs)
    if not runs:
        return {}
    connection.execute(_INSERT_CHUNKS, [row for run in runs for row in _chunk_rows(run)])
    connection.execute(_RUN_DONE, [
        {"p_batch": run.claim.batch_id, "p_attempt": run.claim.attempt, "p_provider_job_id": run.provider_job_id}
        for run in runs
    ])  # fmt: skip
    if overtaken:
        connection.execute(_RUN_OVERTAKEN, {"p_batches": overtaken})
    ready = {}
    for job_id in sorted({run.claim.job_id for run in runs}):
        ready[job_id] = _complete_job(connection, job_id, [run for run in runs if run.claim.job_id == job_id])
    return ready


def _end(connection: Connection, runs: Sequence[Run]) -> tuple[list[Run], list[str]]:
    """End the batches of runs. Returns the first run of each that was not over, and those that others run by now."""
    firsts = {run.claim.batch_id: run for run in reversed(runs)}
    done = connection.execute(_DONE, {"p_batches": list(firsts)}).all()
    return [firsts[row.id] for row in done], [row.id for row in done if row.fence != firsts[row.id].claim.fence]


def _chunk_rows(run: Run) -> list[dict[str, Any]]:
    held = run.claim
    return [
        {"batch_id": held.batch_id, "position": position, "job_id": held.job_id, "pub": piece.pub, "first": piece.first,
         "end": piece.end, "first_shot": piece.first_shot, "shots": held.shots, "outcomes": data}
        for position, (piece, data) in enumerate(zip(held.slices, run.chunks, strict=True))
    ]  # fmt: skip


def _complete_job(connection: Connection, job_id: str, runs: Sequence[Run]) -> list[int]:
    merged = {pub: data for run in runs for pub, data in run.merged.items()}
    if merged:
        insert_results(connection, job_id, merged)
    partial = [run for run in runs if run.rests]
    rests.expect_more(connection, job_id, partial)
    ready = _lower_missing(connection, job_id, runs, merged)
    for run in runs:
        record(connection, job_id, "done", run.claim.batch_id)
        splits.judge_twin(connection, run.claim.batch_id, is_over=True)
    given_up = rests.leave(connection, job_id, partial)
    settle(connection, job_id, batches_ended=len(runs) + given_up)
    if partial:
        cancel_given_back(connection, job_id)
    return ready


_INSERT_CHUNKS = chunks.insert()


def put_back(
    connection: Connection, held: Claim, reason: str, wait_s: float, *, counts: bool, state: RunState = RunState.FAILED
) -> bool:
    """Have a batch run again, later: -> PENDING.

    Args:
        connection: An open transaction.
        held: The claim.
        reason: Why the run came to nothing.
        wait_s: Seconds until it is due.
        counts: Whether this was an attempt; a wait for a limit is none.
        state: How the run ended.

    Returns:
        Whether the batch was still held.
    """
    if not _move(connection, _PUT_BACK, held, p_reason=reason, p_wait=wait_s, p_counts=int(counts)):
        return False
    note(connection, _RUN_OVER, held, p_error=reason, p_state=state)
    record(connection, held.job_id, "put back", held.batch_id, reason=reason, counts=counts)
    cancel_given_back(connection, held.job_id)
    return True


def give_back(connection: Connection, claims: Iterable[Claim]) -> None:
    """Let others have batches of which nothing was begun: CLAIMED -> PENDING, as if they had not been claimed."""
    held = [(claim.batch_id, claim.fence) for claim in claims]
    rows = connection.execute(_GIVE_BACK, {"p_held": held}).all()
    connection.execute(_DROP_INTENTS, {"p_runs": [(row.id, row.fence) for row in rows]})
    for job_id in sorted({row.job_id for row in rows}):
        cancel_given_back(connection, job_id)


def doubt(connection: Connection, held: Claim, reason: str) -> bool:
    """SUBMITTING -> UNCERTAIN: perhaps the provider took the run. Returns whether the batch was still held."""
    if not _move(connection, _DOUBT, held, p_reason=reason):
        return False
    note(connection, _RUN_IN_DOUBT, held, p_error=reason)
    record(connection, held.job_id, "in doubt", held.batch_id, reason=reason)
    return True


def fail(connection: Connection, held: Claim, error: str) -> bool:
    """End a batch that will not be run again, and its job if it was the last. Returns whether it was still held."""
    if not _move(connection, _FAIL, held, p_reason=error):
        return False
    note(connection, _RUN_OVER, held, p_error=error, p_state=RunState.FAILED)
    record(connection, held.job_id, "failed", held.batch_id, error=error)
    splits.release_twin(connection, held.batch_id)
    settle(connection, held.job_id, batches_ended=1)
    return True


def split(connection: Connection, held: Claim, reason: str, *, one_is_bad: bool, by_shots: bool = False) -> bool:
    """Replace a refused batch by its parts, or end it where that leads nowhere. Returns whether it was still held."""
    prospects = splits.prospects(connection, held.batch_id, reason) if one_is_bad else splits.Prospects.GOOD
    if prospects == splits.Prospects.NONE:
        return _give_up(connection, held, reason)
    if prospects == splits.Prospects.UNCLEAR:
        return _ask_later(connection, held, reason)
    if not _move(connection, _SPLIT, held, p_reason=reason):
        return False
    note(connection, _RUN_OVER, held, p_error=reason, p_state=RunState.FAILED)
    splits.release_twin(connection, held.batch_id)
    sample = prospects == splits.Prospects.POOR
    splits.halve(connection, held.batch_id, reason, one_is_bad=one_is_bad, by_shots=by_shots, sample=sample)
    cancel_given_back(connection, held.job_id)
    return True


def _give_up(connection: Connection, held: Claim, reason: str) -> bool:
    """End a refused batch of which nothing is hoped, and its kin. Returns whether it was still held."""
    error = f"{reason} (as circuits of this batch that were tried alone)"
    if not _move(connection, _FAIL, held, p_reason=error):
        return False
    ended = [held.batch_id, *splits.give_up_kin(connection, held, reason, error)]
    note(connection, _RUN_OVER, held, p_error=reason, p_state=RunState.FAILED)
    for batch_id in ended:
        record(connection, held.job_id, "failed", batch_id, error=error)
        splits.release_twin(connection, batch_id)
    settle(connection, held.job_id, batches_ended=len(ended))
    return True


def _ask_later(connection: Connection, held: Claim, reason: str) -> bool:
    """Keep a refused batch whole until its kin were judged. Returns whether it was still held."""
    wait_s = random.uniform(0.5, 1.0) * 2.0 ** min(held.fence, 8)  # by chance: two must not wait for each other
    if not put_back(connection, held, reason, wait_s, counts=False):
        return False
    splits.release_twin(connection, held.batch_id)
    return True


def renew(connection: Connection, owner: str, held: Sequence[str], lease_s: float) -> int:
    """Extend the leases of a process on some batches, by the database's clock. Returns how many it still has."""
    return connection.execute(
        update(batches)
        .where(*in_order(batches.c.id.in_(held), batches.c.lease_owner == owner, batches.c.state.in_(LEASED)))
        .values(lease_until=now() + lease_s)
    ).rowcount


def expire(connection: Connection, reason: str, owner: str | None = None, but: str = "") -> int:
    """Take batches back from workers whose lease ended, or from one worker that stops or died.

    CLAIMED -> PENDING, since nothing that costs was called; SUBMITTING -> UNCERTAIN, since nobody knows; IN_FLIGHT
    stays, and its result is fetched by another.

    Args:
        connection: An open transaction.
        reason: Why, for people.
        owner: Only the leases of this process, whether ended or not.
        but: A batch that is left as it is.

    Returns:
        How many batches changed.
    """
    whose = batches.c.lease_until < now() if owner is None else batches.c.lease_owner == owner
    leased = in_order(whose, batches.c.id != but, batches.c.state.in_(LEASED), batches.c.lease_until.is_not(None))
    in_doubt = batches.c.state == BatchState.SUBMITTING
    state = case(
        (batches.c.state == BatchState.CLAIMED, BatchState.PENDING),
        (in_doubt, BatchState.UNCERTAIN),
        else_=batches.c.state,
    )
    since = case((in_doubt, now()), else_=batches.c.accepted_at)
    failing = case((in_doubt, _SINCE), else_=batches.c.failing_since)
    freed = connection.execute(
        update(batches)
        .where(*leased)
        .values(state=state, due_at=now(), accepted_at=since, failing_since=failing, reason=reason, **_FREE)
        .returning(batches.c.id, batches.c.job_id, batches.c.state)
    ).all()
    for row in sorted(freed, key=lambda row: (row.job_id, row.id)):  # the order in which results lock their jobs
        _end_intent(connection, row, reason)
        if reason.startswith(CRASHES) and row.state == BatchState.PENDING:
            _fail_poison(connection, row, reason)
        record(connection, row.job_id, "released", row.id, state=row.state, reason=reason)
    for job_id in sorted({row.job_id for row in freed}):
        cancel_given_back(connection, job_id)
    return len(freed)


def _fail_poison(connection: Connection, row: Row[Any], reason: str) -> None:
    """End a batch that several workers died of, or fell silent with."""
    crashes = connection.execute(_COUNT_CRASHES, {"p_batch": row.id}).scalar_one()
    if crashes < MAX_CRASHES:
        return
    error = f"{crashes} workers died or fell silent while they ran it: {_likely(reason)}"
    over = {"state": BatchState.FAILED, "reason": error, "due_at": None, "finished_at": now()}
    connection.execute(update(batches).where(batches.c.id == row.id).values(**over))
    record(connection, row.job_id, "failed", row.id, error=error)
    splits.release_twin(connection, row.id)
    settle(connection, row.job_id, batches_ended=1)


def _likely(reason: str) -> str:
    """Return the likely cause of the deaths of workers, of which one died for a reason."""
    _, of, cause = reason.removeprefix(DIED).partition(" of ")
    return f"the last of {cause}" if of else "out of memory, or a crash of the provider's code"


#: Workers that may die with a batch before it is taken for the cause.
MAX_CRASHES = 10

#: Why leases are taken back from a worker that may have died of what it ran.
DIED, SILENT = "the worker process that ran it died", "its worker fell silent"
CRASHES = (DIED, SILENT)

#: Why a batch is taken back that was not the one that its worker died of.
BESIDE = "its worker died while it ran another batch"

#: What is put behind the error of a run of before a retry: crashes are counted anew.
BEFORE = ", before it was retried"

#: Whether a run ended with its worker, and counts.
IS_CRASH = or_(*(provider_jobs.c.error.startswith(why) for why in CRASHES)) & ~provider_jobs.c.error.endswith(BEFORE)
_COUNT_CRASHES = select(func.count()).where(
    provider_jobs.c.batch_id == bindparam("p_batch"), provider_jobs.c.state == RunState.LOST, IS_CRASH
)


def _end_intent(connection: Connection, row: Row[Any], reason: str) -> None:
    in_doubt = row.state == BatchState.UNCERTAIN
    values = {"state": RunState.UNCERTAIN} if in_doubt else {"state": RunState.LOST, "finished_at": now()}
    connection.execute(
        update(provider_jobs)
        .where(provider_jobs.c.batch_id == row.id, provider_jobs.c.state == RunState.INTENT)
        .values(error=reason, **values)
    )


def _move(connection: Connection, statement: Update, held: Claim, **values: Any) -> bool:
    """Move a held batch by one of the statements below. Returns whether it was as expected."""
    key = {"p_batch": held.batch_id, "p_fence": held.fence}
    return connection.execute(statement, {**key, **values}).rowcount == 1


def note(connection: Connection, statement: Update, held: Claim, **values: Any) -> None:
    """Note on the provider job of a held batch how it goes."""
    connection.execute(statement, {"p_batch": held.batch_id, "p_attempt": held.attempt, **values})


def _if(*states: BatchState) -> Update:
    same = (batches.c.id == bindparam("p_batch"), batches.c.fence == bindparam("p_fence"))
    held = batches.c.lease_owner.is_not(None)  # one in flight keeps its fence when it is let go
    return update(batches).where(*same, held, one_of(batches.c.state, states))


_FREE: dict[str, Any] = {"lease_owner": None, "lease_until": None}
#: Nobody holds the batch, and nobody is to act on it.
_OVER: dict[str, Any] = {**_FREE, "due_at": None, "finished_at": now()}
_SINCE = func.coalesce(batches.c.failing_since, now())

_WANTED = ~select(jobs.c.id).where(jobs.c.id == batches.c.job_id, jobs.c.state == JobState.CANCELLED).exists()
_BEGIN_CALL = _if(BatchState.CLAIMED).where(batches.c.lease_until > now(), _WANTED).values(state=BatchState.SUBMITTING)
_ACCEPT = _if(BatchState.SUBMITTING).values(
    state=BatchState.IN_FLIGHT, accepted_at=now(), due_at=now() + bindparam("p_look"),
    provider_job_id=bindparam("p_provider_job_id"), failing_since=None, **_FREE,
)  # fmt: skip
_DONE = (
    update(batches)
    .where(*in_order(batches.c.id.in_(bindparam("p_batches", expanding=True)), batches.c.finished_at.is_(None)))
    .values(state=BatchState.DONE, reason=None, **_OVER)
    .returning(batches.c.id, batches.c.fence)
)
_PUT_BACK = _if(*LEASED).values(
    state=BatchState.PENDING, reason=bindparam("p_reason"), due_at=now() + bindparam("p_wait"),
    attempts=batches.c.attempts + bindparam("p_counts"),
    failing_since=case((bindparam("p_counts") == 1, _SINCE), else_=batches.c.failing_since),
    provider_job_id=None, accepted_at=None, **_FREE,
)  # fmt: skip
_GIVE_BACK = (
    update(batches)
    .where(
        *in_order(
            tuple_(batches.c.id, batches.c.fence).in_(bindparam("p_held", expanding=True)),
            batches.c.state == BatchState.CLAIMED,
        )
    )
    .values(state=BatchState.PENDING, due_at=now(), **_FREE)
    .returning(batches.c.id, batches.c.job_id, batches.c.fence)
)
_DROP_INTENTS = delete(provider_jobs).where(
    tuple_(provider_jobs.c.batch_id, provider_jobs.c.attempt).in_(bindparam("p_runs", expanding=True)),
    provider_jobs.c.state == RunState.INTENT,
)
_DOUBT = _if(BatchState.SUBMITTING).values(
    state=BatchState.UNCERTAIN, reason=bindparam("p_reason"), due_at=now(), accepted_at=now(),
    failing_since=_SINCE, **_FREE,
)  # fmt: skip
_FAIL = _if(*LEASED).values(state=BatchState.FAILED, reason=bindparam("p_reason"), **_OVER)
_SPLIT = _if(*LEASED).values(state=BatchState.SPLIT, reason=bindparam("p_reason"), **_OVER)

_RUN = update(provider_jobs).where(
    provider_jobs.c.batch_id == bindparam("p_batch"), provider_jobs.c.attempt == bindparam("p_attempt")
)
RUN_ACCEPTED = _RUN.values(state=RunState.ACCEPTED, provider_job_id=bindparam("p_provider_job_id"), accepted_at=now())
_RUN_DONE = _RUN.values(
    state=RunState.DONE, finished_at=now(),
    provider_job_id=func.coalesce(bindparam("p_provider_job_id"), provider_jobs.c.provider_job_id),
)  # fmt: skip
#: What others run of a batch of which a result came first.
_RUN_OVERTAKEN = (
    update(provider_jobs)
    .where(provider_jobs.c.batch_id.in_(bindparam("p_batches", expanding=True)), provider_jobs.c.finished_at.is_(None))
    .values(state=RunState.LOST, error="the result of another run came first", finished_at=now())
)
_RUN_OVER = _RUN.values(state=bindparam("p_state"), error=bindparam("p_error"), finished_at=now())
_RUN_IN_DOUBT = _RUN.values(state=RunState.UNCERTAIN, error=bindparam("p_error"))


def _lower_missing(connection: Connection, job_id: str, runs: Sequence[Run], merged: Mapping[int, bytes]) -> list[int]:
    """Count the circuit runs that are done. Returns the PUBs that are complete now and not merged."""
    done: Counter[int] = Counter()
    for run in runs:
        for piece in run.claim.slices:
            done[piece.pub] += piece.num_circuits
    connection.execute(_LOWER, [
        {"p_job": job_id, "p_pub": pub, "p_count": count, "p_merged": int(pub in merged)}
        for pub, count in sorted(done.items())
    ])  # fmt: skip
    others = [pub for pub in done if pub not in merged]
    if not others:
        return []
    return list(connection.execute(_READY, {"p_job": job_id, "p_pubs": others}).scalars())


_LOWER = (
    update(pubs)
    .where(pubs.c.job_id == bindparam("p_job"), pubs.c.position == bindparam("p_pub"))
    .values(
        missing=pubs.c.missing - bindparam("p_count"),
        ready_at=case((pubs.c.missing == bindparam("p_count"), now()), else_=None),
        collected_at=case((bindparam("p_merged") == 1, now()), else_=pubs.c.collected_at),
    )
)
_READY = select(pubs.c.position).where(
    pubs.c.job_id == bindparam("p_job"), pubs.c.position.in_(bindparam("p_pubs", expanding=True)), pubs.c.missing == 0
)
