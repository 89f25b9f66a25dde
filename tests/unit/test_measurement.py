"""What is measured: groups, bases, registers, and that equal work is planned once."""

from __future__ import annotations

import tracemalloc
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


@pytest.mark.parametrize("qubits", [3, 9, 64, 130])
@pytest.mark.parametrize("weight", [0.1, 0.5, 1.0])
def test_groups_of_many_terms_are_those_of_qiskit(qubits: int, weight: float) -> None:
    random = np.random.default_rng(qubits)
    letters = np.where(random.random((300, qubits)) < weight, random.choice(list("XYZ"), (300, qubits)), "I")
    labels = sorted({"".join(row) for row in letters})
    theirs = [members.to_labels() for members in PauliList(labels).group_commuting(qubit_wise=True)]
    assert [[labels[index] for index in members] for members in grouping.group(pack(labels)[:, :2])] == theirs


def test_many_wide_terms_are_grouped_in_bounded_memory() -> None:
    qubits, terms = 1000, 10_000
    random = np.random.default_rng(1)
    bases = np.zeros((terms, 2, qubits // 8), dtype=np.uint8)
    for _ in range(2):  # terms of one or two qubits
        chosen, matrix = random.integers(0, qubits, terms), random.integers(1, 4, terms)
        for plane in (0, 1):
            bit = np.where(matrix >> plane & 1, 1 << chosen % 8, 0).astype(np.uint8)
            bases[np.arange(terms), plane, chosen // 8] |= bit
    bases = np.unique(bases.reshape(terms, -1), axis=0).reshape(-1, 2, qubits // 8)
    tracemalloc.start()
    groups = grouping.group(bases)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert sorted(np.concatenate(groups).tolist()) == list(range(len(bases)))
    for members in groups:
        z, x = (np.bitwise_or.reduce(bases[members, plane]) for plane in (0, 1))
        mine = bases[members, 0] | bases[members, 1]
        assert not ((((z ^ bases[members, 0]) | (x ^ bases[members, 1])) & mine).any())
    assert peak < 50 << 20  # all pairs would be 100 MB as bytes


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
