"""Statements that several queries share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Table
from sqlalchemy.dialects import postgresql, sqlite

from pubworks.store.engine import now
from pubworks.store.tables import events


def insert_new(connection: Connection, table: Table, rows: Sequence[dict[str, Any]]) -> None:
    """Insert the rows whose key is not there yet; leave the others as they are."""
    if rows:
        insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
        connection.execute(insert(table).on_conflict_do_nothing(), rows)


def record(
    connection: Connection, job_id: str, what: str, batch_id: str | None = None, **detail: Any
) -> None:
    """Append one event."""
    row = {"job_id": job_id, "batch_id": batch_id, "what": what, "detail": detail or None}
    connection.execute(events.insert().values(at=now(), **row))
