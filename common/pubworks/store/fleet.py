"""Queries of the fleet: what is due, which workers live, what backends are like."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, delete, func, literal, or_, select, union_all, update

from pubworks.states import LEASED
from pubworks.store.engine import now
from pubworks.store.records import BackendFacts
from pubworks.store.statements import insert_new
from pubworks.store.tables import backends, batches, workers


def due(connection: Connection, names: Sequence[str], limit: int) -> dict[str, int]:
    """Return how many batches of each backend are due, counting no further than ``limit``."""
    if not names:
        return {}
    counts = [
        select(literal(name).label("name"), func.count().label("due")).select_from(
            select(batches.c.id).where(batches.c.backend == name, batches.c.due_at <= now()).limit(limit).subquery()
        )
        for name in names
    ]
    return {name: count for name, count in connection.execute(union_all(*counts)) if count}


def any_lease_ended(connection: Connection) -> bool:
    """Return whether some batch's lease has ended."""
    ended = select(batches.c.id).where(batches.c.state.in_(LEASED), batches.c.lease_until < now()).limit(1)
    return connection.execute(ended).first() is not None


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


def list_workers(connection: Connection, silent_s: float) -> Sequence[Row[Any]]:
    """Return the workers seen within ``silent_s`` seconds, with the batches that their processes hold.

    Workers that were silent for longer are dead; their leases end by themselves.
    """
    holds = (
        select(func.count())
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
    changed = update(backends).where(backends.c.name == facts.name).values(described_at=now(), **values)
    if not connection.execute(changed).rowcount:
        time = connection.execute(select(now())).scalar_one()
        insert_new(connection, backends, [{"name": facts.name, "described_at": time, **values}])


def note_error(connection: Connection, name: str, error: str) -> None:
    """Note that a backend cannot be built any more, until it is described again."""
    connection.execute(update(backends).where(backends.c.name == name).values(error=error, described_at=now()))


def queue_depths(connection: Connection) -> dict[str, int]:
    """Return how many batches wait for each backend."""
    query = select(batches.c.backend, func.count()).where(batches.c.state == "PENDING").group_by(batches.c.backend)
    return {name: count for name, count in connection.execute(query)}
