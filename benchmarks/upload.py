"""Memory for a large upload, beside its size: of the server, and of the client that sends it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
from qiskit.circuit.library import efficient_su2

from benchmarks import memory
from benchmarks.measure import Figure
from benchmarks.server import served
from pubworks.client import Client, Sampler
from pubworks.states import Scope

#: PUBs, and bytes of the values of each; those that repeat do so after so many.
_PUBS, _BYTES, _AGAIN = 12, 5_000_000, 50

_MB = 1e6


def measure() -> Iterator[Figure]:
    """Yield peaks above what was in use before, in MB."""
    sent = _PUBS * _BYTES / _MB
    with served() as server:
        token = server.headers("ann", Scope.SUBMIT)["Authorization"].split()[1]
        with Client(server.url, token=token) as client:
            sampler = Sampler("aer", client=client)
            sampler.run(_sweep(1000))
            idle = memory.in_use(server.process.pid)
            for name, ask, again, target in (
                ("plan", sampler.plan, None, 0.25),
                ("run, of values that repeat", sampler.run, _AGAIN, 0.25),
                ("run", sampler.run, None, 1.5),
            ):
                peak = memory.peak(server.process.pid, partial(ask, _sweep(_BYTES, again))) - idle
                yield Figure(f"server: {name}, beside the upload", peak / _MB, sent, "MB", target)
            peak = memory.of_python(partial(sampler.plan, _sweep(_BYTES)))
            yield Figure("client: plan, beside the upload", peak / _MB, sent, "MB", 1.5)


def _sweep(size: int, again: int | None = None) -> list[Any]:
    """Return PUBs with so many bytes of values each: any, or the same sets again and again."""
    circuit = efficient_su2(10, reps=2)
    circuit.measure_all()
    sets = size // (8 * circuit.num_parameters)
    drawn = np.random.default_rng(7).uniform(0, 2 * np.pi, (_PUBS, again or sets, circuit.num_parameters))
    return [(circuit, np.resize(values, (sets, circuit.num_parameters))) for values in drawn]
