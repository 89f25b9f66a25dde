"""The Sampler gives bit for bit what Qiskit's ``BackendSamplerV2`` gives, wherever that is right."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st
from qiskit import QuantumCircuit
from qiskit.circuit import ClassicalRegister, Clbit, Parameter, ParameterVector
from qiskit.primitives import BackendSamplerV2, BitArray, PrimitiveResult
from qiskit.primitives.containers import BindingsArray
from qiskit.primitives.containers.sampler_pub import SamplerPub
from qiskit_aer import AerSimulator

from pubworks.client import Client, Sampler
from pubworks.testing.backends import WrappedBackend

#: Truncation makes Aer lose the jumps of some circuits with branches.
AER = AerSimulator(max_parallel_threads=1, enable_truncation=False)

#: Without shrinking, which takes minutes here; a failure is found again by its seed.
PHASES = (Phase.explicit, Phase.generate)


angles = st.floats(-7, 7, allow_nan=False)
shapes = st.sampled_from([(), (1,), (2,), (3,), (1, 2), (2, 2), (3, 1), (2, 1, 2)])
metadata = st.dictionaries(
    st.sampled_from(["name", "date", "Ω"]),
    st.none() | st.booleans() | st.integers(-5, 2**40) | st.text(max_size=4) | st.lists(st.floats(-1, 1), max_size=2),
    max_size=2,
)
shots = st.integers(1, 12)


@st.composite
def registers(draw: st.DrawFn, *, aliases: bool, scattered: bool) -> tuple[list[Clbit], list[ClassicalRegister]]:
    """Return classical bits and registers over them.

    Args:
        draw: Hypothesis.
        aliases: Whether registers may share bits.
        scattered: Whether the bits of a register may lie anywhere; Qiskit's sampler is wrong about those.
    """
    sizes = draw(st.lists(st.sampled_from([1, 1, 2, 3, 5, 9]), max_size=4) | st.just([0, 0]))
    if scattered:
        sizes += draw(st.sampled_from([[], [0], [0, 0]]))  # Qiskit fails where only some registers are empty
    bits = [Clbit() for _ in range(sum(sizes))]
    ends = np.cumsum([0, *sizes])
    own = [bits[start:end] for start, end in pairwise(ends)]
    if aliases and bits:
        for _ in range(draw(st.integers(0, 2))):
            if scattered:
                own.append(draw(st.permutations(bits))[: draw(st.integers(1, len(bits)))])
            else:
                start = draw(st.integers(0, len(bits) - 1))
                own.append(bits[start : draw(st.integers(start + 1, len(bits)))])
    names = draw(st.permutations(["c", "meas", "alpha", "z_9", "Ψ", "data", "shots"]))
    found = [
        ClassicalRegister(bits=part, name=name) if part else ClassicalRegister(0, name)
        for part, name in zip(own, names, strict=False)
    ]
    return bits, draw(st.permutations(found))


def _gate(draw: st.DrawFn, circuit: QuantumCircuit, parameters: list[Any]) -> None:
    qubit = st.integers(0, circuit.num_qubits - 1)
    kind = draw(st.sampled_from(["h", "x", "rx", "cx", "reset", "measure", "measure", "barrier", "if", "if_else"]))
    if kind in ("h", "x", "reset"):
        getattr(circuit, kind)(draw(qubit))
    elif kind == "barrier":
        circuit.barrier()
    elif kind == "rx":
        angle: Any = draw(angles)
        if parameters and draw(st.booleans()):
            angle = draw(st.sampled_from(parameters)) * draw(st.sampled_from([1, -0.5])) + angle
        circuit.rx(angle, draw(qubit))
    elif kind == "cx" and circuit.num_qubits > 1:
        circuit.cx(*draw(st.permutations(range(circuit.num_qubits)))[:2])
    elif kind == "measure" and circuit.num_clbits:
        circuit.measure(draw(qubit), draw(st.integers(0, circuit.num_clbits - 1)))
    elif kind.startswith("if") and circuit.num_clbits:
        _branch(draw, circuit, qubit, with_else=kind == "if_else")


def _branch(draw: st.DrawFn, circuit: QuantumCircuit, qubit: st.SearchStrategy[int], *, with_else: bool) -> None:
    condition = (circuit.clbits[draw(st.integers(0, circuit.num_clbits - 1))], draw(st.integers(0, 1)))
    with circuit.if_test(condition) as else_:
        circuit.x(draw(qubit))
    if with_else:
        with else_:
            circuit.h(draw(qubit))


@st.composite
def circuits(draw: st.DrawFn, *, aliases: bool = True, scattered: bool = False) -> QuantumCircuit:
    """Return a circuit with classical registers of any kind."""
    bits, found = draw(registers(aliases=aliases, scattered=scattered))
    circuit = QuantumCircuit(metadata=draw(metadata))
    circuit.add_bits(QuantumCircuit(draw(st.integers(1, 4))).qubits)
    circuit.add_bits(bits)
    for register in found:
        circuit.add_register(register)
    if not found:
        circuit.add_register(ClassicalRegister(0, "nothing"))  # without any, both samplers warn
    parameters = [Parameter(name) for name in draw(st.sampled_from([[], ["b"], ["b", "a"]]))]
    parameters += list(ParameterVector("v", draw(st.sampled_from([0, 0, 0, 11]))))
    for parameter in parameters:
        circuit.ry(parameter, draw(st.integers(0, circuit.num_qubits - 1)))
    for _ in range(draw(st.integers(0, 8))):
        _gate(draw, circuit, parameters)
    if draw(st.booleans()):  # each bit has its say, and no two the same
        for bit in range(circuit.num_clbits):
            circuit.h(bit % circuit.num_qubits)
            circuit.measure(bit % circuit.num_qubits, bit)
    return circuit


def _as_array(values: np.ndarray, circuit: QuantumCircuit) -> Any:
    return values


def _as_lists(values: np.ndarray, circuit: QuantumCircuit) -> Any:
    return values.tolist()


def _as_bindings(values: np.ndarray, circuit: QuantumCircuit) -> Any:
    return BindingsArray({tuple(circuit.parameters): values})


def _by_parameter(values: np.ndarray, circuit: QuantumCircuit) -> Any:
    return {parameter: values[..., index] for index, parameter in enumerate(circuit.parameters)}


def _by_name(values: np.ndarray, circuit: QuantumCircuit) -> Any:
    backwards = reversed(list(enumerate(circuit.parameters)))
    return {parameter.name: values[..., index] for index, parameter in backwards}


def _by_tuples(values: np.ndarray, circuit: QuantumCircuit) -> Any:
    names = [parameter.name for parameter in circuit.parameters]
    if len(names) < 3:  # Qiskit cannot tell the shape of shorter ones
        return {tuple(names): values}
    return BindingsArray({names[0]: values[..., 0], tuple(names[1:]): values[..., 1:]}, shape=values.shape[:-1])


FORMS: list[Callable[[np.ndarray, QuantumCircuit], Any]] = [
    _as_array, _as_lists, _as_bindings, _by_parameter, _by_name, _by_tuples,
]  # fmt: skip


@st.composite
def pubs(draw: st.DrawFn, *, aliases: bool = True, scattered: bool = False) -> Any:
    """Return a PUB in one of the forms that Qiskit accepts."""
    circuit = draw(circuits(aliases=aliases, scattered=scattered))
    own_shots = draw(st.none() | shots)
    if circuit.num_parameters == 0:
        return draw(st.sampled_from(_plain_forms(circuit, own_shots, draw(shapes))))
    shape = (*draw(shapes), circuit.num_parameters)
    values = np.array(draw(st.lists(angles, min_size=int(np.prod(shape)), max_size=int(np.prod(shape)))))
    bound = draw(st.sampled_from(FORMS))(values.reshape(shape), circuit)
    if draw(st.booleans()):
        return SamplerPub.coerce((circuit, bound, own_shots))
    return (circuit, bound, own_shots) if own_shots or draw(st.booleans()) else (circuit, bound)


def _plain_forms(circuit: QuantumCircuit, shots: int | None, shape: tuple[int, ...]) -> list[Any]:
    return [
        circuit, (circuit,), (circuit, None), (circuit, [], shots), (circuit, {}, shots), (circuit, None, shots),
        SamplerPub(circuit, shots=shots), (circuit, BindingsArray({}, shape=shape), shots),
        (circuit, np.zeros((*shape, 0)), shots),
    ]  # fmt: skip


def assert_equal(ours: PrimitiveResult[Any], theirs: PrimitiveResult[Any]) -> None:
    """Compare everything that a user can see of two results."""
    assert type(ours) is type(theirs)
    assert ours.metadata == theirs.metadata
    assert len(ours) == len(theirs)
    for one, two in zip(ours, theirs, strict=True):
        assert type(one) is type(two)
        assert one.metadata == two.metadata
        assert one.data.shape == two.data.shape
        assert list(one.data.keys()) == list(two.data.keys())
        for name in two.data:
            assert_same_values(one.data[name], two.data[name])


def assert_same_values(one: Any, two: Any) -> None:
    assert type(one) is type(two)
    assert one.shape == two.shape
    if isinstance(two, BitArray):
        assert (one.num_bits, one.num_shots) == (two.num_bits, two.num_shots)
        one, two = one.array, two.array
    assert one.dtype == two.dtype
    assert one.tobytes() == two.tobytes()


def run_both(
    client: Client, backend: Any, pubs: list[Any], options: dict[str, Any], **kwargs: Any
) -> tuple[PrimitiveResult[Any], PrimitiveResult[Any]]:
    """Return our result and Qiskit's.

    Circuits without classical bits are not sent to a backend by us; since Aer's seed counts circuits, Qiskit runs them
    on their own here.
    """
    theirs = BackendSamplerV2(backend=backend, options=options)
    found: dict[int, Any] = {}
    for measures in (True, False):
        group = {place: pub for place, pub in enumerate(pubs) if bool(circuit_of(pub).num_clbits) == measures}
        if group:
            found |= zip(group, theirs.run(group.values(), **kwargs).result(), strict=True)
    ours = Sampler(backend, options=options, client=client).run(pubs, **kwargs).result(timeout=60)
    return ours, PrimitiveResult([found[place] for place in range(len(pubs))], metadata={"version": 2})


def circuit_of(pub: Any) -> QuantumCircuit:
    return SamplerPub.coerce(pub).circuit


def two_registers() -> QuantumCircuit:
    """A circuit with registers in an order of their own, one of them aliased."""
    bits = [Clbit() for _ in range(10)]
    circuit = QuantumCircuit(QuantumCircuit(2).qubits, bits, metadata={"a": [1, None]})
    for name, start, end in (("high", 1, 10), ("low", 0, 1), ("all", 0, 10)):
        circuit.add_register(ClassicalRegister(bits=bits[start:end], name=name))
    circuit.h(0)
    circuit.cx(0, 1)
    circuit.measure([0, 1], [0, 9])
    return circuit


def parameterised() -> QuantumCircuit:
    circuit = QuantumCircuit(1, 1)
    circuit.rx(Parameter("a"), 0)
    circuit.measure(0, 0)
    return circuit


def condition_without_measurement() -> QuantumCircuit:
    """A circuit that reads its classical bits and never writes them: Aer gives no memory."""
    circuit = QuantumCircuit(1, 2)
    with circuit.if_test((circuit.clbits[0], 1)):
        circuit.x(0)
    return circuit


@given(
    workload=st.lists(pubs(), max_size=4),
    seed=st.integers(0, 2**31 - 1),
    default_shots=st.integers(1, 12),
    shots=st.none() | st.integers(1, 12),
)
@example([two_registers(), (parameterised(), [[0.1], [3.0]], 12), two_registers()], 1, 5, None)
@example([condition_without_measurement()], 1, 5, None)
@example([], 1, 5, None)
@settings(max_examples=100, phases=PHASES)
def test_random_workloads(
    client: Client, workload: list[Any], seed: int, default_shots: int, shots: int | None
) -> None:
    options = {"seed_simulator": seed, "default_shots": default_shots}
    assert_equal(*run_both(client, AER, workload, options, shots=shots))


@given(
    workload=st.lists(pubs(), min_size=1, max_size=4),
    seed=st.integers(0, 2**31 - 1),
    max_circuits=st.integers(1, 4),
)
@settings(max_examples=50, phases=PHASES)
def test_random_workloads_split_by_the_backend(
    client: Client, workload: list[Any], seed: int, max_circuits: int
) -> None:
    backend = WrappedBackend(AER, max_circuits=max_circuits)
    assert_equal(*run_both(client, backend, workload, {"seed_simulator": seed, "default_shots": 7}))


@given(workload=st.lists(pubs(scattered=True), min_size=1, max_size=3), seed=st.integers(0, 2**31 - 1))
@settings(max_examples=50, phases=PHASES)
def test_scattered_registers_hold_their_own_bits(client: Client, workload: list[Any], seed: int) -> None:
    """Qiskit's sampler takes neighbouring bits for them; the joint memory of the backend is the judge here."""
    options = {"seed_simulator": seed, "default_shots": 9}
    ours = Sampler(AER, options=options, client=client).run(workload).result(timeout=60)
    coerced = [SamplerPub.coerce(pub, 9) for pub in workload]
    flat = [
        (pub.shots, position, index, circuit)
        for position, pub in enumerate(coerced)
        for index, circuit in np.ndenumerate(pub.parameter_values.bind_all(pub.circuit))
        if circuit.num_clbits
    ]
    for shots in dict.fromkeys(pub.shots for pub in coerced):
        group = [item for item in flat if item[0] == shots]
        if not group:
            continue
        raw = AER.run([item[3] for item in group], shots=shots, memory=True, seed_simulator=seed).result()
        for (_, position, index, circuit), experiment in zip(group, raw.results, strict=True):
            memory = getattr(experiment.data, "memory", ["0x0"] * shots)
            for register in coerced[position].circuit.cregs:
                expected = [oracle(int(joint, 16), circuit, register) for joint in memory]
                assert as_numbers(ours[position].data[register.name], index) == expected


