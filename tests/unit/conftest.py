"""What the unit tests share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from pubworks.client import Client
from pubworks.store.store import Store


@pytest.fixture(autouse=True)
def _own_settings(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep the caller's configuration, environment and data out of the tests."""
    for name in [name for name in os.environ if name.upper().startswith("PUBWORKS_")]:
        monkeypatch.delenv(name)
    home: Path = tmp_path_factory.getbasetemp() / "home"
    for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CONFIG_DIRS"):
        monkeypatch.setenv(name, str(home))


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """One embedded client for a module: its worker takes a moment to start."""
    # PUBs without anything to run wait for the keeper.
    with Client(data_dir=tmp_path_factory.mktemp("data"), keeper_interval_s=0.02) as client:
        yield client


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """An empty database with the tables of this version."""
    store = Store(f"sqlite:///{tmp_path / 'store.db'}")
    store.upgrade()
    yield store
    store.close()
