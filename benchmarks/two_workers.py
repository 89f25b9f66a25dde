"""Two worker processes beside one, on single-threaded Aer, PostgreSQL and Redis."""

from __future__ import annotations

import time
from collections.abc import Iterator

from benchmarks.fleet import AER, servers, workers
from benchmarks.measure import Figure, sweep
from pubworks.client import Client, Sampler


def measure() -> Iterator[Figure]:
    """Yield the time of one worker against that of two; the first batch, which warms up, is not counted."""
    with servers(AER) as client:
        two, one = _seconds(client, 2), _seconds(client, 1)
    yield Figure("two worker processes against one, speed-up", one, two, "s", 1.8, at_least=True)


def _seconds(client: Client, number: int) -> float:
    with workers(client, number, "aer1"):
        sampler = Sampler("aer1", options={"seed_simulator": 1}, client=client)
        sampler.run(sweep(pubs=2 * number, sets=5, qubits=15), shots=100).result()
        start = time.perf_counter()
        sampler.run(sweep(pubs=4, sets=50, qubits=15), shots=4096).result()
        return time.perf_counter() - start
