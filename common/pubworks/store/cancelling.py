"""Runs in flight of jobs that were cancelled: the provider is asked to cancel them, and what it completes all the same
is kept.

Only the state of the job carries the wish: who looks at a run in flight sees it, whoever submitted the run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, select, update

from pubworks.states import BatchState, JobState, RunState
from pubworks.store import splits
from pubworks.store.engine import now
from pubworks.store.flights import FIRST_LOOK_S, OF_LOOK, key_of, look_in, note_silence
from pubworks.store.jobs import cancel_given_back, settle
from pubworks.store.records import Look
from pubworks.store.statements import one_of, record
from pubworks.store.tables import batches, jobs, provider_jobs

_HERE, _ELSEWHERE = "its job was cancelled", "its run was cancelled at the provider, and not by pubworks"


def cancelled_jobs(connection: Connection, job_ids: Iterable[str]) -> set[str]:
    """Return those of some jobs that are cancelled."""
    query = select(jobs.c.id).where(jobs.c.id.in_(list(job_ids)), jobs.c.state == JobState.CANCELLED)
    return set(connection.execute(query).scalars())


def asked(connection: Connection, look: Look, refusal: str | None) -> None:
    """Note that the provider was asked to cancel a run, which it may do, refuse or do too late; see soon what it did.

    Args:
        connection: An open transaction.
        look: The run.
        refusal: Why the provider does not do it, if it says so.
    """
    look_in(connection, [look], FIRST_LOOK_S)  # the batch, then its run: the order in which others lock them
    marked = connection.execute(
        update(provider_jobs)
        .where(provider_jobs.c.batch_id == look.batch_id, provider_jobs.c.state == RunState.ACCEPTED)
        .values(state=RunState.CANCELLING)
    ).rowcount
    if marked:
        what = "asked to cancel" if refusal is None else "cancel refused"
        detail = {"provider_job_id": look.provider_job_id} | ({} if refusal is None else {"reason": refusal})
        record(connection, look.job_id, what, look.batch_id, **detail)


def not_asked(connection: Connection, look: Look, reason: str, wait_s: float) -> None:
    """Note that the provider could not be asked to cancel a run: it is, once it was heard of the run again."""
    note_silence(connection, [look], reason)
    look_in(connection, [look], wait_s)


def carried_out(connection: Connection, looks: Sequence[Look]) -> None:
    """End batches whose runs were cancelled at the provider.

    One that was cancelled with its job is CANCELLED, or PENDING if the job was retried meanwhile; one that somebody
    cancelled at the provider is FAILED: running it again is for its owner to decide.
    """
    failed = Counter({look.job_id: 0 for look in looks})
    for look in sorted(looks, key=lambda look: look.batch_id):
        if _by_us(connection, look):
            _give_back(connection, look)
        else:
            failed[look.job_id] += _fail(connection, look)
    for job_id in sorted(failed):  # after all batches: the order in which others lock them
        cancel_given_back(connection, job_id)
        settle(connection, job_id, batches_ended=failed[job_id])


def _by_us(connection: Connection, look: Look) -> bool:
    asked = select(provider_jobs.c.attempt).where(
        provider_jobs.c.batch_id == look.batch_id, provider_jobs.c.state == RunState.CANCELLING
    )
    return connection.execute(asked).first() is not None or bool(cancelled_jobs(connection, [look.job_id]))


def _give_back(connection: Connection, look: Look) -> None:
    if _end(
        connection, look, state=BatchState.PENDING, reason=_HERE, due_at=now(), provider_job_id=None, accepted_at=None
    ):
        record(connection, look.job_id, "run cancelled", look.batch_id, provider_job_id=look.provider_job_id)


def _fail(connection: Connection, look: Look) -> bool:
    ended = _end(connection, look, state=BatchState.FAILED, reason=_ELSEWHERE, due_at=None, finished_at=now())
    if ended:
        record(connection, look.job_id, "failed", look.batch_id, error=_ELSEWHERE)
        splits.release_twin(connection, look.batch_id)
    return ended


def _end(connection: Connection, look: Look, **values: Any) -> bool:
    """Move a batch whose run is over. Returns whether nobody did before."""
    if connection.execute(update(batches).where(*OF_LOOK).values(**values), key_of(look)).rowcount != 1:
        return False
    alive = one_of(provider_jobs.c.state, (RunState.ACCEPTED, RunState.CANCELLING))
    over = {"state": RunState.CANCELLED, "error": values["reason"], "finished_at": now()}
    connection.execute(update(provider_jobs).where(provider_jobs.c.batch_id == look.batch_id, alive).values(**over))
    return True