def oracle(joint: int, circuit: QuantumCircuit, register: ClassicalRegister) -> int:
    """Return the value of a register in a joint outcome, bit by bit."""
    places = [circuit.find_bit(bit).index for bit in register]
    return sum((joint >> place & 1) << position for position, place in enumerate(places))


def as_numbers(bits: BitArray, index: tuple[int, ...]) -> list[int]:
    return [int.from_bytes(bytes(row), "big") for row in bits.array[index]]


def test_another_run_with_the_same_seed_is_equal(client: Client) -> None:
    sampler = Sampler(AER, options={"seed_simulator": 3}, client=client)
    one, two = (sampler.run([two_registers()]).result(timeout=60) for _ in range(2))
    assert_equal(one, two)


def test_without_a_seed_runs_differ(client: Client) -> None:
    sampler = Sampler(AER, client=client)
    one, two = (sampler.run([two_registers()], shots=200).result(timeout=60)[0].data["low"] for _ in range(2))
    assert one.array.tobytes() != two.array.tobytes()


def test_pubs_may_come_from_a_generator(client: Client) -> None:
    options = {"seed_simulator": 3}
    ours = Sampler(AER, options=options, client=client).run(pub for pub in [two_registers()] * 2).result(60)
    assert_equal(ours, BackendSamplerV2(backend=AER, options=options).run([two_registers()] * 2).result())


