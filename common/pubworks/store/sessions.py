"""Sessions and batches of jobs: what they take, when their batches go first, and when they are over.

A session is *active* from the moment when one of its batches is claimed in the order of all, until it had no open job
for ``idle_s`` seconds, or until it is over. While it is active, its batches are claimed before those of others; of
several sessions, that one goes first which is active longest. It is over ``max_time_s`` seconds after its first claim,
or when it is closed and has no open job. So whoever waits is overtaken only by sessions of which a batch was there
before, and by each no longer than for its time.

Each time is decided where it matters: the idle one when a job is submitted, the end in the claim; the keeper only
tidies up. A batch of jobs is the same without the precedence.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection, Row, and_, bindparam, case, exists, func, literal_column, null, or_, select, update

from pubworks.errors import SessionClosed, SessionNotFound
from pubworks.states import BatchState, Mode
from pubworks.store import account
from pubworks.store.engine import now
from pubworks.store.records import SessionProgress, SessionRecord
from pubworks.store.statements import PENDING
from pubworks.store.tables import batches, jobs, sessions

_OF_SESSION = jobs.c.session == sessions.c.id
_OPEN = and_(_OF_SESSION, jobs.c.finished_at.is_(None))
_LAST_ENDED = select(func.max(jobs.c.finished_at)).where(_OF_SESSION).scalar_subquery()
_IN_TIME = or_(sessions.c.ends_at.is_(None), sessions.c.ends_at > now())
_THIS = sessions.c.id == bindparam("p_session")

_INSERT = sessions.insert().values(created_at=now())


def open_session(
    connection: Connection, session_id: str, *, mode: Mode, backend: str, max_time_s: float | None, idle_s: float,
    owner: str = "",
) -> None:  # fmt: skip
    """Store a session, or a batch of jobs, that takes jobs from now on; its time begins with the first claim."""
    values = {"id": session_id, "mode": mode, "backend": backend, "max_time_s": max_time_s, "idle_s": idle_s}
    connection.execute(_INSERT, {**values, "owner": owner})


def admit(connection: Connection, session_id: str, job_id: str) -> None:
    """Take a job whose row is stored already; a session that was idle for too long queues again with it.

    Whoever closes the session meanwhile waits for this transaction, or this job is refused.

    Raises:
        SessionClosed: It takes no more jobs.
        SessionNotFound: No session has this id.
    """
    if not connection.execute(_ADMIT, {"p_session": session_id, "p_job": job_id}).rowcount:
        raise SessionClosed(_why_closed(get(connection, session_id)))


_OTHERS_OPEN = exists().where(_OPEN, jobs.c.id != bindparam("p_job"))
_BUSY_UNTIL = case((sessions.c.active_since < _LAST_ENDED, _LAST_ENDED), else_=sessions.c.active_since)
_STAYS_ACTIVE = or_(_OTHERS_OPEN, _BUSY_UNTIL + sessions.c.idle_s > now())
_ADMIT = (
    update(sessions)
    .where(_THIS, sessions.c.closed_at.is_(None), _IN_TIME)
    .values(active_since=case((_STAYS_ACTIVE, sessions.c.active_since), else_=null()))
)


def _why_closed(session: SessionRecord) -> str:
    over = session.closed_at in (None, session.ends_at)  # the latter once it is ended
    why = f"its max_time of {session.max_time_s:g} s is over" if over else "it was closed"
    name = session.mode.title()
    return (
        f"{name} {session.id} takes no more jobs: {why}. Open a new one for them: {name}({session.backend!r}), "
        f"or pubworks {session.mode} open --backend {session.backend}."
    )


_ACTIVE = and_(sessions.c.backend == bindparam("p_backend"), sessions.c.active_since.is_not(None))

#: Whether a session of the backend may be active; one that is over may still be there.
ANY_ACTIVE = exists().where(_ACTIVE)


def in_turn(*only_if: Any) -> Any:
    """Return, as SQL with ``p_backend``, the id of the session whose due batches go first now; NULL: none does."""
    waiting = batches.alias("waiting")
    first_due = select(func.min(waiting.c.due_at)).where(
        waiting.c.session == sessions.c.id, waiting.c.state == PENDING, waiting.c.finished_at.is_(None)
    )
    return (
        select(sessions.c.id)
        .where(_ACTIVE, _IN_TIME)
        .where(first_due.scalar_subquery() <= now(), *only_if)  # EXISTS might read all that there is, to find none
        .order_by(sessions.c.active_since, sessions.c.id)
        .limit(literal_column("1"))
        .scalar_subquery()
    )


def first(connection: Connection, backend: str) -> str | None:
    """Return the id of the session of a backend whose due batches go first now, if there is one."""
    return connection.execute(_FIRST, {"p_backend": backend}).scalar()


_FIRST = select(in_turn())


def activate(connection: Connection, session_ids: Iterable[str]) -> None:
    """Begin the time of sessions of which a batch was claimed, and let their batches go first from now on."""
    connection.execute(_ACTIVATE, [{"p_session": session_id} for session_id in sorted(session_ids)])


_IS_SESSION = sessions.c.mode == Mode.SESSION
_ACTIVATE = (
    update(sessions)
    .where(
        _THIS, sessions.c.ended_at.is_(None), _IN_TIME,
        or_(sessions.c.started_at.is_(None), and_(_IS_SESSION, sessions.c.active_since.is_(None))),
    )
    .values(
        started_at=func.coalesce(sessions.c.started_at, now()),
        ends_at=func.coalesce(sessions.c.ends_at, now() + sessions.c.max_time_s),
        active_since=case((_IS_SESSION, now()), else_=null()),
    )
)  # fmt: skip


def close(connection: Connection, session_id: str) -> bool:
    """Have a session take no more jobs; those that it has go on. Returns whether it took jobs until now.

    Raises:
        SessionNotFound: No session has this id.
    """
    if connection.execute(_CLOSE, {"p_session": session_id}).rowcount:
        return True
    get(connection, session_id)  # says that it is not there
    return False


_CLOSE = update(sessions).where(_THIS, sessions.c.closed_at.is_(None), _IN_TIME).values(closed_at=now())

#: Nothing is left to do: its time is over, or all of its jobs are.
_OVER = or_(~_IN_TIME, and_(sessions.c.closed_at.is_not(None), ~exists().where(_OPEN)))
ANY_OVER = exists().where(sessions.c.ended_at.is_(None), _OVER)


def over(connection: Connection, most: int) -> list[SessionRecord]:
    """Return sessions that are over and not ended yet."""
    query = _RECORDS.where(sessions.c.ended_at.is_(None), _OVER).order_by(sessions.c.ends_at).limit(most)
    return [_record(row) for row in connection.execute(query)]


def end(connection: Connection, session_id: str) -> None:
    """Note that nothing is left to do for a session."""
    connection.execute(_END, {"p_session": session_id})


_END = (
    update(sessions)
    .where(_THIS, sessions.c.ended_at.is_(None), _OVER)
    .values(ended_at=now(), closed_at=func.coalesce(sessions.c.closed_at, sessions.c.ends_at), active_since=null())
)


def get(connection: Connection, session_id: str) -> SessionRecord:
    """Return a session as it stands.

    Raises:
        SessionNotFound: No session has this id.
    """
    row = connection.execute(_GET, {"p_session": session_id}).one_or_none()
    if row is None:
        raise SessionNotFound(
            f"No session or batch {session_id} in this database. `pubworks session list` shows those there are."
        )
    return _record(row)


_RECORDS = select(
    sessions, now().label("now"), exists().where(_OPEN).label("has_open_jobs"), _LAST_ENDED.label("last_job_ended_at"),
    select(func.max(jobs.c.started_at)).where(_OF_SESSION).scalar_subquery().label("last_job_started_at"),
)  # fmt: skip
_GET = _RECORDS.where(_THIS)


def newest(
    connection: Connection, limit: int | None, skip: int = 0, *, mode: Mode | None = None, backend: str | None = None,
    owner: str | None = None,
) -> list[SessionRecord]:  # fmt: skip
    """Return sessions and batches of jobs, newest first."""
    query = _RECORDS.order_by(sessions.c.created_at.desc(), sessions.c.id.desc()).limit(limit).offset(skip or None)
    for column, value in ((sessions.c.mode, mode), (sessions.c.backend, backend), (sessions.c.owner, owner)):
        query = query if value is None else query.where(column == value)
    return [_record(row) for row in connection.execute(query)]


def find(connection: Connection, part: str, owner: str | None = None) -> str:
    """Return the whole id of the session whose id starts, or ends, so; a part fits only what is ``owner``'s.

    Raises:
        SessionNotFound: No session fits, or several do.
    """
    ids = sessions.c.id
    fits = ids.startswith(part, autoescape=True) | ids.endswith(part, autoescape=True)
    query = select(ids).where(fits).order_by(ids != part).limit(2)
    if owner is not None:
        query = query.where(or_(sessions.c.owner == owner, ids == part))
    found = list(connection.execute(query).scalars()) if part else []
    if len(found) == 1 or part in found:
        return str(found[0])
    problem = f"Several sessions or batches fit {part!r}; give more of the id." if found else f"No session {part!r}."
    raise SessionNotFound(f"{problem} `pubworks session list` and `pubworks batch list` show those there are.")


def progress(connection: Connection, session_id: str) -> SessionProgress:
    """Return how many jobs of a session, and batches of these, are in which state."""
    mine = jobs.c.session == session_id
    of_jobs = select(jobs.c.state, func.count()).where(mine).group_by(jobs.c.state)
    whole = batches.c.state != BatchState.SPLIT  # its halves stand for it
    of_batches = select(batches.c.state, func.count()).join(jobs, jobs.c.id == batches.c.job_id).where(mine, whole)
    found = [connection.execute(query) for query in (of_jobs, of_batches.group_by(batches.c.state))]
    return SessionProgress(*({state: count for state, count in rows} for rows in found))


def usage_s(connection: Connection, session: SessionRecord) -> float:
    """Return the seconds that a session lasted, or that the runs of a batch of jobs took at the provider."""
    if session.mode == Mode.BATCH:
        return sum(used.seconds for used in account.usage(connection, session=session.id))
    until = session.now if session.has_open_jobs else session.last_job_ended_at
    return max(0.0, until - session.started_at) if until and session.started_at else 0.0


def _record(row: Row[Any]) -> SessionRecord:
    values = row._asdict()
    return SessionRecord(**{**values, "mode": Mode(values["mode"]), "has_open_jobs": bool(values["has_open_jobs"])})
