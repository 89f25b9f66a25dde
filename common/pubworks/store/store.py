"""The store: one database, its transactions, and a bell for those who wait in this process."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection

from pubworks.store import schema
from pubworks.store.engine import EngineOfProcess, reachable


class Store:
    """One database.

    Queries are functions of a connection, in the modules beside this one, so that each caller decides what is one
    transaction::

        with store.write() as connection:
            claim = batches.claim(connection, "aer", owner="w1", lease_s=60)

    Args:
        url: SQLAlchemy URL of a SQLite or PostgreSQL database.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._engine = EngineOfProcess(url)
        #: Notified after every transaction that this process commits, and their number.
        self.changed = threading.Condition()
        self.commits = 0

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Give a connection for reading one consistent state.

        Raises:
            StoreUnreachable: The database does not answer.
        """
        with reachable(self.url), self._engine.get().connect() as connection:
            yield connection.execution_options(reads_only=True)

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Give a connection whose work is committed as one, or not at all.

        Raises:
            StoreUnreachable: The database does not answer; nothing was committed, as far as can be known.
        """
        with reachable(self.url), self._engine.get().begin() as connection:
            yield connection
        with self.changed:
            self.commits += 1
            self.changed.notify_all()

    def check_schema(self) -> None:
        """Raise unless the database has this version's schema.

        Raises:
            SchemaOutOfDate: It is older, newer or missing; the message names the command.
        """
        with self.read() as connection:
            schema.check(connection)

    def upgrade(self) -> None:
        """Bring the schema to this version's, from any older one or none."""
        with reachable(self.url):
            schema.upgrade(self._engine.get())

    def close(self) -> None:
        """Close the connections of this process."""
        self._engine.dispose()
