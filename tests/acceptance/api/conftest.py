"""A server process of its own for each test module, on SQLite or PostgreSQL, and users with tokens."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from pubworks.client import Client
from pubworks.settings import load_settings
from pubworks.states import Scope
from pubworks.store import jobs, tokens
from pubworks.store.records import JobDraft
from pubworks.store.store import Store
from pubworks.testing.servers import NotAvailable, eventually, private_postgresql

_numbers = itertools.count()


@dataclass(frozen=True)
class Served:
    """A server, its database, and who may use it."""

    url: str
    client: Client
    log: Path
    process: subprocess.Popen[str]

    def token(self, owner: str, *scopes: Scope, lasts_s: float | None = None) -> str:
        """Make a token."""
        with self.client.store.write() as connection:
            return tokens.create(connection, owner, scopes, lasts_s)[1]

    def job(self, owner: str = "", name: str | None = None, **values: Any) -> str:
        """Store a job without PUBs, which is done at once, and return its id."""
        draft = JobDraft(self.client.new_id(), name, "sampler", "basic", {}, {}, (), (), owner=owner, **values)
        with self.client.store.write() as connection:
            return jobs.submit(connection, draft)

    def user(self, owner: str, *scopes: Scope) -> httpx.Client:
        """Return an HTTP client with a token."""
        return self.http(self.token(owner, *(scopes or (Scope.SUBMIT,))))

    def http(self, token: str | None = None) -> httpx.Client:
        """Return an HTTP client, with this token or none."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return httpx.Client(base_url=self.url, headers=headers, timeout=30, trust_env=False)


@contextlib.contextmanager
def serving(folder: Path, database: str, **flags: Any) -> Iterator[Served]:
    """Run ``pubworks serve`` on a database."""
    settings = {"database": database, "data_dir": folder, "keeper_interval_s": 0.05, **flags}
    env = {name: value for name, value in os.environ.items() if not name.startswith("PUBWORKS_")}
    env |= {f"PUBWORKS_{name.upper()}": str(value) for name, value in settings.items()}
    log = folder / f"serve{next(_numbers)}.log"
    with contextlib.closing(Store(database)) as store:
        store.upgrade()
    with Client(load_settings(**settings), works=False) as client, log.open("w") as file:
        command = [sys.executable, "-m", "pubworks.cli.main", "serve", "--port", "0"]
        process = subprocess.Popen(command, stderr=file, stdout=file, env=env, cwd=folder, text=True)
        try:
            yield Served(eventually(lambda: _url(process, log), what="the server answers"), client, log, process)
        finally:
            process.terminate()
            process.wait(20)
            print(f"--- {log.name}\n{log.read_text()}")


@pytest.fixture
def serve_on(tmp_path: Path) -> Any:
    """Return a context manager that runs a server of the test's own on a new SQLite file, with these settings."""
    return partial(serving, tmp_path, f"sqlite:///{tmp_path / 'pubworks.db'}")


def _url(process: subprocess.Popen[str], log: Path) -> str | None:
    assert process.poll() is None, log.read_text()
    found = re.search(r"answers at (http://\S+);", log.read_text())
    return found[1] if found else None


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """The URL of a PostgreSQL server."""
    try:
        with private_postgresql() as url:
            yield url
    except (NotAvailable, OSError) as error:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"PostgreSQL: {error}")


@pytest.fixture(scope="module")
def new_postgresql(postgresql: str) -> str:
    """The URL of an empty PostgreSQL database."""
    name = f"api{next(_numbers)}"
    with psycopg.connect(postgresql.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return postgresql.removesuffix("postgres") + name


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.servers)])
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("served")
    on_server = request.param == "postgresql"
    database = request.getfixturevalue("new_postgresql") if on_server else f"sqlite:///{folder / 'pubworks.db'}"
    with serving(folder, database) as served:
        yield served


@pytest.fixture(scope="module")
def served_page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server on a SQLite file, whose users do much in little time."""
    folder = tmp_path_factory.mktemp("page")
    with serving(folder, f"sqlite:///{folder / 'pubworks.db'}", api_rate="1000/s burst 10000") as served:
        yield served
