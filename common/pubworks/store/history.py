"""What happened over time, counted in steps of equal length, for charts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Connection, Row, case, cast, func, literal, literal_column, select
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import Integer

from pubworks.store.jobs import seen_by
from pubworks.store.tables import batches, jobs, provider_jobs

#: The step of what was before the first one.
BEFORE = -1

#: Jobs are counted that were submitted so many seconds, and all steps together, before the first one: they may have
#: ended since.
_MARGIN_S = 3600.0


class whole(FunctionElement[int]):
    """A number without what stands behind its point."""

    type = Integer()
    inherit_cache = True
    name = "whole"


@compiles(whole, "sqlite")
def _sqlite_whole(element: whole, compiler: Any, **kw: Any) -> str:
    return f"CAST({compiler.process(element.clauses, **kw)} AS INTEGER)"


@compiles(whole, "postgresql")
def _postgresql_whole(element: whole, compiler: Any, **kw: Any) -> str:
    return f"CAST(trunc(CAST({compiler.process(element.clauses, **kw)} AS numeric)) AS integer)"


@dataclass(frozen=True)
class Steps:
    """Steps of time."""

    #: Seconds since 1970: when the first begins.
    since: float
    #: Seconds of each, and how many there are.
    width: float
    count: int

    def of(self, time: ColumnElement[float]) -> ColumnElement[int]:
        """Return the step of a time; NULL where that is."""
        inside = whole((time - literal(self.since)) / literal(self.width))
        return case((time < self.since, BEFORE), else_=inside)


def jobs_over_time(connection: Connection, steps: Steps, viewer: str | None) -> Sequence[Row[Any]]:
    """Return (step of submission, step of the end, state, count) of jobs that were submitted, or ended, in the steps.

    Jobs that were submitted long before the first step are left out, though they may have ended since.
    """
    kind = (steps.of(jobs.c.created_at), steps.of(jobs.c.finished_at), jobs.c.state)
    return connection.execute(select(*kind, func.count()).where(*_lately(steps, viewer)).group_by(*_numbers(3))).all()


def runs_over_time(connection: Connection, steps: Steps, viewer: str | None) -> Sequence[Row[Any]]:
    """Return (backend, step of the beginning, step of the end, state, runs, shots) of the runs of the same jobs."""
    began = func.coalesce(provider_jobs.c.accepted_at, provider_jobs.c.claimed_at)
    kind = (batches.c.backend, steps.of(began), steps.of(provider_jobs.c.finished_at), provider_jobs.c.state)
    shots = cast(func.sum(batches.c.num_circuits * batches.c.shots), BigInteger)
    query = (
        select(*kind, func.count(), shots)
        .join(batches, batches.c.id == provider_jobs.c.batch_id)
        .join(jobs, jobs.c.id == batches.c.job_id)
        .where(*_lately(steps, viewer))
        .group_by(*_numbers(4))
    )
    return connection.execute(query).all()


def open_jobs(connection: Connection, viewer: str | None) -> dict[str, int]:
    """Return how many jobs have not ended, by state."""
    query = select(jobs.c.state, func.count()).where(jobs.c.state.in_(("QUEUED", "RUNNING")))
    query = query if viewer is None else query.where(seen_by(viewer))
    return {state: number for state, number in connection.execute(query.group_by(jobs.c.state))}


def _lately(steps: Steps, viewer: str | None) -> list[ColumnElement[bool]]:
    lately = jobs.c.created_at >= steps.since - max(_MARGIN_S, steps.width * steps.count)
    return [lately] if viewer is None else [lately, seen_by(viewer)]


def _numbers(count: int) -> list[ColumnElement[Any]]:
    """Return the first columns by their numbers: parameters of a step are none of a group for PostgreSQL."""
    return [literal_column(str(number + 1)) for number in range(count)]
