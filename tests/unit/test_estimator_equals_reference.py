"""The Estimator gives what Qiskit's ``BackendEstimatorV2`` gives, to 1e-12 under the same seed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from qiskit import QuantumCircuit, transpile
from qiskit.circuit import ClassicalRegister, Parameter
from qiskit.primitives import BackendEstimatorV2, PrimitiveResult
from qiskit.primitives.containers.bindings_array import BindingsArray
from qiskit.primitives.containers.observables_array import ObservablesArray
from qiskit.providers.fake_provider import GenericBackendV2
from qiskit.quantum_info import Pauli, PauliList, SparseObservable, SparsePauliOp
from qiskit_aer import AerSimulator

from pubworks.client import Client, Estimator
from pubworks.testing.backends import CountsOnlyBackend, WrappedBackend

AER = AerSimulator()
PARAMETERS = [Parameter(f"p{number}") for number in range(4)]

#: Shapes of parameter values and of observables that broadcast.
SHAPES = [
    ((), ()), ((3,), ()), ((), (4,)), ((2,), (2,)), ((3, 1), (2,)), ((2,), (3, 1)), ((2, 1, 3), (2, 1)),
    ((1,), (1,)), ((1, 2), (2, 1)), ((2, 2), (2, 2)),
]  # fmt: skip


def assert_same(ours: PrimitiveResult, theirs: PrimitiveResult) -> None:
    assert ours.metadata == theirs.metadata
    assert len(ours) == len(theirs)
    for mine, other in zip(ours, theirs, strict=True):
        assert mine.data.evs.shape == other.data.evs.shape == mine.data.shape == other.data.shape
        assert mine.data.stds.shape == other.data.stds.shape
        np.testing.assert_allclose(mine.data.evs, other.data.evs, rtol=0, atol=1e-12)
        np.testing.assert_allclose(mine.data.stds, other.data.stds, rtol=0, atol=1e-12)
        assert mine.metadata == other.metadata
        assert type(mine) is type(other)


def compare(client: Client, backend: Any, pubs: list[Any], *, options: dict[str, Any] | None = None) -> None:
    common = {"seed_simulator": 11, **(options or {})}
    theirs = BackendEstimatorV2(backend=backend, options=common).run(pubs).result()
    ours = Estimator(backend, options=common, client=client).run(pubs).result(timeout=60)
    assert_same(ours, theirs)


@st.composite
def circuits(draw: st.DrawFn) -> QuantumCircuit:
    """Parameterised circuits of 1 to 4 qubits; some measure already."""
    qubits = draw(st.integers(1, 4))
    circuit = QuantumCircuit(qubits, name="drawn", metadata={"origin": "test"})
    for number in range(draw(st.integers(0, 6))):
        gate = draw(st.sampled_from(["rx", "ry", "rz", "h", "s", "cx"]))
        qubit = draw(st.integers(0, qubits - 1))
        if gate == "cx" and qubits > 1:
            circuit.cx(qubit, (qubit + 1) % qubits)
        elif gate in ("rx", "ry", "rz"):
            getattr(circuit, gate)(PARAMETERS[draw(st.integers(0, 3))] if number > 3 else 0.3 * number, qubit)
        elif gate != "cx":
            getattr(circuit, gate)(qubit)
    if draw(st.booleans()):
        circuit.add_register(ClassicalRegister(2, "pw"))
        circuit.measure(0, draw(st.integers(0, 1)))
    return circuit


@st.composite
def observables(draw: st.DrawFn, qubits: int) -> Any:
    """Return one observable of any kind that ``ObservablesArray`` takes."""
    labels = st.text("IXYZ", min_size=qubits, max_size=qubits)
    chosen = draw(st.lists(labels, min_size=1, max_size=6, unique=True))
    numbers = st.floats(-3, 3).filter(lambda number: abs(number) > 1e-3)
    coefficients = draw(st.lists(numbers, min_size=len(chosen), max_size=len(chosen)))
    kind = draw(st.sampled_from(["str", "Pauli", "SparsePauliOp", "SparseObservable", "dict"]))
    if kind in ("str", "Pauli"):
        return chosen[0] if kind == "str" else Pauli(chosen[0])
    pairs = list(zip(chosen, coefficients, strict=True))
    if kind == "dict":
        return dict(pairs)
    return SparsePauliOp.from_list(pairs) if kind == "SparsePauliOp" else SparseObservable.from_list(pairs)


@st.composite
def pubs(draw: st.DrawFn) -> tuple[Any, ...]:
    circuit = draw(circuits())
    values_shape, observables_shape = draw(st.sampled_from(SHAPES))
    drawn = np.empty(observables_shape, dtype=object)
    for index in np.ndindex(observables_shape):
        drawn[index] = draw(observables(circuit.num_qubits))
    seed = draw(st.integers(0, 99))
    values = np.random.default_rng(seed).uniform(-4, 4, (*values_shape, circuit.num_parameters))
    precision = draw(st.sampled_from([None, 0.1, 0.07, 1]))
    if circuit.num_parameters == 0:
        values = None
    return circuit, drawn.tolist() if observables_shape else drawn[()], values, precision


@given(
    work=st.lists(pubs(), min_size=1, max_size=3),
    grouped=st.booleans(),
    precision=st.sampled_from([0.05, 0.2]),
)
def test_same_numbers(client: Client, work: list[Any], grouped: bool, precision: float) -> None:
    options = {"abelian_grouping": grouped, "default_precision": precision}
    compare(client, AER, work, options=options)


@settings(max_examples=15)
@given(work=st.lists(pubs(), min_size=1, max_size=3), most=st.integers(1, 4))
def test_same_cut_at_the_backends_maximum(client: Client, work: list[Any], most: int) -> None:
    compare(client, WrappedBackend(AER, max_circuits=most), work)


def rotation(qubits: int) -> QuantumCircuit:
    circuit = QuantumCircuit(qubits)
    for qubit in range(qubits):
        circuit.ry(Parameter(f"a{qubit}"), qubit)
    for qubit in range(qubits - 1):
        circuit.cx(qubit, qubit + 1)
    return circuit


def test_transpiled_circuit_on_a_device_with_noise_and_layout(client: Client) -> None:
    device = AerSimulator.from_backend(GenericBackendV2(6, seed=3, noise_info=True))
    circuit = transpile(rotation(3), device, initial_layout=[4, 2, 0], seed_transpiler=1)
    wanted = [SparsePauliOp(["XXZ", "ZZI", "YIY"], [1.0, 0.5, -2.0]).apply_layout(circuit.layout), "I" * 6]
    compare(client, device, [(circuit, wanted, np.linspace(0, 1, 6).reshape(2, 1, 3))])


@pytest.mark.parametrize(
    "wanted",
    [
        "XY",
        Pauli("-XY"),
        PauliList(["XX", "ZI"]),
        SparsePauliOp(["XX", "II", "XX"], [1, 2, 0.5]),
        SparseObservable.from_list([("YZ", 1.5), ("II", -1)]),
        {Pauli("-XX"): 1.0, Pauli("ZZ"): np.float32(2)},
        {"ZZ": 1 + 0j, "YY": 2},
        np.array([["XX"], ["ZZ"]]),
        np.array([Pauli("XX"), {"ZZ": 1.0}], dtype=object),
        [["XX", SparsePauliOp("ZZ")], [{"IZ": 2.0}, Pauli("YI")]],
        ObservablesArray(["XX", "II"]),
        ObservablesArray({"ZZ": 1.0, "XI": -1.0}),
    ],
)
def test_every_kind_of_observable(client: Client, wanted: Any) -> None:
    compare(client, AER, [(rotation(2), wanted, [0.3, 1.1])], options={"default_precision": 0.1})


@pytest.mark.parametrize(
    "values",
    [
        [0.1, 0.2],
        [[0.1, 0.2]],
        np.linspace(0, 3, 12).reshape(3, 2, 2),
        {("a0", "a1"): [[1, 2], [3, 4]]},
        {"a1": [0.1, 0.2], "a0": [0.3, 0.4]},
        BindingsArray({"a0": [0.3, 0.4], "a1": [0.1, 0.2]}),
    ],
)
def test_every_kind_of_values(client: Client, values: Any) -> None:
    compare(
        client, AER, [(rotation(2), ["XX", "ZI"], values)] if np.ndim(values) < 2 else [(rotation(2), "XX", values)]
    )


def test_random_wide_observables(client: Client) -> None:
    random = np.random.default_rng(5)
    terms = ["".join(random.choice(list("IXYZ"), 5)) for _ in range(60)]
    wanted = SparsePauliOp(terms, random.normal(size=60)).simplify()
    compare(client, AER, [(rotation(5), wanted, random.uniform(0, 3, (2, 5)))])


@pytest.mark.parametrize("keys", ["hex", "bits", "spaced", "int"])
def test_counts_in_any_style(client: Client, keys: Any) -> None:
    circuit = rotation(2)
    circuit.add_register(ClassicalRegister(3, "mine"))
    circuit.measure([0, 1], [2, 0])
    pub = (circuit, ["XX", "ZI"], [[0.1, 0.2]], 0.05)
    plain = Estimator(AER, options={"seed_simulator": 1}, client=client).run([pub]).result(60)
    odd = Estimator(CountsOnlyBackend(AER, keys=keys), options={"seed_simulator": 1}, client=client)
    assert_same(odd.run([pub]).result(60), plain)


def test_empty_shapes(client: Client) -> None:
    result = Estimator(AER, client=client).run([(rotation(2), ["ZZ", "XX"], np.zeros((0, 1, 2)))]).result(60)[0]
    assert result.data.evs.shape == result.data.stds.shape == (0, 2)
