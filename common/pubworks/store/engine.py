"""Engines for SQLite and PostgreSQL, and the database's clock."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, ScalarSelect, create_engine, event, select
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, DisconnectionError, NoSuchModuleError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import Float, String

from pubworks.errors import ConfigError, StoreUnreachable
from pubworks.store.memory import FORKED, is_memory, memory_engine

#: A server that is gone without a word must not hang those who wait for it: seconds, and milliseconds for the last.
_CONNECT = {
    "connect_timeout": 5, "keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}  # fmt: skip

#: Seconds without use after which a connection to a server is asked whether it is still there; more than those between
#: two looks of a keeper, which would ask each time.
_IDLE_S = 3.0

#: PostgreSQL ended a transaction because another one was in its way: a deadlock, or no order that fits both.
_GAVE_WAY = ("40P01", "40001")

_SQLITE_PRAGMAS = ("PRAGMA busy_timeout=30000", "PRAGMA foreign_keys=ON")

#: Seconds between two tries to change the journal of a file, and tries.
_TRY_AGAIN_S, _TRIES = 0.02, 500


class now(FunctionElement[float]):
    """The database's clock: seconds since 1970, UTC."""

    type = Float()
    inherit_cache = True
    name = "now"


def now_once() -> ScalarSelect[float]:
    """Return the database's clock, read once in a statement: what is older, an index can tell.

    PostgreSQL reads a clock that goes on anew for each row, and so reads each row.
    """
    return select(now()).scalar_subquery()


@compiles(now, "sqlite")
def _sqlite_now(element: now, compiler: Any, **kw: Any) -> str:  # noqa: ARG001
    return "((julianday('now') - 2440587.5) * 86400.0)"


@compiles(now, "postgresql")
def _postgresql_now(element: now, compiler: Any, **kw: Any) -> str:  # noqa: ARG001
    return "extract(epoch FROM clock_timestamp())::double precision"


class each_of(FunctionElement[str]):
    """The texts of a list that is given as JSON, a row for each, in the column ``value``."""

    type = String()
    inherit_cache = True
    name = "each_of"


@compiles(each_of, "sqlite")
def _sqlite_each_of(element: each_of, compiler: Any, **kw: Any) -> str:
    return f"json_each({compiler.process(element.clauses, **kw)})"


@compiles(each_of, "postgresql")
def _postgresql_each_of(element: each_of, compiler: Any, **kw: Any) -> str:
    return f"json_array_elements_text(CAST({compiler.process(element.clauses, **kw)} AS json))"


def make_engine(url: str) -> Engine:
    """Return an engine whose transactions are safe with several processes.

    On SQLite every writing transaction starts with ``BEGIN IMMEDIATE``: a reader that turned writer in mid-transaction
    would meet "database is locked" whatever its time-out. A durable one is on the disk when it is committed; another
    may be lost, as a whole, when the power fails.

    Raises:
        ConfigError: The URL cannot be used.
    """
    try:
        parsed = make_url(url)
        if parsed.get_backend_name() == "sqlite":
            return _sqlite_engine(url, parsed.database)
        return _postgresql_engine(url)
    except ArgumentError:
        raise ConfigError(
            "The database URL cannot be read. Write sqlite:///path or postgresql+psycopg://user@host/name "
            "in PUBWORKS_DATABASE."
        ) from None  # the error repeats the URL, and with it a password
    except (NoSuchModuleError, ModuleNotFoundError) as error:
        if not url.startswith("postgresql"):
            raise ConfigError(
                f"pubworks keeps its jobs in SQLite or PostgreSQL, not in {url.partition(':')[0]}. Write "
                "sqlite:///path or postgresql+psycopg://user@host/name in PUBWORKS_DATABASE."
            ) from None
        raise ConfigError(
            f"The driver for the database URL is not installed: {error}. pip install 'pubworks[postgres]'."
        ) from error


def _postgresql_engine(url: str) -> Engine:
    """Return an engine that asks a connection whether it is still there, if it was idle for a while.

    The connection that was used last is used next: in turn, each of many would be idle for a while.
    """
    pool = {"pool_size": 10, "max_overflow": 20, "pool_timeout": 30, "pool_use_lifo": True}
    engine = create_engine(url, connect_args=_CONNECT, **pool)

    @event.listens_for(engine, "checkin")
    def _note(connection: Any, record: Any) -> None:  # noqa: ARG001
        record.info["used_at"] = time.monotonic()

    @event.listens_for(engine, "checkout")
    def _ask(connection: Any, record: Any, proxy: Any) -> None:  # noqa: ARG001
        if time.monotonic() - record.info.get("used_at", time.monotonic()) < _IDLE_S:
            return
        try:
            engine.dialect.do_ping(connection)
        except Exception as error:
            raise DisconnectionError from error  # the pool opens another one

    return engine


