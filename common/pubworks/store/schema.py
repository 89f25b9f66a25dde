"""The schema's version: check it, bring it up to date."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from sqlalchemy import Connection, Engine, text

from pubworks.errors import SchemaOutOfDate

_MIGRATIONS = Path(__file__).parent / "migrations"

#: Key of the PostgreSQL advisory lock under which migrations run.
_UPGRADE_LOCK = 7_285_931_104


def current(connection: Connection) -> str | None:
    """Return the database's schema version, or None for an empty database."""
    if not connection.dialect.has_table(connection, "alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


@cache
def head() -> str:
    """Return the schema version of this pubworks: the name of its newest migration."""
    return max(path.stem.split("_")[0] for path in (_MIGRATIONS / "versions").glob("r*.py"))


def check(connection: Connection) -> None:
    """Raise unless the database has this version's schema.

    Raises:
        SchemaOutOfDate: Names both versions and the command to run.
    """
    found = current(connection)
    if found == head():
        return
    if found is None:
        raise SchemaOutOfDate("The database has no pubworks tables yet. Run: pubworks db upgrade")
    if found < head():
        raise SchemaOutOfDate(
            f"The database has schema {found}, this pubworks needs {head()}. Run: pubworks db upgrade"
        )
    raise SchemaOutOfDate(
        f"The database has schema {found}, newer than {head()} of this pubworks. "
        "Upgrade this installation: pip install --upgrade pubworks"
    )


def upgrade(engine: Engine) -> None:
    """Bring the schema to this version's; several processes may try at once."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    config.set_main_option("path_separator", "os")
    with engine.begin() as connection:  # on SQLite this takes the write lock
        if engine.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _UPGRADE_LOCK})
        found = current(connection)
        if found is not None and found > head():
            check(connection)
        if found != head():
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
