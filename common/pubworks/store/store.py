"""The store: one database, its transactions, and a bell for those who wait in this process."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection

from pubworks.states import JobState
from pubworks.store import schema
from pubworks.store.audit import sign
from pubworks.store.engine import EngineOfProcess, reachable
from pubworks.store.statements import flush_events, forget_events, jobs_told

#: Jobs whose end is remembered for those who wait in this process.
_REMEMBERED = 1000


class Store:
    """One database.

    Queries are functions of a connection, in the modules beside this one, so that each caller decides what is one
    transaction::

        with store.write() as connection:
            claim = claiming.claim(connection, "aer", owner="w1", lease_s=60)

    Args:
        url: SQLAlchemy URL of a SQLite or PostgreSQL database.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._engine = EngineOfProcess(url)
        #: Notified when this process committed results or the end of a job; and how often that was.
        self.changed = threading.Condition()
        self.changes = 0
        #: Jobs that this process saw DONE, the newest few: nobody moves them on; in other states they may be retried.
        self.done: dict[str, None] = {}

    @classmethod
    def open(cls, url: str) -> Store:
        """Return a database that has this version's schema; an empty SQLite file gets its tables here.

        Raises:
            SchemaOutOfDate: The schema is another one; the message names the command.
            StoreUnreachable: The database does not answer.
        """
        store = cls(url)
        try:
            with store.read() as connection:
                is_new = url.startswith("sqlite") and schema.current(connection) is None
            if is_new:
                store.upgrade()
            store.check_schema()
        except BaseException:
            store.close()
            raise
        return store

    @contextmanager
    def read(self, *, together: bool = False) -> Iterator[Connection]:
        """Give a connection for reading.

        Args:
            together: Whether a query may be streamed, which needs a transaction; otherwise each query is one by
                itself, and costs a server one round trip.

        Raises:
            StoreUnreachable: The database does not answer.
        """
        with reachable(self.url), self._engine.get().connect() as connection:
            options = {} if together else self._of_single_statements()
            yield connection.execution_options(reads_only=True, **options)

    @contextmanager
    def write_one(self) -> Iterator[Connection]:
        """Give a connection for one statement, which is a transaction by itself and costs a server one round trip.

        Raises:
            StoreUnreachable: The database does not answer.
        """
        if self.url.startswith("sqlite"):
            with self.write() as connection:
                yield connection
            return
        with reachable(self.url), self._engine.get().connect() as connection:
            yield connection.execution_options(**self._of_single_statements())

    def _of_single_statements(self) -> dict[str, Any]:
        return {} if self.url.startswith("sqlite") else {"isolation_level": "AUTOCOMMIT"}

    @contextmanager
    def write(self, *, durable: bool = True) -> Iterator[Connection]:
        """Give a connection whose work is committed as one, or not at all.

        Args:
            durable: Whether it must outlive a power failure; what costs nothing to do again need not.

        Raises:
            StoreUnreachable: The database does not answer; nothing was committed, as far as can be known.
        """
        with reachable(self.url), self._engine.get().connect() as connection:
            connection.execution_options(durable=durable)
            with connection.begin():
                forget_events(connection)
                yield connection
                sign(connection, jobs_told(connection))
                news = flush_events(connection)
        if news:
            self._announce(news)

    def _announce(self, news: dict[str, str | None]) -> None:
        with self.changed:
            self.changes += 1
            self.done.update({job_id: None for job_id, state in news.items() if state == JobState.DONE})
            while len(self.done) > _REMEMBERED:
                del self.done[next(iter(self.done))]
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
