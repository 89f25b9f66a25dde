"""From what a user asks ``client.jobs`` for to the query's filters."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from operator import index
from typing import TYPE_CHECKING, TypeAlias

from qiskit.providers import JobStatus

from pubworks.primitives.labels import check_tags
from pubworks.states import JobState

if TYPE_CHECKING:
    from pubworks.store.records import Wanted

STATUS = {
    JobState.QUEUED: JobStatus.QUEUED,
    JobState.RUNNING: JobStatus.RUNNING,
    JobState.DONE: JobStatus.DONE,
    JobState.PARTIAL: JobStatus.ERROR,
    JobState.FAILED: JobStatus.ERROR,
    JobState.CANCELLED: JobStatus.CANCELLED,
}

#: One state, by our name or Qiskit's, or several.
StatusLike: TypeAlias = JobState | JobStatus | str | Iterable[JobState | JobStatus | str]

#: A point in time: local time where a ``datetime`` has no zone, or seconds since 1970.
TimeLike: TypeAlias = datetime | float


def wanted(
    limit: int | None, skip: int, *, backend: str | None, status: StatusLike | None, tags: Iterable[str] | None,
    name: str | None, primitive: str | None, created_after: TimeLike | None, created_before: TimeLike | None,
    descending: bool, session: str | None = None,
) -> Wanted:  # fmt: skip
    """Return the filters of a listing.

    Raises:
        TypeError: A filter is of the wrong type.
        ValueError: A number is negative, or a state or primitive is none.
    """
    from pubworks.store.records import Wanted

    if min(0 if limit is None else index(limit), index(skip)) < 0:
        raise ValueError(f"limit and skip count jobs: they must not be negative, as limit={limit}, skip={skip}.")
    for what, text in {"backend": backend, "name": name, "session": session}.items():
        if not isinstance(text, str | None):
            raise TypeError(f"{what} must be a text, not {type(text).__name__}.")
    if primitive not in (None, "sampler", "estimator"):
        raise ValueError(f"primitive must be 'sampler' or 'estimator', not {primitive!r}.")
    states = None if status is None else states_of(status)
    return Wanted(
        limit, skip, backend, states, check_tags(tags), name, primitive,
        seconds_of(created_after), seconds_of(created_before), descending, session,
    )  # fmt: skip


def states_of(status: StatusLike) -> tuple[JobState, ...]:
    """Return the states that a filter names; ``ERROR`` of Qiskit is ``PARTIAL`` or ``FAILED``.

    >>> [str(state) for state in states_of([JobStatus.ERROR, "queued"])]
    ['PARTIAL', 'FAILED', 'QUEUED']

    Raises:
        ValueError: There is no such state.
    """
    if isinstance(status, (str, JobStatus)):
        return _states(status)
    return tuple(dict.fromkeys(state for one in status for state in _states(one)))


def _states(status: JobStatus | str) -> tuple[JobState, ...]:
    wanted = status.name if isinstance(status, JobStatus) else str(status).upper()
    if wanted in JobState.__members__:
        return (JobState(wanted),)
    if wanted not in JobStatus.__members__:
        known = sorted({*JobState.__members__, "ERROR"})
        raise ValueError(f"There is no status {status!r}. Give one of {', '.join(known)}, or a list of them.")
    return tuple(state for state, theirs in STATUS.items() if theirs.name == wanted)


def seconds_of(time: TimeLike | None) -> float | None:
    """Return a time as seconds since 1970.

    Raises:
        TypeError: It is neither a ``datetime`` nor a number.
    """
    if time is None or (isinstance(time, (int, float)) and not isinstance(time, bool)):
        return time
    if isinstance(time, datetime):
        return time.timestamp()
    raise TypeError(f"A time must be a datetime or seconds since 1970, not {type(time).__name__}.")
