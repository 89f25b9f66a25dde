"""Who changed what, and why: a row of its own in the very transaction that changes it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, Row, select

from pubworks.store.engine import now
from pubworks.store.tables import audit

#: Longest reason that is kept, in characters.
LONGEST_WHY = 500


@dataclass(frozen=True)
class Author:
    """Who changes something."""

    #: A user of the server, or ``cli:`` and the name of the account.
    who: str
    what: str
    why: str | None = None
    #: Id of the token that was used.
    token: str | None = None


_author: ContextVar[Author | None] = ContextVar("pubworks_author", default=None)


@contextmanager
def acting(author: Author) -> Iterator[None]:
    """Have every transaction that writes in this context, and in threads that copy it, tell its author."""
    before = _author.set(author)
    try:
        yield
    finally:
        _author.reset(before)


@contextmanager
def because(why: str | None) -> Iterator[None]:
    """Have the author of this context, if there is one, give this reason."""
    author = _author.get()
    if author is None:
        yield
        return
    with acting(replace(author, why=why)):
        yield


def sign(connection: Connection, job_ids: Sequence[str]) -> None:
    """Write who is at work into the transaction; nothing where nobody said it.

    Args:
        connection: An open transaction.
        job_ids: Jobs that have an event of it.
    """
    author = _author.get()
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
