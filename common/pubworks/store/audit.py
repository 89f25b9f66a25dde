"""Who changed what, and why: a row of its own in the very transaction that changes it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, select

from pubworks.store.authors import LONGEST_WHY, Author, acting, because, current
from pubworks.store.engine import now
from pubworks.store.tables import audit

__all__ = ["LONGEST_WHY", "Author", "acting", "because", "entries", "sign"]


def sign(connection: Connection, job_ids: Sequence[str]) -> None:
    """Write who is at work into the transaction; nothing where nobody said it.

    Args:
        connection: An open transaction.
        job_ids: Jobs that have an event of it.
    """
    author = current()
    if author is not None:
        why = author.why and author.why[:LONGEST_WHY]
        row = {"who": author.who, "token": author.token, "what": author.what, "jobs": list(job_ids), "why": why}
        connection.execute(audit.insert().values(at=now(), **row))


def entries(connection: Connection, limit: int, before: int | None = None) -> Sequence[Row[Any]]:
    """Return what was changed, newest first.

    Args:
        connection: An open connection.
        limit: How many at most.
        before: Only entries with a smaller id.
    """
    query = select(audit).order_by(audit.c.id.desc()).limit(limit)
    return connection.execute(query if before is None else query.where(audit.c.id < before)).all()
