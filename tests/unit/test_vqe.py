"""Algorithms that take an estimator run with nothing changed but the object."""

from __future__ import annotations

import pytest
from qiskit.circuit.library import efficient_su2
from qiskit.quantum_info import SparsePauliOp
from qiskit_aer import AerSimulator
from qiskit_algorithms import VQE
from qiskit_algorithms.optimizers import COBYLA

from pubworks.client import Client, Estimator

#: H2 at 0.735 angstrom, STO-3G, parity mapping with two qubits less; electronic energy in hartree.
H2 = SparsePauliOp(
    ["II", "IZ", "ZI", "ZZ", "XX"],
    [-1.052373245772859, 0.39793742484318045, -0.39793742484318045, -0.01128010425623538, 0.18093119978423156],
)
GROUND_STATE = -1.857275030202378


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_vqe_finds_the_ground_state_of_hydrogen(client: Client) -> None:
    estimator = Estimator(AerSimulator(), options={"seed_simulator": 42, "default_precision": 0.02}, client=client)
    ansatz = efficient_su2(2, reps=1)
    vqe = VQE(estimator, ansatz, COBYLA(maxiter=60), initial_point=[0.1] * ansatz.num_parameters)
    result = vqe.compute_minimum_eigenvalue(H2)
    assert result.eigenvalue.real == pytest.approx(GROUND_STATE, abs=0.08)
