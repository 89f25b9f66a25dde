"""A Bell circuit through the embedded queue, beside ``BackendSamplerV2`` in the same process."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator

from qiskit.primitives import BackendSamplerV2
from qiskit_aer import AerSimulator

from benchmarks.measure import Figure, bell
from pubworks.client import Client, Sampler

_ROUNDS = 200


def measure() -> Iterator[Figure]:
    """Yield the median round trip in milliseconds, alternating between the two."""
    backend, circuit = AerSimulator(), bell()
    reference = BackendSamplerV2(backend=backend, options={"seed_simulator": 1})
    with tempfile.TemporaryDirectory() as folder, Client(data_dir=folder) as client:
        ours = Sampler(backend, options={"seed_simulator": 1}, client=client)
        for _ in range(10):
            ours.run([circuit]).result()
        rounds = [
            (_seconds(lambda: ours.run([circuit]).result()), _seconds(lambda: reference.run([circuit]).result()))
            for _ in range(_ROUNDS)
        ]
    mine, theirs = (1e3 * statistics.median(times) for times in zip(*rounds, strict=True))
    yield Figure("round trip of a Bell circuit, embedded queue", mine, theirs, "ms", 2.0)


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start
