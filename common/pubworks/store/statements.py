"""Statements that several queries share.

Statements on the way of every batch are built once, as constants with bind parameters: building them costs more than
running them.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from sqlalchemy import Connection, Insert, Table
from sqlalchemy.dialects import postgresql, sqlite

from pubworks.store.engine import now
from pubworks.store.tables import events

_RECORD = events.insert().values(at=now())


def insert_new(connection: Connection, table: Table, rows: Sequence[dict[str, Any]]) -> None:
    """Insert the rows whose key is not there yet; leave the others as they are."""
    if rows:
        connection.execute(_insert_new(table, connection.dialect.name), rows)


@cache
def _insert_new(table: Table, dialect: str) -> Insert:
    insert = postgresql.insert if dialect == "postgresql" else sqlite.insert
    return insert(table).on_conflict_do_nothing()


def record(connection: Connection, job_id: str, what: str, batch_id: str | None = None, **detail: Any) -> None:
    """Append one event."""
    row = {"job_id": job_id, "batch_id": batch_id, "what": what, "detail": detail or None}
    connection.execute(_RECORD, row)
