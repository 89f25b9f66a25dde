"""A device that loses shots: expectation values and standard errors come from those that came back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.quantum_info import SparsePauliOp
from qiskit_aer import AerSimulator

from pubworks.client import Client, Estimator
from pubworks.testing.backends import LossyBackend

_SHOTS = 400
#: Shots that are left of the circuits, in turn.
_KEPT = (400, 100, 37)


def circuit() -> QuantumCircuit:
    made = QuantumCircuit(2)
    made.ry(Parameter("angle"), 0)
    made.cx(0, 1)
    made.rx(0.7, 1)
    return made


def signs(counts: dict[int, int], term: str) -> np.ndarray:
    """Return the value of a term for each shot of the circuit that it is read from; both qubits are measured."""
    outcomes = np.repeat(np.array(list(counts)), np.array(list(counts.values())))
    mask = int("".join("01"[letter != "I"] for letter in term), 2)
    return 1.0 - 2.0 * (np.bitwise_count(outcomes & mask) % 2)


@pytest.mark.parametrize("stds", ["reference", "covariance"])
@pytest.mark.parametrize("max_circuits", [None, 2])
def test_values_come_from_the_shots_that_came_back(client: Client, stds: str, max_circuits: int | None) -> None:
    backend = LossyBackend(AerSimulator(), keep=[kept / _SHOTS for kept in _KEPT], max_circuits=max_circuits)
    estimator = Estimator(backend, options={"seed_simulator": 3, "stds": stds}, client=client)
    observable = SparsePauliOp(["XX", "ZI", "IZ", "ZZ"], [1.0, 2.0, -0.5, 1.5])
    result = estimator.run([(circuit(), observable, [[0.4], [1.2], [2.0]])], precision=0.05).result(60)[0]
    # Two circuits for each of three angles: XX, then the others.
    assert [sum(counts.values()) for counts in backend.given] == [*_KEPT, *_KEPT]
    for row in range(3):
        evs, stds_of_terms, variance = 0.0, 0.0, 0.0
        for place, terms in enumerate([{"XX": 1.0}, {"ZI": 2.0, "IZ": -0.5, "ZZ": 1.5}]):
            values = {term: signs(backend.given[2 * row + place], term) for term in terms}
            summed = sum(terms[term] * value for term, value in values.items())
            evs += summed.mean()
            stds_of_terms += sum(abs(terms[term]) * value.std() / np.sqrt(len(value)) for term, value in values.items())
            variance += summed.var() / len(summed)
        assert result.data.evs[row] == pytest.approx(evs, abs=1e-12)
        expected = stds_of_terms if stds == "reference" else np.sqrt(variance)
        assert result.data.stds[row] == pytest.approx(expected, abs=1e-12)
    assert (result.metadata["shots"], result.metadata["fewest_shots"]) == (_SHOTS, min(_KEPT))


IN_TWO = LossyBackend(AerSimulator(), keep=[1.0, 0.1])


def in_two() -> LossyBackend:
    """Return a backend whose second run loses nine shots of ten."""
    return IN_TWO


def test_runs_of_unequal_loss_count_by_their_shots(tmp_path: Path) -> None:
    entry = {"factory": f"{__name__}:in_two", "max_shots": 200}
    with Client(data_dir=tmp_path, backends={"lossy": entry}) as client:
        job = Estimator("lossy", client=client).run([(circuit(), "IZ", [1.2])], precision=0.05)
        result = job.result(60)[0]
    values = np.concatenate([signs(counts, "IZ") for counts in IN_TWO.given])
    assert len(values) == 200 + 20
    assert result.data.evs == pytest.approx(values.mean(), abs=1e-12)
    assert result.data.stds == pytest.approx(values.std() / np.sqrt(len(values)), abs=1e-12)
    assert (result.metadata["shots"], result.metadata["fewest_shots"]) == (400, 220)
