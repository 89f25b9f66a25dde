"""Counts -> expectation values: against an oracle that goes outcome by outcome, and in bounded memory."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.primitives.containers.estimator_pub import EstimatorPub
from qiskit.primitives.containers.observables_array import ObservablesArray
from qiskit.quantum_info import SparseObservable

from pubworks.codec.outcomes import Counts, pack_bits
from pubworks.errors import NotMeasured
from pubworks.estimation.measurement import Measurement, from_bytes, measured_qubits
from pubworks.estimation.tally import Tally
from pubworks.estimation.terms import label
from pubworks.planning.measurement import cover, plan_measurement

INFO = {"precision": 0.1, "stds": "reference"}


def value(term: str, bits: dict[int, int]) -> float:
    """Return the value of a term for one shot: measured bit of each qubit."""
    product = 1.0
    for qubit, letter in enumerate(reversed(term)):
        if letter in "XYZ":
            product *= 1 - 2 * int(bits[qubit])
        elif letter != "I":
            product *= bits[qubit] == (letter in "1-l")
    return product


def plan(circuit: QuantumCircuit, observables: Any, grouped: bool = True) -> Measurement:
    return plan_measurement(EstimatorPub.coerce((circuit, observables)), grouped=grouped, info=INFO)


def draw_counts(measurement: Measurement, shots: int, seed: int) -> tuple[Counts, list[np.ndarray]]:
    """Return random counts of every circuit, and its shots as bits of (user's clbits, then ours), lowest first."""
    random = np.random.default_rng(seed)
    total = measurement.first_clbit + int(measurement.widths.max())
    shots_of = []
    for setting in measurement.settings:
        width = measurement.first_clbit + int(measurement.widths[setting])
        bits = np.zeros((shots, total), dtype=np.uint8)
        bits[:, :width] = random.random((shots, width)) < random.random(width)
        shots_of.append(bits)
    packed = [np.unique(pack_bits(bits[:, ::-1]), axis=0, return_counts=True) for bits in shots_of]
    keys, counts = (np.concatenate(parts) for parts in zip(*packed, strict=True))
    return Counts(keys, counts, np.cumsum([len(part[1]) for part in packed])), shots_of


def values_of_terms(measurement: Measurement, shots_of: list[np.ndarray]) -> dict[str, np.ndarray]:
    """Return the value of every term for each shot of the circuit that it is read from."""
    found = {}
    for circuit, setting in enumerate(measurement.settings.tolist()):
        qubits = measured_qubits(measurement.bases[setting], measurement.num_qubits).tolist()
        for term in measurement.reads(setting):
            name = label(measurement.terms[term], measurement.num_qubits)
            places = {qubit: measurement.first_clbit + place for place, qubit in enumerate(qubits)}
            found[name] = np.array([value(name, {q: row[p] for q, p in places.items()}) for row in shots_of[circuit]])
    return found


@st.composite
def work(draw: st.DrawFn) -> tuple[QuantumCircuit, list[SparseObservable]]:
    qubits = draw(st.integers(1, 11))
    labels = st.text("IXYZ01+-rl", min_size=qubits, max_size=qubits)
    observables = []
    for _ in range(draw(st.integers(1, 3))):
        terms = draw(st.lists(labels, min_size=1, max_size=6, unique=True))
        observables.append(SparseObservable.from_list([(term, 1.5 - index) for index, term in enumerate(terms)]))
    return QuantumCircuit(qubits, draw(st.integers(0, 9))), observables


@given(work=work(), grouped=st.booleans(), seed=st.integers(0, 9), cut=st.integers(1, 30))
def test_equals_the_oracle(work: tuple[Any, Any], grouped: bool, seed: int, cut: int) -> None:
    measurement = from_bytes(plan(*work, grouped).to_bytes())
    plain, joint = Tally(measurement, covariance=False), Tally(measurement, covariance=True)
    first, shots_1 = draw_counts(measurement, cut, seed)
    second, shots_2 = draw_counts(measurement, 31 - cut, seed + 10)
    for tally in (plain, joint):
        tally.add(0, first)
        tally.add(0, second)
    shots = values_of_terms(measurement, [np.concatenate(both) for both in zip(shots_1, shots_2, strict=True)])
    circuit_of = {
        label(measurement.terms[term], measurement.num_qubits): circuit
        for circuit, setting in enumerate(measurement.settings.tolist())
        for term in measurement.reads(setting)
    }
    for index, observable in enumerate(work[1]):
        terms = {text: coefficient.real for text, coefficient in _dense(observable).items()}
        assert plain.finish()[0][index] == pytest.approx(sum(c * shots[t].mean() for t, c in terms.items()))
        summed = sum(abs(c) * shots[t].std() / np.sqrt(31) for t, c in terms.items())
        assert plain.finish()[1][index] == pytest.approx(summed, abs=1e-7)
        by_circuit: dict[int, np.ndarray] = {}
        for term, coefficient in terms.items():
            by_circuit[circuit_of[term]] = by_circuit.get(circuit_of[term], 0) + coefficient * shots[term]
        error = np.sqrt(sum(total.var() for total in by_circuit.values()) / 31)
        assert joint.finish()[1][index] == pytest.approx(error, abs=1e-7)


def _dense(observable: SparseObservable) -> dict[str, complex]:
    width = observable.num_qubits
    found = {}
    for letters, qubits, coefficient in observable.simplify().to_sparse_list():
        text = ["I"] * width
        for letter, qubit in zip(letters, qubits, strict=True):
            text[width - 1 - qubit] = letter
        found["".join(text)] = coefficient
    return found


def test_a_thousand_qubits_and_a_hundred_thousand_terms_in_bounded_memory() -> None:
    qubits, terms, shots = 1000, 100_000, 256
    random = np.random.default_rng(1)
    pairs = np.sort(random.integers(0, qubits, (2 * terms, 2)), axis=1)
    pairs = np.unique(pairs[pairs[:, 0] < pairs[:, 1]], axis=0)[:terms]
    observable = SparseObservable.from_sparse_list([("ZZ", pair, 1.0) for pair in pairs.tolist()], qubits)
    measurement = plan(QuantumCircuit(qubits), observable)
    assert (measurement.num_circuits, len(measurement.terms)) == (1, len(pairs))
    bits = (random.random((shots, qubits)) < 0.3).astype(np.uint8)
    counts = Counts(pack_bits(bits[:, ::-1]), np.ones(shots, dtype=np.int64), np.array([shots]))
    tracemalloc.start()
    tally = Tally(measurement, covariance=False)
    tally.add(0, counts)
    evs, stds = tally.finish()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    signs = 1 - 2.0 * bits
    means = (signs[:, pairs[:, 0]] * signs[:, pairs[:, 1]]).mean(axis=0)
    assert evs == pytest.approx(means.sum())
    assert stds == pytest.approx(np.sqrt(1 - means**2).sum() / 16)
    assert peak < 120 << 20  # all outcomes x terms at once would be 200 MB as bytes, 1.6 GB as floats


def test_std_counts_the_shots_that_came_back() -> None:
    measurement = plan(QuantumCircuit(1), "Z")
    tally = Tally(measurement, covariance=False)
    tally.add(0, Counts(np.array([[0], [1]], dtype=np.uint8), np.array([75, 25]), np.array([2])))
    assert tally.finish() == (0.5, pytest.approx(np.sqrt(0.75 / 100)))


def test_covariance_gives_the_scatter_of_repeated_estimates() -> None:
    repeats, shots, random = 2000, 100, np.random.default_rng(4)
    circuit = QuantumCircuit(2)
    circuit.rx(Parameter("a"), 0)
    pub = EstimatorPub.coerce((circuit, {"ZI": 1.0, "IZ": -0.7, "XX": 0.5}, np.zeros((repeats, 1))))
    measurement = plan_measurement(pub, grouped=True, info=INFO)
    correlated, even = [0.45, 0.05, 0.05, 0.45], [0.25] * 4
    of_setting = [correlated if len(measurement.reads(setting)) == 2 else even for setting in (0, 1)]
    drawn = np.concatenate([random.multinomial(shots, of_setting[setting]) for setting in measurement.settings])
    outcomes = np.tile(np.arange(4, dtype=np.uint8), 2 * repeats)[:, None]
    counts = Counts(outcomes, drawn, np.arange(4, 4 * (2 * repeats + 1), 4))
    found = {}
    for covariance in (False, True):
        tally = Tally(measurement, covariance=covariance)
        tally.add(0, counts)
        found[covariance] = tally.finish()
    scatter = found[True][0].std(ddof=1)
    assert np.sqrt(np.mean(found[True][1] ** 2)) == pytest.approx(scatter, rel=0.06)  # four times its own error
    assert found[False][1].mean() > 1.8 * scatter  # as if ZI and IZ, which cancel, erred together


def test_covered_observables() -> None:
    measurement = plan(QuantumCircuit(3), ["XXZ", "ZZI"])
    again = cover(measurement, ObservablesArray(["XIZ", "+XI", "Z1I", "III"]))
    assert again.num_circuits == measurement.num_circuits == 2
    assert (again.rows == measurement.rows).all()
    with pytest.raises(NotMeasured, match="covers IZX, YII"):
        cover(measurement, ObservablesArray([SparseObservable.from_list([("XXZ", 1), ("IZX", 1), ("YII", 1)])]))
    with pytest.raises(ValueError, match="number of qubits"):
        cover(measurement, ObservablesArray(["XX"]))
