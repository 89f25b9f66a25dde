"""Two worker processes beside one, on single-threaded Aer, PostgreSQL and Redis."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.measure import Figure, sweep
from pubworks.client import Client, Sampler
from pubworks.store import fleet
from pubworks.store.store import Store
from pubworks.testing.servers import private_postgresql, private_redis

_CONFIG = """
[backends.aer1]
factory = "qiskit_aer:AerSimulator"
arguments = { max_parallel_threads = 1 }
max_circuits = 5
"""


def measure() -> Iterator[Figure]:
    """Yield the time of one worker against that of two; the first batch, which warms up, is not counted."""
    with tempfile.TemporaryDirectory() as folder, private_postgresql() as database, private_redis() as broker:
        config = Path(folder) / "pubworks.toml"
        config.write_text(_CONFIG)
        os.environ.update(PUBWORKS_CONFIG=str(config), PUBWORKS_DATABASE=database, PUBWORKS_BROKER=broker)
        Store(database).upgrade()
        with Client() as client:
            two, one = _seconds(client, workers=2), _seconds(client, workers=1)
    yield Figure("two worker processes against one, speed-up", one, two, "s", 1.8, at_least=True)


def _seconds(client: Client, workers: int) -> float:
    with contextlib.ExitStack() as stack:
        for _ in range(workers):
            stack.enter_context(_worker())
        _wait_for(client, workers)
        sampler = Sampler("aer1", options={"seed_simulator": 1}, client=client)
        sampler.run(sweep(pubs=2 * workers, sets=5, qubits=15), shots=100).result()
        start = time.perf_counter()
        sampler.run(sweep(pubs=4, sets=50, qubits=15), shots=4096).result()
        return time.perf_counter() - start


@contextlib.contextmanager
def _worker() -> Iterator[None]:
    command = [sys.executable, "-m", "celery", "-A", "pubworks.worker.app", "worker", "-c", "1", "-l", "WARNING"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def _wait_for(client: Client, workers: int) -> None:
    while True:
        with client.store.read() as connection:
            described = any(facts.name == "aer1" for facts in fleet.list_backends(connection))
            if described and len(fleet.list_workers(connection, 60)) == workers:
                return
        time.sleep(0.1)
