"""The schema's version is checked in words, and the migrations make exactly the tables of the code."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine, inspect, text

from pubworks.client import Client
from pubworks.errors import ConfigError, SchemaOutOfDate, StoreUnreachable
from pubworks.store import schema
from pubworks.store.engine import make_engine
from pubworks.store.store import Store
from pubworks.store.tables import metadata


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    engine = make_engine(f"sqlite:///{tmp_path / 'store.db'}")
    yield engine
    engine.dispose()


def set_version(store: Store, version: str) -> None:
    with store.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = :v"), {"v": version})


def test_the_migrations_make_exactly_the_tables(engine: Engine) -> None:
    schema.upgrade(engine)
    with engine.begin() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_the_migrations_make_every_index_with_its_condition(engine: Engine, tmp_path: Path) -> None:
    """Alembic does not compare the conditions of partial indices."""
    by_hand = make_engine(f"sqlite:///{tmp_path / 'by_hand.db'}")
    schema.upgrade(engine)
    metadata.create_all(by_hand)
    assert indices(engine) == indices(by_hand)
    by_hand.dispose()


def indices(engine: Engine) -> dict[str, str]:
    with engine.begin() as connection:
        found = connection.execute(text("SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"))
        return {name: " ".join(sql.split()) for name, sql in found}


def test_upgrading_twice_changes_nothing(engine: Engine) -> None:
    schema.upgrade(engine)
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO circuits (hash, qpy) VALUES ('h', x'00')"))
    schema.upgrade(engine)
    with engine.begin() as connection:
        assert schema.current(connection) == schema.head()
        assert connection.execute(text("SELECT count(*) FROM circuits")).scalar() == 1


def test_several_may_upgrade_at_once(tmp_path: Path) -> None:
    errors: list[BaseException] = []

    def upgrade() -> None:
        store = Store(f"sqlite:///{tmp_path / 'store.db'}")
        try:
            store.upgrade()
            store.check_schema()
        except BaseException as error:
            errors.append(error)
        finally:
            store.close()

    threads = [threading.Thread(target=upgrade) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


def test_a_missing_schema_names_the_command(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path / 'store.db'}")
    with pytest.raises(SchemaOutOfDate, match=r"no pubworks tables yet. Run: pubworks db upgrade"):
        store.check_schema()
    store.close()


def test_an_older_schema_names_the_command(store: Store) -> None:
    set_version(store, "r0000")
    with pytest.raises(
        SchemaOutOfDate, match=rf"has schema r0000, this pubworks needs {schema.head()}. Run: pubworks db"
    ):
        store.check_schema()


def test_a_newer_schema_is_left_alone(store: Store) -> None:
    set_version(store, "r9999")
    for act in (store.check_schema, store.upgrade):
        with pytest.raises(SchemaOutOfDate, match=r"has schema r9999, newer than .* pip install --upgrade pubworks"):
            act()
    with store.read() as connection:
        assert schema.current(connection) == "r9999"


def test_a_client_makes_the_tables_of_a_new_file_only(tmp_path: Path) -> None:
    with Client(data_dir=tmp_path) as client:
        assert client.jobs() == []
        set_version(client.store, "r0000")
    with Client(data_dir=tmp_path) as client, pytest.raises(SchemaOutOfDate):
        client.jobs()


def test_an_upgrade_that_fails_leaves_nothing(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    from alembic import op

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("the disk is full")

    monkeypatch.setattr(op, "create_index", fail)
    with pytest.raises(RuntimeError, match="the disk is full"):
        schema.upgrade(engine)
    assert inspect(engine).get_table_names() == []


@pytest.mark.parametrize(
    ("url", "error", "told"),
    [
        ("nonsense", ConfigError, "cannot be read"),
        ("mysql+pymysql://x/y", ConfigError, "SQLite or PostgreSQL, not in mysql"),
        ("sqlite:////proc/no/such/place/x.db", StoreUnreachable, "cannot be made"),
    ],
)
def test_a_database_that_cannot_be_opened_is_told(url: str, error: type[Exception], told: str) -> None:
    with pytest.raises(error, match=told):
        Store(url).check_schema()


def test_a_file_that_is_no_database_is_told(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    path.write_bytes(b"this is no database" * 100)
    with pytest.raises(StoreUnreachable, match=r"store.db is not a SQLite database"):
        Store(f"sqlite:///{path}").check_schema()
