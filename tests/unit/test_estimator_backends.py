"""Exact expectation values within four standard errors, on every backend that runs here."""

from __future__ import annotations

import numpy as np
import pytest
from qiskit import QuantumCircuit, transpile
from qiskit.circuit import Parameter
from qiskit.providers.basic_provider import BasicSimulator
from qiskit.providers.fake_provider import GenericBackendV2
from qiskit.quantum_info import SparseObservable, SparsePauliOp, Statevector
from qiskit_aer import AerSimulator

from pubworks.client import Client, Estimator
from pubworks.testing.backends import CountsOnlyBackend, MemoryBackend, WrappedBackend

_LABELS = ["ZZI", "XXI", "YIY", "IZZ", "III", "ZIX", "XYZ"]
_VALUES = np.array([0.3, 1.1, 2.5])


BACKENDS = {
    "aer": AerSimulator,
    "aer-mps": lambda: AerSimulator(method="matrix_product_state"),
    "basic": BasicSimulator,
    "generic": lambda: GenericBackendV2(3, noise_info=False),
    "counts-only": lambda: CountsOnlyBackend(AerSimulator()),
    "bitstring-memory": lambda: MemoryBackend(AerSimulator(), keys="bits"),
    "one-at-a-time": lambda: WrappedBackend(AerSimulator(), max_circuits=1),
}


def _circuit() -> QuantumCircuit:
    angle = Parameter("angle")
    circuit = QuantumCircuit(3)
    circuit.ry(angle, 0)
    circuit.cx(0, 1)
    circuit.rx(0.7, 1)
    circuit.cx(1, 2)
    circuit.rz(0.4, 2)
    circuit.h(2)
    return circuit


@pytest.mark.filterwarnings("ignore:Qiskit backend:UserWarning")  # no noise is what the test wants
@pytest.mark.parametrize("name", BACKENDS)
def test_exact_values_are_within_four_standard_errors(name: str, client: Client) -> None:
    backend, circuit = BACKENDS[name](), _circuit()
    isa = transpile(circuit, basis_gates=["rz", "sx", "x", "cx"])
    observables = [[label] for label in _LABELS]
    estimator = Estimator(backend, options={"seed_simulator": 11, "default_precision": 0.04}, client=client)
    data = estimator.run([(isa, observables, _VALUES)]).result(timeout=120)[0].data
    states = [Statevector(circuit.assign_parameters([value])) for value in _VALUES]
    exact = np.array([[state.expectation_value(SparsePauliOp(label)).real for state in states] for label in _LABELS])
    assert data.evs.shape == exact.shape
    assert np.all(np.abs(data.evs - exact) <= 4 * data.stds + 1e-9)


def test_projectors_go_the_whole_way(client: Client) -> None:
    circuit = _circuit().assign_parameters([1.1])
    estimator = Estimator("aer", options={"seed_simulator": 11, "default_precision": 0.04}, client=client)
    labels = ["00I", "+1Z", "rlI", "I1-"]
    data = estimator.run([(circuit, labels)]).result(timeout=120)[0].data
    state = Statevector(circuit)
    exact = [
        state.expectation_value(SparsePauliOp.from_sparse_observable(SparseObservable(label))).real for label in labels
    ]
    assert np.all(np.abs(data.evs - exact) <= 4 * data.stds + 1e-9)
