"""A fleet to measure: private PostgreSQL and Redis, and worker processes on them."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

from pubworks.client import Client
from pubworks.store import fleet
from pubworks.store.store import Store
from pubworks.testing.servers import eventually, private_postgresql, private_redis, program

#: A simulator that keeps one core busy.
AER = """
[backends.aer1]
factory = "qiskit_aer:AerSimulator"
arguments = { max_parallel_threads = 1 }
max_circuits = 5
"""


@contextlib.contextmanager
def servers(config: str) -> Iterator[Client]:
    """Run the servers; gives a client, and leaves its settings in the environment for workers.

    Args:
        config: The text of ``pubworks.toml``.
    """
    with tempfile.TemporaryDirectory() as folder, private_postgresql() as database, private_redis() as broker:
        path = Path(folder) / "pubworks.toml"
        path.write_text(config)
        settings = {"CONFIG": str(path), "DATABASE": database, "BROKER": broker, "DATA_DIR": folder}
        with mock.patch.dict(os.environ, {f"PUBWORKS_{name}": value for name, value in settings.items()}):
            Store(database).upgrade()
            with Client() as client:
                yield client


@contextlib.contextmanager
def workers(client: Client, number: int, backend: str, *, concurrency: int = 1) -> Iterator[list[int]]:
    """Run worker processes; gives their process ids when they have signed in and described the backend."""
    command = [
        sys.executable, "-m", "celery", "-A", "pubworks.worker.app", "worker", "-c", str(concurrency),
        "-l", "ERROR", "-Q", f"pubworks.{backend}", "--without-gossip", "--without-mingle", "--without-heartbeat",
    ]  # fmt: skip
    alone = {"OMP_NUM_THREADS": "1"}
    with contextlib.ExitStack() as stack:
        started = [stack.enter_context(program([*command, "-n", f"w{n}@%h"], alone)) for n in range(number)]
        eventually(lambda: _is_ready(client, number, backend), 60)
        yield [process.pid for process in started]


def _is_ready(client: Client, number: int, backend: str) -> bool:
    with client.store.read() as connection:
        described = any(facts.name == backend and not facts.error for facts in fleet.list_backends(connection))
        return described and len(fleet.list_workers(connection, 60)) >= number


def resident_mb(pids: list[int]) -> float:
    """Return the memory of processes and their children that is not shared, in MB."""
    every = [path for path in Path("/proc").iterdir() if path.name.isdigit()]
    family, grown = set(pids), True
    while grown:
        found = {int(path.name) for path in every if _parent(path) in family}
        grown = not found <= family
        family |= found
    return sum(_private_kb(pid) for pid in family) / 1024


def _parent(path: Path) -> int:
    try:
        return int((path / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return -1


def _private_kb(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
