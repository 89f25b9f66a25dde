"""Statements that several queries share.

Statements on the way of every batch are built once, as constants with bind parameters: building them costs more than
running them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, Insert, Table, literal_column, or_, select
from sqlalchemy.dialects import postgresql, sqlite

from pubworks.states import BatchState
from pubworks.store.engine import now
from pubworks.store.tables import batches, events

_RECORD = events.insert().values(at=now())


#: Keys of ``Connection.info``: the events of the transaction, and whether others should look when it is committed.
_EVENTS = "pubworks_events"
_NEWS = "pubworks_news"


def tell(connection: Connection, job_id: str, state: str | None = None) -> None:
    """Wake those who wait for a job in this process, once this transaction is committed.

    Args:
        connection: An open transaction.
        job_id: The job that has a new result or a new state.
        state: Its final state, if it ended.
    """
    connection.info.setdefault(_NEWS, {})[job_id] = state


def insert_new(connection: Connection, table: Table, rows: Sequence[dict[str, Any]]) -> None:
    """Insert the rows whose key is not there yet; leave the others as they are."""
    if rows:
        connection.execute(_insert_new(table, connection.dialect.name), rows)


@cache
def _insert_new(table: Table, dialect: str) -> Insert:
    insert = postgresql.insert if dialect == "postgresql" else sqlite.insert
    return insert(table).on_conflict_do_nothing()


def record(connection: Connection, job_id: str, what: str, batch_id: str | None = None, **detail: Any) -> None:
    """Append one event, when this transaction is committed."""
    row = {"job_id": job_id, "batch_id": batch_id, "what": what, "detail": detail or None}
    connection.info.setdefault(_EVENTS, []).append(row)


def jobs_told(connection: Connection) -> list[str]:
    """Return the jobs that a transaction has events of, each once."""
    return list(dict.fromkeys(row["job_id"] for row in connection.info.get(_EVENTS, ())))


def flush_events(connection: Connection) -> dict[str, str | None]:
    """Write the events of a transaction. Returns the jobs with news, and their final states."""
    if rows := connection.info.pop(_EVENTS, None):
        connection.execute(_RECORD, rows)
    return dict(connection.info.pop(_NEWS, {}))


def forget_events(connection: Connection) -> None:
    """Drop what a transaction that was rolled back left behind."""
    connection.info.pop(_EVENTS, None)
    connection.info.pop(_NEWS, None)


#: A state as a constant of the statement: every parameter of a claim costs time.
PENDING: ColumnElement[str] = literal_column(f"'{BatchState.PENDING}'")


def in_order(*conditions: ColumnElement[bool]) -> tuple[ColumnElement[bool], ...]:
    """Return conditions for an UPDATE of several batches that locks them in the order of their ids.

    Two transactions that lock the same rows in different orders wait for each other until the database ends one.
    """
    locked = select(batches.c.id).where(*conditions).order_by(batches.c.id).with_for_update()
    return (batches.c.id.in_(locked), *conditions)  # again: a row may have changed while it was waited for


def one_of(column: Column[Any], values: Iterable[str]) -> ColumnElement[bool]:
    """Return ``column IN values`` for constant values, in a form that SQLAlchemy compiles once and for all."""
    return or_(*(column == value for value in values))
