"""Ending many jobs at once, each in a transaction of its own: those of a session, those with a tag; and sessions."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

from sqlalchemy import ColumnElement, Connection, select, update

from pubworks.states import OPEN, BatchState, JobState
from pubworks.store import jobs, listing, sessions
from pubworks.store.records import SessionRecord, Wanted
from pubworks.store.store import Store
from pubworks.store.tables import batches

#: Sessions that one round of a keeper ends.
_AT_ONCE = 20


def cancel_jobs(store: Store, *, tags: Iterable[str] = (), session: str | None = None) -> int:
    """Cancel the open jobs with all of these tags, of this session. Returns how many were cancelled."""
    return sum(_cancel(store, job_id) for job_id in open_jobs(store, tags=tags, session=session))


def open_jobs(store: Store, *, tags: Iterable[str] = (), session: str | None = None) -> list[str]:
    """Return the ids of the jobs with all of these tags, of this session, that have not ended; oldest first."""
    return _jobs_in(store, OPEN, tags, session)


def cancel_session(store: Store, session_id: str, owner: str | None = None) -> int:
    """Close a session and cancel its open jobs. Returns how many were cancelled.

    Args:
        store: The database.
        session_id: The session.
        owner: Whose jobs alone; None: everybody's.

    Raises:
        SessionNotFound: No session has this id.
    """
    with store.write() as connection:
        sessions.close(connection, session_id)  # by itself: who holds one of its batches may wait for its row
    return sum(_cancel(store, job_id) for job_id in _jobs_in(store, OPEN, (), session_id, owner))


def end_sessions(store: Store) -> None:
    """End the sessions that are over; the jobs of them that did not start in time are cancelled."""
    with store.read() as connection:
        found = sessions.over(connection, _AT_ONCE)
    for session in found:
        for job_id in _jobs_in(store, (JobState.QUEUED,), (), session.id):
            _cancel_late(store, job_id, session)
        with store.write() as connection:
            sessions.end(connection, session.id)


def _jobs_in(
    store: Store, states: tuple[JobState, ...], tags: Iterable[str], session: str | None, owner: str | None = None
) -> list[str]:
    wanted = Wanted(None, states=states, tags=tuple(tags), session=session, descending=False)
    with store.read() as connection:
        return [record.id for record in listing.find_jobs(connection, wanted) if owner in (None, record.owner)]


def _cancel(store: Store, job_id: str) -> bool:
    with store.write() as connection:
        return jobs.cancel(connection, job_id)


class _Started(Exception):
    """A job began at the last moment, and goes on."""


_LATE = "reached its max_time of"


def out_of_time(connection: Connection, job_id: str) -> str | None:
    """Return why a job was cancelled whose session was over before it began; None: it was not."""
    reasons = select(batches.c.reason).where(*_cancelled(job_id), batches.c.reason.contains(_LATE))
    return connection.execute(reasons.limit(1)).scalar()


def _cancelled(job_id: str) -> tuple[ColumnElement[bool], ...]:
    return batches.c.job_id == job_id, batches.c.state == BatchState.CANCELLED


def _cancel_late(store: Store, job_id: str, session: SessionRecord) -> None:
    why = f"its {session.mode} {session.id} {_LATE} {session.max_time_s:g} s"
    with contextlib.suppress(_Started), store.write() as connection:
        jobs.cancel(connection, job_id)
        if jobs.get(connection, job_id).started_at is not None:
            raise _Started
        connection.execute(update(batches).where(*_cancelled(job_id)).values(reason=why))