def _sqlite_engine(url: str, path: str | None) -> Engine:
    engine = memory_engine(url) if is_memory(url) else _file_engine(url, path)

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, record: Any) -> None:  # noqa: ARG001
        connection.isolation_level = None  # sqlite3 must not open transactions of its own
        for pragma in _SQLITE_PRAGMAS:
            connection.execute(pragma)
        _use_wal(connection)

    @event.listens_for(engine, "begin")
    def _begin(connection: Any) -> None:
        options = connection.get_execution_options()
        cursor = connection.connection.dbapi_connection
        if options.get("reads_only"):
            cursor.execute("BEGIN DEFERRED")
            return
        cursor.execute(f"PRAGMA synchronous={'FULL' if options.get('durable', True) else 'NORMAL'}")
        cursor.execute("BEGIN IMMEDIATE")

    return engine


def _use_wal(connection: sqlite3.Connection) -> None:
    """Change the journal of a file; where others write to it before that, SQLite does not wait for them, but fails."""
    for left in reversed(range(_TRIES)):
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or not left:
                raise
            time.sleep(_TRY_AGAIN_S)


def _file_engine(url: str, path: str | None) -> Engine:
    if path and path != ":memory:":
        try:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreUnreachable(
                f"The folder of the database {path} cannot be made: {error.strerror}. Name another one: "
                "PUBWORKS_DATA_DIR."
            ) from error
    return create_engine(url, pool_size=5, max_overflow=50)


class EngineOfProcess:
    """One engine per process: a forked child never touches its parent's connections."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._engine: Engine | None = None
        self._pid = 0

    def get(self) -> Engine:
        """Return this process's engine.

        Raises:
            StoreUnreachable: The database is in the memory of the process that this one was forked from.
        """
        if self._engine is None or self._pid != os.getpid():
            if self._engine is not None:
                if is_memory(self.url):
                    raise StoreUnreachable(FORKED)
                self._engine.dispose(close=False)
            self._engine, self._pid = make_engine(self.url), os.getpid()
        return self._engine

    def dispose(self) -> None:
        """Close this process's connections."""
        if self._engine is not None and self._pid == os.getpid():
            self._engine.dispose()


@contextmanager
def reachable(url: str) -> Iterator[None]:
    """Turn the driver's connection errors into :class:`StoreUnreachable`."""
    try:
        yield
    except (OperationalError, sqlite3.OperationalError) as error:  # the latter from the start of a transaction
        raise _unreachable(url, error) from error
    except PoolTimeout as error:
        raise StoreUnreachable(f"No connection to the database became free: {error}. Try again.") from error
    except DBAPIError as error:
        if error.connection_invalidated:
            raise _unreachable(url, error) from error
        if "file is not a database" in str(error.orig):  # SQLite has no class of its own for it
            raise StoreUnreachable(f"{make_url(url).database} is not a SQLite database. Name another file.") from error
        raise


def _unreachable(url: str, error: DBAPIError | sqlite3.Error) -> StoreUnreachable:
    shown = make_url(url).render_as_string(hide_password=True)
    told = error.orig if isinstance(error, DBAPIError) else error
    if getattr(told, "sqlstate", None) in _GAVE_WAY:
        return StoreUnreachable(
            f"Another transaction was in the way of this one: {told}. Nothing was stored; try again."
        )
    if isinstance(told, sqlite3.Error) and "is locked" in str(told):
        return StoreUnreachable(
            f"The database {shown} is locked: another process writes to it all the time, or hangs. Try again; if that "
            "does not help, end that process, or use PostgreSQL."
        )
    if isinstance(told, sqlite3.Error):
        return StoreUnreachable(
            f"The database {make_url(url).database} cannot be used: {told}. See that its folder can be written and "
            "that its disk has room, or name another one: PUBWORKS_DATABASE or PUBWORKS_DATA_DIR."
        )
    line = " ".join(str(told).split()).rstrip("?.")
    return StoreUnreachable(f"The database {shown} does not answer: {line}. Start it, or mend PUBWORKS_DATABASE.")
