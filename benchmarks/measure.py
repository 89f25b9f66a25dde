"""What every measurement shares: a figure, a timed Aer, a workload."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from qiskit import QuantumCircuit
from qiskit.circuit.library import efficient_su2
from qiskit_aer import AerSimulator


@dataclass(frozen=True)
class Figure:
    """One line of the table."""

    name: str
    ours: float
    other: float
    unit: str
    #: What the ratio ``ours / other`` should be at most, or at least when ``at_least``.
    target: float
    at_least: bool = False

    @property
    def ratio(self) -> float:
        """Ours against the other's, of the same run."""
        return self.ours / self.other

    @property
    def met(self) -> bool:
        """Whether the target is met."""
        return self.ratio >= self.target if self.at_least else self.ratio <= self.target


class TimedAer(AerSimulator):  # type: ignore[misc]
    """Aer that notes when each run began and when its job was over."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.busy: list[tuple[float, float]] = []
        self._noting = threading.Lock()

    def run(self, *args: Any, **kwargs: Any) -> Any:
        """Run, and note the time from this call to the end of the job."""
        began = time.perf_counter()
        job = super().run(*args, **kwargs)
        job._future.add_done_callback(lambda _: self._note(began))
        return job

    def inside(self) -> float:
        """Return the seconds in which some run was in the backend, and forget them."""
        total, last = 0.0, 0.0
        for began, ended in sorted(self.busy):
            total += max(0.0, ended - max(began, last))
            last = max(last, ended)
        self.busy.clear()
        return total

    def _note(self, began: float) -> None:
        with self._noting:
            self.busy.append((began, time.perf_counter()))


def bell() -> QuantumCircuit:
    """Return a Bell circuit."""
    circuit = QuantumCircuit(2)
    circuit.h(0)
    circuit.cx(0, 1)
    circuit.measure_all()
    return circuit


def sweep(pubs: int, sets: int, qubits: int = 10) -> list[tuple[QuantumCircuit, np.ndarray]]:
    """Return PUBs of one parameterised circuit with random parameter sets."""
    circuit = efficient_su2(qubits, reps=2)
    circuit.measure_all()
    values = np.random.default_rng(7).uniform(0, 2 * np.pi, (pubs, sets, circuit.num_parameters))
    return [(circuit, values[pub]) for pub in range(pubs)]
