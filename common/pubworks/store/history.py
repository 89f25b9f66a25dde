"""What happened over time, counted in steps of equal length, for charts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Connection, Row, cast, func, literal, literal_column, or_, select
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import Integer

from pubworks.store.jobs import seen_by
from pubworks.store.tables import batches, events, jobs, provider_jobs


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
    return f"CAST(trunc({compiler.process(element.clauses, **kw)}) AS integer)"


@dataclass(frozen=True)
class Steps:
    """Steps of time, numbered from 1970 on."""

    #: Seconds of each.
    width: float

    def of(self, time: ColumnElement[float]) -> ColumnElement[int]:
        """Return the step of a time; NULL where that is."""
        return whole(time / literal(self.width))

    def within(self, time: ColumnElement[float], ranges: Sequence[range]) -> ColumnElement[bool]:
        """Return whether a time is in one of these steps."""
        return or_(*((time >= some.start * self.width) & (time < some.stop * self.width) for some in ranges))


def jobs_over_time(
    connection: Connection, steps: Steps, submitted: Sequence[range], viewer: str | None
) -> Sequence[Row[Any]]:
    """Return (step of submission, step of the end, state, count) of the jobs that were submitted in some steps."""
    kind = (steps.of(jobs.c.created_at), steps.of(jobs.c.finished_at), jobs.c.state)
    seen = _seen(steps, submitted, viewer)
    return connection.execute(select(*kind, func.count()).where(*seen).group_by(*_numbers(3))).all()


def runs_over_time(
    connection: Connection, steps: Steps, submitted: Sequence[range], viewer: str | None
) -> Sequence[Row[Any]]:
    """Return (step of submission, backend, steps of beginning and end, state, runs, shots) of runs of such jobs."""
    began = func.coalesce(provider_jobs.c.accepted_at, provider_jobs.c.claimed_at)
    times = (steps.of(began), steps.of(provider_jobs.c.finished_at))
    kind = (steps.of(jobs.c.created_at), batches.c.backend, *times, provider_jobs.c.state)
    shots = cast(func.sum(batches.c.num_circuits * batches.c.shots), BigInteger)
    query = (
        select(*kind, func.count(), shots)
        .join(batches, batches.c.id == provider_jobs.c.batch_id)
        .join(jobs, jobs.c.id == batches.c.job_id)
        .where(*_seen(steps, submitted, viewer))
        .group_by(*_numbers(5))
    )
    return connection.execute(query).all()


def changed(connection: Connection, steps: Steps, event_id: int) -> set[int]:
    """Return the steps in which the jobs were submitted to which something happened after an event."""
    happened = select(events.c.job_id).where(events.c.id > event_id)
    query = select(steps.of(jobs.c.created_at)).where(jobs.c.id.in_(happened)).distinct()
    return set(connection.execute(query).scalars())


def open_jobs(connection: Connection, viewer: str | None) -> dict[str, int]:
    """Return how many jobs have not ended, by state."""
    query = select(jobs.c.state, func.count()).where(jobs.c.state.in_(("QUEUED", "RUNNING")))
    query = query if viewer is None else query.where(seen_by(viewer))
    return {state: number for state, number in connection.execute(query.group_by(jobs.c.state))}


def _seen(steps: Steps, submitted: Sequence[range], viewer: str | None) -> list[ColumnElement[bool]]:
    then = steps.within(jobs.c.created_at, submitted)
    return [then] if viewer is None else [then, seen_by(viewer)]


def _numbers(count: int) -> list[ColumnElement[Any]]:
    """Return the first columns by their numbers: parameters of a step are none of a group for PostgreSQL."""
    return [literal_column(str(number + 1)) for number in range(count)]
