"""A server to measure: ``pubworks serve`` on a private PostgreSQL."""

from __future__ import annotations

import contextlib
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

from pubworks.states import Scope
from pubworks.store import tokens
from pubworks.store.store import Store
from pubworks.testing.servers import eventually, private_postgresql, program


@dataclass(frozen=True)
class Served:
    """A server and its database."""

    url: str
    store: Store
    process: psutil.Process

    def headers(self, owner: str, scope: Scope) -> dict[str, str]:
        """Return the headers of somebody with a new token."""
        with self.store.write() as connection:
            return {"Authorization": f"Bearer {tokens.create(connection, owner, {scope})[1]}"}

    def cpu_s(self) -> float:
        """Return the seconds of a processor that the server has used."""
        used = self.process.cpu_times()
        return float(used.user + used.system)

    def transactions(self) -> int:
        """Return how many transactions the database has seen."""
        with self.store.read() as connection:
            count = "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()"
            return int(connection.exec_driver_sql(count).scalar_one())

    def events(self) -> int:
        """Return how many events there are."""
        with self.store.read() as connection:
            return int(connection.exec_driver_sql("SELECT count(*) FROM events").scalar_one())


@contextlib.contextmanager
def served(prepare: Callable[[Store], object] = lambda _: None) -> Iterator[Served]:
    """Run PostgreSQL, prepared if wanted, and a server on it, which lets everybody ask as often as they like."""
    with private_postgresql() as url, tempfile.TemporaryDirectory() as folder, contextlib.closing(Store(url)) as store:
        store.upgrade()
        prepare(store)
        env = {"PUBWORKS_DATABASE": url, "PUBWORKS_DATA_DIR": folder, "PUBWORKS_API_RATE": "100000/s burst 100000"}
        command, log = [sys.executable, "-m", "pubworks.cli.main", "serve", "--port", "0"], Path(folder) / "log"
        with program(command, env, log) as process:
            found = eventually(lambda: re.search(r"answers at (http://\S+);", log.read_text()), 60)
            assert found is not None
            yield Served(found[1], store, psutil.Process(process.pid))


def client(served: Served, headers: dict[str, str]) -> httpx.Client:
    """Return an HTTP client that keeps its connection."""
    return httpx.Client(base_url=served.url, headers=headers, timeout=60, trust_env=False)
