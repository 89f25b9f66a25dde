"""A database in the memory of this process, which ends with the store that opened it.

SQLite's shared cache locks whole tables, and answers at once that one is locked, whatever the time-out; several
connections through its ``memdb`` file system would wait for each other by sleeping. So there is one connection, and the
pool hands it to one thread after the other: a thread must not ask for a second one while it has it.
"""

from __future__ import annotations

import sqlite3
from functools import cache

from sqlalchemy import Engine, QueuePool, StaticPool, create_engine, event
from sqlalchemy.engine import make_url

from pubworks.errors import StoreUnreachable
from pubworks.store import schema

#: Why a forked process has no such database.
FORKED = "The local client stays in the process that made it, and this one was forked from that. Make a new one here."

#: Seconds that a thread waits for its turn.
_TURN_S = 30


def is_memory(url: str) -> bool:
    """Return whether a URL is that of a database in memory.

    >>> is_memory("sqlite:///file:/mine?vfs=memdb&uri=true"), is_memory("sqlite:////data/pubworks.db")
    (True, False)
    """
    return make_url(url).query.get("vfs") == "memdb"


def memory_engine(url: str) -> Engine:
    """Return the engine of a database in memory; the data are gone when it is disposed of."""
    memory = _Memory(f"{make_url(url).database}?vfs=memdb")
    pool = {"poolclass": QueuePool, "pool_size": 1, "max_overflow": 0, "pool_timeout": _TURN_S}
    engine = create_engine(url, creator=memory.connect, **pool)
    event.listen(engine, "engine_disposed", lambda _: memory.end())
    return engine


class _Memory:
    """Keeps a database alive, whatever becomes of the pool's connection: an interrupt costs it.

    Args:
        name: URI by which SQLite knows it.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._kept: sqlite3.Connection | None = None
        self._kept = self._open()
        self._kept.executescript(_tables())

    def connect(self) -> sqlite3.Connection:
        """Return a connection.

        Raises:
            StoreUnreachable: The database has ended.
        """
        if self._kept is None:
            raise StoreUnreachable("The local client is closed, and its jobs are gone with it. Make a new one.")
        return self._open()

    def end(self) -> None:
        """Let the database go."""
        if self._kept is not None:
            self._kept.close()
            self._kept = None

    def _open(self) -> sqlite3.Connection:
        return sqlite3.connect(self._name, uri=True, check_same_thread=False)


@cache
def _tables() -> str:
    """Return the statements that make this version's tables: the migrations take longer than a small job."""
    connection = sqlite3.connect(":memory:", check_same_thread=False)
    engine = create_engine("sqlite://", creator=lambda: connection, poolclass=StaticPool)
    schema.upgrade(engine)
    statements = "\n".join(connection.iterdump())
    engine.dispose()
    return statements
