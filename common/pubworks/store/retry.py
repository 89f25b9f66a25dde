"""Running again what is missing of a job that ended without all of its results."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Connection, Update, bindparam, case, exists, select, update

from pubworks.errors import NothingToRetry
from pubworks.states import BatchState, JobState, RunState
from pubworks.store.batches import BEFORE, IS_CRASH
from pubworks.store.engine import now
from pubworks.store.jobs import get, settle
from pubworks.store.records import Retried
from pubworks.store.statements import one_of, record, tell
from pubworks.store.tables import batches, jobs, provider_jobs

_HELD = "its job ended while it was in doubt whether the provider took it; decide: pubworks held"


def retry(connection: Connection, job_id: str) -> Retried:
    """Run what is missing of a job again: PARTIAL, FAILED, CANCELLED -> QUEUED, or RUNNING if some of it still is.

    Its FAILED and CANCELLED batches are PENDING again, with their seeds, shots and slices and without the attempts of
    before, so that the whole is what an undisturbed run gives. One of which it is in doubt whether the provider took it
    is HELD. Of two who retry at one moment, one does.

    Raises:
        NothingToRetry: The job has not ended, or has all of its results.
        JobNotFound: No job has this id.
    """
    connection.execute(_LOCK, {"p_job": job_id})  # batches, then the job: the order in which others lock them
    if connection.execute(_reopen(job_id)).one_or_none() is None:
        raise NothingToRetry(_why_not(connection, job_id))
    held = connection.execute(_move(job_id, in_doubt=True, state=BatchState.HELD, reason=_HELD)).rowcount
    _forget_crashes(connection, job_id)
    again = {"state": BatchState.PENDING, "due_at": now(), "fence": batches.c.fence + 1, "reason": None}
    waiting = connection.execute(
        _move(job_id, in_doubt=False, attempts=0, failing_since=None, accepted_at=None, provider_job_id=None, **again)
    ).rowcount
    left = jobs.c.batches_left + held + waiting
    connection.execute(update(jobs).where(jobs.c.id == job_id).values(batches_left=left))
    record(connection, job_id, "retried", batches=waiting, held=held)
    tell(connection, job_id)
    settle(connection, job_id)
    return Retried(waiting, held)


_IS_OVER = one_of(batches.c.state, (BatchState.FAILED, BatchState.CANCELLED))
_LOCK = (
    select(batches.c.id).where(batches.c.job_id == bindparam("p_job"), _IS_OVER).order_by(batches.c.id)
).with_for_update()


def _reopen(job_id: str) -> Update:
    """Return the UPDATE that decides who retries; it locks the job against those who end its batches."""
    ended = one_of(jobs.c.state, (JobState.PARTIAL, JobState.FAILED, JobState.CANCELLED))
    state = case((jobs.c.batches_left > 0, JobState.RUNNING), else_=JobState.QUEUED)
    return update(jobs).where(jobs.c.id == job_id, ended).values(state=state, finished_at=None).returning(jobs.c.id)


def _missing(job_id: str, *, in_doubt: bool) -> tuple[ColumnElement[bool], ...]:
    """Return the conditions for the batches without results: those with a run in doubt, or the others."""
    doubt = exists().where(provider_jobs.c.batch_id == batches.c.id, provider_jobs.c.state == RunState.UNCERTAIN)
    return batches.c.job_id == job_id, _IS_OVER, doubt if in_doubt else ~doubt


def _move(job_id: str, *, in_doubt: bool, **values: Any) -> Update:
    return update(batches).where(*_missing(job_id, in_doubt=in_doubt)).values(finished_at=None, **values)


def _forget_crashes(connection: Connection, job_id: str) -> None:
    mine = select(batches.c.id).where(*_missing(job_id, in_doubt=False))
    crashed = (provider_jobs.c.batch_id.in_(mine), IS_CRASH)
    connection.execute(update(provider_jobs).where(*crashed).values(error=provider_jobs.c.error + BEFORE))


def _why_not(connection: Connection, job_id: str) -> str:
    state = get(connection, job_id).state
    if state == JobState.DONE:
        return (
            f"Job {job_id} is DONE: every PUB has its result, and nothing of it is missing. "
            "To run it once more, submit it again: sampler.run(job.inputs)."
        )
    return (
        f"Job {job_id} is {state}: it has not ended, and what fails meanwhile is retried when it has. "
        f"Wait for it: pubworks watch {job_id} (what is held waits for a decision: pubworks held)"
    )