def test_numpy_numbers_are_numbers(client: Client) -> None:
    options = {"seed_simulator": np.int64(5), "default_shots": np.int32(6)}
    workload = [two_registers(), (parameterised(), np.array([[1], [2]], dtype=np.int8), np.int64(3))]
    assert_equal(*run_both(client, AER, workload, options))


def test_run_options_reach_the_backend(client: Client) -> None:
    backend = WrappedBackend(AER)
    options = {"seed_simulator": 3, "run_options": {"method": "stabilizer", "zero_threshold": 1e-9}}
    assert_equal(*run_both(client, backend, [two_registers()], options))
    ours, theirs = backend.calls
    assert ours == theirs


def test_a_circuit_without_registers_warns_and_gives_nothing(client: Client) -> None:
    sampler = Sampler(AER, client=client)
    with pytest.warns(UserWarning, match="The 0-th pub's circuit has no output classical registers"):
        job = sampler.run([QuantumCircuit(1)])
    result = job.result(timeout=60)
    with pytest.warns(UserWarning, match="no output classical registers"):
        theirs = BackendSamplerV2(backend=AER).run([QuantumCircuit(1)]).result()
    assert_equal(result, theirs)


def test_a_pub_of_no_circuits_gives_an_empty_array(client: Client) -> None:
    workload = [(parameterised(), np.zeros((0, 1))), (parameterised(), np.zeros((2, 0, 3, 1)))]
    result = Sampler(AER, client=client).run(workload, shots=9).result(timeout=60)
    assert [pub.data.c.array.shape for pub in result] == [(0, 9, 1), (2, 0, 3, 9, 1)]
