"""What the commands open: the settings, the database, the broker; without Qiskit, which takes a second to import."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from pubworks.errors import ConfigError
from pubworks.views.session import Session

if TYPE_CHECKING:
    from pubworks.ledger.contract import Ledger
    from pubworks.settings import Settings
    from pubworks.store.records import JobRecord
    from pubworks.store.store import Store


@contextmanager
def reached() -> Iterator[Ledger]:
    """Give the place where the settings keep jobs: a server at a URL, or a database.

    Raises:
        ConfigError: A setting is wrong.
        ServerUnreachable: The server does not answer.
        StoreUnreachable: The database does not answer.
        SchemaOutOfDate: Its schema is another one.
    """
    from pubworks.settings import load_settings

    settings = load_settings()
    if settings.is_remote:
        from pubworks.ledger.remote import RemoteLedger

        with closing(RemoteLedger(settings)) as ledger:
            yield ledger
    else:
        from pubworks.ledger.stored import StoredLedger

        with session_of(settings) as session:
            yield StoredLedger(session)


@contextmanager
def working_on(ledger: Ledger, record: JobRecord) -> Iterator[None]:
    """Where the broker is embedded, run the job in this process as long as the context lasts."""
    if not ledger.embedded or record.state.is_final:
        yield
        return
    from pubworks.client import Client

    logging.basicConfig(format="%(message)s", level=logging.ERROR)  # what went wrong stands in the job's reasons
    with Client() as client:
        client.job(record.id)  # starts the embedded worker
        yield


@contextmanager
def opened() -> Iterator[Session]:
    """Open the database of the settings; an empty SQLite file gets its tables.

    Raises:
        ConfigError: A setting is wrong.
        StoreUnreachable: The database does not answer.
        SchemaOutOfDate: Its schema is another one.
    """
    from pubworks.settings import load_settings

    with session_of(load_settings()) as session:
        yield session


@contextmanager
def session_of(settings: Settings) -> Iterator[Session]:
    """Open the database of these settings, as :func:`opened` does."""
    from pubworks.store.store import Store

    check_lasts(settings)
    with closing(Store.open(settings.database_url)) as store:
        yield Session(settings, store)


@contextmanager
def database(settings: Settings) -> Iterator[Store]:
    """Give the database, whatever its schema, and close it."""
    from pubworks.store.store import Store

    check_lasts(settings)
    with closing(Store(settings.database_url)) as store:
        yield store


def check_lasts(settings: Settings) -> None:
    """Raise where there is no database that a command could open, and find again what it did.

    Raises:
        ConfigError: They are kept in memory only, or by a server.
    """
    from pubworks.settings import origin

    if settings.is_remote:
        raise ConfigError(
            f"This command works on the database itself, and url = {settings.url} ({origin('url')}) is a server's. "
            "Call it without the URL, on a machine whose settings name the database and the broker."
        )
    if settings.is_local:
        raise ConfigError(
            f"With url = local ({origin('url')}) jobs end with the process that submits them, so no command can see "
            "them. Unset it for this command; in Python it is for tests."
        )


def check_broker(settings: Settings) -> None:
    """Raise unless the broker answers; the embedded one always does.

    Raises:
        BrokerUnreachable: It does not answer.
    """
    from pubworks.queue import depth, make_app

    if not (settings.embedded or settings.is_remote):
        depth(make_app(settings), "default")
