"""2,000 circuits on Aer: the time that is not spent in the backend, storing included."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator

from qiskit.primitives import BackendSamplerV2

from benchmarks.measure import Figure, TimedAer, sweep
from pubworks.client import Client, Sampler

_ROUNDS = 3
_SHOTS = 1024


def measure() -> Iterator[Figure]:
    """Yield the median of (wall clock - time in the backend), in seconds."""
    backend, pubs = TimedAer(), sweep(pubs=20, sets=100)
    reference = BackendSamplerV2(backend=backend, options={"seed_simulator": 1})
    with tempfile.TemporaryDirectory() as folder, Client(data_dir=folder) as client:
        ours = Sampler(backend, options={"seed_simulator": 1}, client=client)
        ours.run(pubs[:1], shots=10).result()
        rounds = [
            (
                _overhead(backend, lambda: ours.run(pubs, shots=_SHOTS).result()),
                _overhead(backend, lambda: reference.run(pubs, shots=_SHOTS).result()),
            )
            for _ in range(_ROUNDS)
        ]
    mine, theirs = (statistics.median(times) for times in zip(*rounds, strict=True))
    yield Figure("classical overhead of 2,000 circuits x 1024 shots", mine, theirs, "s", 1.0)


def _overhead(backend: TimedAer, call: Callable[[], object]) -> float:
    backend.inside()
    start = time.perf_counter()
    call()
    return time.perf_counter() - start - backend.inside()
