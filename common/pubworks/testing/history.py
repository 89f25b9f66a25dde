"""A database with a long past, to see how fast jobs are found in it."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, ColumnElement, Connection, String, case, cast, insert, literal, select, text, update

from pubworks.states import BatchState, JobState, RunState
from pubworks.store.tables import batches, job_tags, jobs, provider_jobs

#: Seconds since 1970 of the first job, and between two of them.
START_S, STEP_S = 1_700_000_000.0, 60.0

#: Seconds that a run took.
_RUN_S = 30.0

#: How many in a thousand jobs are in which state; the others are DONE.
_STATES = {JobState.QUEUED: 1, JobState.RUNNING: 2, JobState.PARTIAL: 10, JobState.FAILED: 40, JobState.CANCELLED: 60}

#: How many in a thousand jobs have which tag.
TAGS = {"calibration": 500, "vqe": 50, "thesis": 1}


def fill(connection: Connection, count: int, *, start_s: float = START_S, step_s: float = STEP_S) -> None:
    """Store so many ended and waiting jobs without PUBs, on 20 backends, under 1000 names, in 50 sessions a tenth.

    Args:
        connection: An open transaction.
        count: How many jobs.
        start_s: Seconds since 1970 of the first job.
        step_s: Seconds between two of them.
    """
    numbers = select(literal(0).label("i")).cte("numbers", recursive=True)
    numbers = numbers.union_all(select(numbers.c.i + 1).where(numbers.c.i < count - 1))
    i, chance = numbers.c.i, (numbers.c.i * 7919) % 1000
    job_id = literal("J", String) + cast(10_000_000 + i, String)
    values: dict[str, ColumnElement[Any]] = {
        "id": job_id,
        "name": literal("scan ", String) + cast((i * 31) % 1000, String),
        "primitive": case((chance % 3 == 0, "estimator"), else_="sampler"),
        "backend": literal("lab.", String) + cast((i * 13) % 20, String),
        "session": case((i % 10 == 3, literal("S", String) + cast(i % 500, String)), else_=None),
        "state": _state(chance),
        "options": literal({}, JSON),
        "num_pubs": literal(1),
        "num_batches": literal(1),
        "batches_left": literal(0),
        "created_at": start_s + step_s * i,
    }
    connection.execute(insert(jobs).from_select(list(values), select(*values.values()).select_from(numbers)))
    for tag, share in TAGS.items():
        tagged = select(job_id, literal(tag, String)).select_from(numbers).where((i * 4001) % 1000 < share)
        connection.execute(insert(job_tags).from_select(["job_id", "tag"], tagged))
    connection.execute(text("ANALYZE"))


def run(connection: Connection) -> None:
    """Give each job that has ended one batch, of which there was one run.

    Args:
        connection: An open transaction, after :func:`fill`.
    """
    over = jobs.c.state.not_in((JobState.QUEUED, JobState.RUNNING))
    connection.execute(update(jobs).where(over).values(finished_at=jobs.c.created_at + _RUN_S))
    ended = {"finished_at": jobs.c.finished_at}
    batch: dict[str, ColumnElement[Any]] = {
        "id": jobs.c.id + literal("-0", String), "job_id": jobs.c.id, "position": literal(0),
        "backend": jobs.c.backend, "session": jobs.c.session, "state": literal(BatchState.DONE, String),
        "shots": literal(1000), "slices": literal([[0, 0, 1, 0]], JSON), "num_circuits": literal(1),
        "run_options": literal({}, JSON), "fence": literal(1), **ended,
    }  # fmt: skip
    connection.execute(insert(batches).from_select(list(batch), select(*batch.values()).where(over)))
    begun: dict[str, ColumnElement[Any]] = {
        "batch_id": jobs.c.id + literal("-0", String), "attempt": literal(1), "worker": literal("lab/1", String),
        "state": case((jobs.c.state == JobState.FAILED, RunState.FAILED), else_=RunState.DONE),
        "provider_job_id": literal("p", String) + jobs.c.id, "claimed_at": jobs.c.created_at,
        "accepted_at": jobs.c.created_at + 1, **ended,
    }  # fmt: skip
    connection.execute(insert(provider_jobs).from_select(list(begun), select(*begun.values()).where(over)))
    connection.execute(text("ANALYZE"))


def _state(chance: ColumnElement[int]) -> ColumnElement[str]:
    cases, below = [], 0
    for state, share in _STATES.items():
        below += share
        cases.append((chance < below, state))
    return case(*cases, else_=JobState.DONE)
