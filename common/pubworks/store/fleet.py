"""Queries of the fleet: what is due, which workers live, what backends are like."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Row,
    Select,
    bindparam,
    case,
    delete,
    exists,
    func,
    literal,
    literal_column,
    null,
    or_,
    select,
    union_all,
    update,
)

from pubworks.errors import WorkerNotFound
from pubworks.states import LEASED
from pubworks.store.engine import each_of, now, now_once
from pubworks.store.records import BackendFacts
from pubworks.store.sessions import ANY_OVER
from pubworks.store.statements import insert_new, one_of
from pubworks.store.tables import backends, batches, jobs, limits, pubs, workers


@dataclass(frozen=True)
class Chores:
    """What a keeper finds to do."""

    #: Backend -> how many messages are worth ringing.
    due: dict[str, int]
    leases_ended: bool
    unmerged: bool
    unsettled: bool
    sessions_over: bool
    #: Whether the worker that looks was asked to end.
    draining: bool = False


def chores(
    connection: Connection, names: Sequence[str], window: int, late_s: float, merge_grace_s: float, *, worker: str = ""
) -> Chores:
    """Return what there is to do, in one query.

    Args:
        connection: An open connection.
        names: The backends to look at.
        window: Count no further than this.
        late_s: Seconds after which a run that should have been looked at was forgotten by its worker.
        merge_grace_s: Seconds after which a complete PUB that is not merged was.
        worker: The worker that looks, if it can be asked to end.
    """
    found = {
        (kind, name): count
        for kind, name, count in connection.execute(_CHORES, {
            "p_names": json.dumps(list(names)), "p_window": window, "p_late": late_s, "p_grace": merge_grace_s,
            "p_worker": worker,
        })
        if count
    }  # fmt: skip
    limited = {name for kind, name in found if kind == "limited"}
    due = {name: 1 if name in limited else found.get(("due", name), 0) for name in names if ("due", name) in found}
    due |= {name: max(due.get(name, 0), 1) for kind, name in found if kind == "late"}
    return Chores(due, *((kind, "") in found for kind in ("lease", "merge", "settle", "session", "drain")))


_SERVED: Any = each_of(bindparam("p_names")).table_valued("value", name="served")
_OF_SERVED = (batches.c.backend == _SERVED.c.value, batches.c.finished_at.is_(None))
_COMPLETE = (pubs.c.collected_at.is_(None), pubs.c.missing == literal_column("0"))


def _least(column: Column[Any], *conditions: ColumnElement[bool]) -> ColumnElement[Any]:
    """Return the least value, to be compared: it is the first of an index.

    Of a question whether there is a row past a limit, PostgreSQL may think that it meets one soon, and read all rows.
    """
    return select(func.min(column)).where(*conditions).correlate(_SERVED).scalar_subquery()


def _whether(kind: str, there: ColumnElement[bool]) -> Select[Any]:
    return select(literal(kind), literal(""), case((there, 1), else_=0))


def _of_each(kind: str, count: ColumnElement[int]) -> Select[Any]:
    return select(literal(kind), _SERVED.c.value, count).select_from(_SERVED)


def _is_late(state: str) -> ColumnElement[int]:
    first = _least(batches.c.due_at, *_OF_SERVED, batches.c.state == state)
    return case((first <= now() - bindparam("p_late"), 1), else_=0)


def _waiting() -> ColumnElement[int]:
    due = select(batches.c.id).where(*_OF_SERVED, batches.c.state == "PENDING", batches.c.due_at <= now_once())
    window = due.order_by(batches.c.due_at).limit(bindparam("p_window")).correlate(_SERVED).subquery()
    return select(func.count()).select_from(window).correlate(_SERVED).scalar_subquery()


#: One term for each kind of chore, and not for each backend: SQLite takes no more than 500.
_CHORES = union_all(
    _whether("lease", _least(batches.c.lease_until, batches.c.lease_until.is_not(None)) < now()),
    _whether("merge", _least(pubs.c.ready_at, *_COMPLETE) <= now() - bindparam("p_grace")),
    _whether("settle", _least(jobs.c.batches_left, one_of(jobs.c.state, ("QUEUED", "RUNNING"))) == 0),
    _whether("session", ANY_OVER),
    _whether("drain", exists().where(workers.c.id == bindparam("p_worker"), workers.c.draining)),
    _of_each("due", _waiting()),
    _of_each("late", _is_late("IN_FLIGHT")),
    _of_each("late", _is_late("UNCERTAIN")),
    _of_each("limited", case((exists().where(limits.c.backend == _SERVED.c.value), 1), else_=0)),
)


def owners(connection: Connection, worker: str) -> set[str]:
    """Return the processes of a worker that hold leases."""
    mine = batches.c.lease_owner.startswith(f"{worker}/")
    query = select(batches.c.lease_owner).where(batches.c.state.in_(LEASED), mine).distinct()
    return set(connection.execute(query).scalars())


def sign_in(connection: Connection, row: dict[str, Any]) -> None:
    """Enter a worker, or tell that it still lives."""
    seen = update(workers).where(workers.c.id == row["id"]).values(seen_at=now(), backends=row["backends"])
    if not connection.execute(seen).rowcount:
        connection.execute(workers.insert().values(started_at=now(), seen_at=now(), **row))


def sign_out(connection: Connection, worker: str) -> None:
    """Remove a worker that stopped."""
    connection.execute(delete(workers).where(workers.c.id == worker))


def drain(connection: Connection, part: str, silent_s: float) -> Row[Any]:
    """Ask the worker whose id starts, or ends, so to take nothing more, finish what it runs, and end. Returns it.

    Raises:
        WorkerNotFound: No worker that is alive fits, or several do; or it lives in a client's process.
    """
    alive = list_workers(connection, silent_s)
    fits = [row for row in alive if part and (row.id.startswith(part) or row.id.endswith(part))]
    found = [row for row in fits if row.id == part] or fits
    if len(found) != 1:
        problem = f"Several workers fit {part!r}; give more of the id." if found else f"No worker {part!r} is alive."
        raise WorkerNotFound(f"{problem} `pubworks workers` shows those there are.")
    (row,) = found
    if row.embedded:
        raise WorkerNotFound(f"Worker {row.id} is a part of process {row.pid} on {row.host}, and ends with that.")
    connection.execute(update(workers).where(workers.c.id == row.id).values(draining=True))
    return next(row for row in list_workers(connection, silent_s) if row.id == found[0].id)


def list_workers(connection: Connection, silent_s: float) -> Sequence[Row[Any]]:
    """Return the workers seen within ``silent_s`` seconds, with the batches that their processes hold.

    Workers that were silent for longer are dead; their leases end by themselves.
    """
    holds = (
        select(func.count())
        .where(batches.c.lease_until.is_not(None))  # those few have an index
        .where(or_(batches.c.lease_owner == workers.c.id, batches.c.lease_owner.startswith(workers.c.id + "/")))
        .scalar_subquery()
    )
    alive = workers.c.seen_at > now() - silent_s
    silent = (now() - workers.c.seen_at).label("silent_s")
    return connection.execute(
        select(workers, holds.label("holds"), silent).where(alive).order_by(workers.c.started_at)
    ).all()


def get_backend(connection: Connection, name: str) -> BackendFacts | None:
    """Return what is known about a backend."""
    row = connection.execute(select(backends).where(backends.c.name == name)).one_or_none()
    return BackendFacts(**row._asdict()) if row else None


def list_backends(connection: Connection) -> list[BackendFacts]:
    """Return what is known about every backend that was ever described."""
    return [BackendFacts(**row._asdict()) for row in connection.execute(select(backends).order_by(backends.c.name))]


def describe_backend(connection: Connection, facts: BackendFacts) -> None:
    """Store what was found out about a backend; the newest word counts."""
    values = {name: getattr(facts, name) for name in ("spec", "num_qubits", "max_circuits", "error")}
    other = update(backends).where(backends.c.name == facts.name, backends.c.spec != facts.spec)
    connection.execute(other.values(learned=null()))  # what another machine taught
    changed = update(backends).where(backends.c.name == facts.name).values(described_at=now(), **values)
    if not connection.execute(changed).rowcount:
        time = connection.execute(select(now())).scalar_one()
        insert_new(connection, backends, [{"name": facts.name, "described_at": time, **values}])


def note_error(connection: Connection, name: str, error: str) -> None:
    """Note that a backend cannot be built any more, until it is described again."""
    connection.execute(update(backends).where(backends.c.name == name).values(error=error, described_at=now()))


def learn(connection: Connection, name: str, **limit: int) -> dict[str, int]:
    """Keep a limit that a provider taught by refusing a run; the smaller of two counts. Returns all that are known."""
    query = select(backends.c.learned).where(backends.c.name == name).with_for_update()
    row = connection.execute(query).one_or_none()
    if row is None:  # a live object, which no other process will ever plan for
        return limit
    known = row.learned or {}
    learned = known | {key: min(value, known.get(key, value)) for key, value in limit.items()}
    connection.execute(update(backends).where(backends.c.name == name).values(learned=learned))
    return learned


def forget(connection: Connection, name: str) -> bool:
    """Forget the limits that a provider taught. Returns whether there were any."""
    query = update(backends).where(backends.c.name == name, backends.c.learned.is_not(None))
    return bool(connection.execute(query.values(learned=null())).rowcount)


def queue_depths(connection: Connection) -> dict[str, int]:
    """Return how many batches wait for each backend."""
    waiting = (batches.c.finished_at.is_(None), batches.c.state == "PENDING")  # the first one for its index
    query = select(batches.c.backend, func.count()).where(*waiting).group_by(batches.c.backend)
    return {name: count for name, count in connection.execute(query)}
