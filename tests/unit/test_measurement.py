"""What is measured: groups, bases, registers, and that equal work is planned once."""

from __future__ import annotations

from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from qiskit import QuantumCircuit
from qiskit.circuit import ClassicalRegister, Parameter
from qiskit.primitives.containers.estimator_pub import EstimatorPub
from qiskit.quantum_info import PauliList, SparseObservable
from qiskit_aer import AerSimulator

from pubworks.backends.adapter import Adapter
from pubworks.estimation.measurement import Measurement
from pubworks.estimation.terms import label, pack_terms, sort_keys
from pubworks.planning import grouping, measurement
from pubworks.store.records import Slice
from pubworks.worker.measuring import measured

LABELS = st.integers(1, 70).flatmap(
    lambda qubits: st.lists(st.text("IXYZ", min_size=qubits, max_size=qubits), min_size=1, max_size=30, unique=True)
)


def pack(labels: list[str]) -> np.ndarray:
    return pack_terms([SparseObservable.from_list([(text, 1.0) for text in labels])], len(labels[0]))


@given(LABELS)
def test_groups_are_those_of_qiskit(labels: list[str]) -> None:
    labels = sorted(labels)
    theirs = [members.to_labels() for members in PauliList(labels).group_commuting(qubit_wise=True)]
    assert [[labels[index] for index in members] for members in grouping.group(pack(labels)[:, :2])] == theirs


@given(LABELS)
def test_sorted_as_labels_are(labels: list[str]) -> None:
    order = np.argsort(sort_keys(pack(labels)[:, :2], len(labels[0])))
    assert [labels[index] for index in order] == sorted(labels)


@given(st.text("IXYZ01+-rl", min_size=1, max_size=40))
def test_labels_come_back(text: str) -> None:
    assert label(pack([text])[0], len(text)) == text


def test_groups_fit_together_where_conflicts_are_not_counted() -> None:
    labels = ["XI", "IX", "ZZ", "ZI", "YY"]
    with patch.object(grouping, "MAX_COUNTED", 0):
        groups = grouping.group(pack(labels)[:, :2])
    assert [[labels[index] for index in members] for members in groups] == [["XI", "IX"], ["ZZ", "ZI"], ["YY"]]


def plan(circuit: QuantumCircuit, *rest: object, grouped: bool = True) -> Measurement:
    pub = EstimatorPub.coerce((circuit, *rest))
    return measurement.plan_measurement(pub, grouped=grouped, info={"precision": 0.1, "stds": "reference"})


def test_rows_with_equal_observables_are_grouped_once() -> None:
    circuit = QuantumCircuit(2)
    circuit.rx(Parameter("a"), 0)
    with patch.object(measurement, "group", wraps=grouping.group) as group:
        planned = plan(circuit, [["XX"], ["ZZ"], ["YI"]], np.zeros((50, 1)))
    assert group.call_count == 1
    assert (planned.num_circuits, len(planned.bases)) == (150, 3)
    assert planned.rows.tolist()[:6] == [0, 0, 0, 1, 1, 1]


@pytest.mark.parametrize(("shape", "observables", "circuits"), [((4,), (4,), 4), ((4, 1), (3,), 12), ((), (2, 2), 4)])
def test_only_what_meets_is_measured(shape: tuple[int, ...], observables: tuple[int, ...], circuits: int) -> None:
    circuit = QuantumCircuit(2)
    circuit.rx(Parameter("a"), 0)
    labels = np.array(["XX", "YY", "ZZ", "XY"])[: np.prod(observables, dtype=int)].reshape(observables)
    assert plan(circuit, labels.tolist(), np.zeros((*shape, 1))).num_circuits == circuits


def test_one_register_with_a_plain_name_and_only_the_needed_bits() -> None:
    circuit = QuantumCircuit(4)
    circuit.add_register(ClassicalRegister(1, "pw"))
    planned = plan(circuit, ["XIIY", "ZIII", "IIII"], grouped=False)
    made = measured(circuit, None, planned, Slice(0, 0, planned.num_circuits, 0), Adapter(AerSimulator()))
    assert [[(register.name, register.size) for register in one.cregs] for one in made] == [
        [("pw", 1), ("pw_", 1)],
        [("pw", 1), ("pw_", 2)],
        [("pw", 1), ("pw_", 1)],
    ]
    assert [dict(one.count_ops())["measure"] for one in made] == [1, 2, 1]
    assert circuit.num_clbits == 1  # the user's own is untouched


def test_projectors_are_measured_in_their_basis() -> None:
    planned = plan(QuantumCircuit(3), ["0Z1", "ZZZ", "+rX", "Xl-"])
    assert (planned.num_circuits, len(planned.terms)) == (2, 4)
