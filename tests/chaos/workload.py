"""What is run: a few kinds of jobs with fixed seeds, so that each job of a kind must have the same results."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.quantum_info import SparsePauliOp

from pubworks.client import Client, Estimator, Job, Sampler


@dataclass(frozen=True)
class Kind:
    """One kind of job.

    Args:
        run: Submits one.
        state: How it ends.
    """

    run: Callable[[Client, str, str], Job]
    state: str = "DONE"


def _scan(points: int, name: str) -> tuple[QuantumCircuit, np.ndarray]:
    theta = Parameter("theta")
    circuit = QuantumCircuit(3, name=name)
    circuit.ry(theta, 0)
    circuit.cx(0, 1)
    circuit.cx(1, 2)
    circuit.measure_all()
    return circuit, np.linspace(0, 3, points)


def _ghz(qubits: int) -> QuantumCircuit:
    circuit = QuantumCircuit(qubits, qubits, name=f"ghz{qubits}")
    circuit.h(0)
    for qubit in range(1, qubits):
        circuit.cx(0, qubit)
    circuit.measure(range(qubits), range(qubits))
    return circuit


def _sample(client: Client, backend: str, name: str, pubs: Any, seed: int | None) -> Job:
    options = {"default_shots": 60} | ({} if seed is None else {"seed_simulator": seed})
    return Sampler(backend, options=options, client=client).run(pubs, name=name)


def scan(client: Client, backend: str, name: str) -> Job:
    """Submit one PUB of many circuits: 14 batches."""
    return _sample(client, backend, name, [(*_scan(40, "scan"), 80)], 11)


def mixture(client: Client, backend: str, name: str) -> Job:
    """Submit PUBs that share batches and PUBs whose shots are more than one run may have: 12 batches or so."""
    pubs = [(*_scan(4, "four"), 70), _ghz(2), (_ghz(3), None, 350), (_ghz(5), None, 70), (*_scan(5, "five"), 150)]
    return _sample(client, backend, name, pubs, 12)


def seedless(client: Client, backend: str, name: str) -> Job:
    """Submit a job without seed; the QPU makes one of the circuits, so its results are the same each time, too."""
    return _sample(client, backend, name, [(*_scan(12, "seedless"), 40), (_ghz(4), None, 90)], None)


def estimate(client: Client, backend: str, name: str) -> Job:
    """Submit expectation values."""
    circuit, values = _scan(6, "estimate")
    circuit.remove_final_measurements()
    observables = [SparsePauliOp(["ZZI", "XXX"], [0.5, 1.5]), SparsePauliOp("IYY")]
    options = {"default_precision": 0.1, "seed_simulator": 13}
    estimator = Estimator(backend, options=options, client=client)
    return estimator.run([(circuit, [[one] for one in observables], values)], name=name)


def poisoned(client: Client, backend: str, name: str) -> Job:
    """Submit a job with a circuit that the QPU refuses; all others get their results."""
    pubs = [(*_scan(5, "good"), 50), _ghz(3), (_ghz(2), None, 50)]
    bad = _ghz(4)
    bad.name = "bad"
    return _sample(client, backend, name, [*pubs, (bad, None, 50)], 14)


KINDS = {
    "scan": Kind(scan),
    "mixture": Kind(mixture),
    "seedless": Kind(seedless),
    "estimate": Kind(estimate),
    "poisoned": Kind(poisoned, "PARTIAL"),
}

#: What the QPU refuses.
INVALID = ["bad*"]
