"""What any backend is to get right: small workloads, and what their samples and expectation values must be.

Each check is a function of a :class:`Bench`, which runs PUBs on one backend in one way: through pubworks, or through
Qiskit's own wrappers, which are asked the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from qiskit import ClassicalRegister, QuantumCircuit, QuantumRegister
from qiskit.circuit import Parameter
from qiskit.primitives import DataBin, PrimitiveResult
from qiskit.quantum_info import SparsePauliOp

#: Shots of most workloads.
SHOTS = 500

#: Part of the shots that may be otherwise: devices have noise, and samples scatter.
NOISE = 0.3


class Bench(Protocol):
    """One backend, and a way to run PUBs on it."""

    def prepare(self, circuit: QuantumCircuit) -> QuantumCircuit:
        """Return a circuit in the gates of the backend."""

    def sample(self, pubs: Sequence[Any], shots: int = SHOTS) -> PrimitiveResult[Any]:
        """Return the result of a Sampler."""

    def estimate(self, pubs: Sequence[Any], precision: float = 0.05) -> PrimitiveResult[Any]:
        """Return the result of an Estimator."""


Check = Callable[[Any], None]


class DoesNotApply(Exception):
    """A check asks for something that a backend of this kind does not have; the text says what."""


@dataclass(frozen=True)
class Case:
    """A check, and whether a backend may refuse it: not every one can do it."""

    name: str
    check: Check
    optional: bool = False


CASES: list[Case] = []


def _case(*, optional: bool = False) -> Callable[[Check], Check]:
    def add(check: Check) -> Check:
        CASES.append(Case(check.__name__, check, optional))
        return check

    return add


def is_mostly(data: DataBin, expected: Iterable[dict[str, str]], shots: int = SHOTS) -> None:
    """See that nearly all shots are one of some outcomes, each in about its share.

    Args:
        data: One element of a PUB's result.
        expected: Bitstrings by register, of all registers of the same shot; all are equally likely.
        shots: How many shots there must be.

    Raises:
        AssertionError: They are not.
    """
    expected = list(expected)
    names = list(expected[0])
    strings = [data[name].get_bitstrings() for name in names]
    assert {len(of_one) for of_one in strings} == {shots}, f"{[len(of_one) for of_one in strings]} shots of {shots}"
    seen = list(zip(*strings, strict=True))
    for outcome in expected:
        part = seen.count(tuple(outcome[name] for name in names)) / shots
        share = 1 / len(expected)
        assert abs(part - share) < NOISE, f"{outcome} in {part:.0%} of the shots instead of {share:.0%}"


def flips(circuit: QuantumCircuit, ones: Iterable[int]) -> QuantumCircuit:
    """Flip some qubits of a circuit, so that every outcome is known."""
    for qubit in ones:
        circuit.x(qubit)
    return circuit


@_case()
def bell(bench: Bench) -> None:
    """Two qubits agree."""
    circuit = QuantumCircuit(2)
    circuit.h(0)
    circuit.cx(0, 1)
    circuit.measure_all()
    is_mostly(bench.sample([bench.prepare(circuit)])[0].data, [{"meas": "00"}, {"meas": "11"}])


@_case()
def several_registers(bench: Bench) -> None:
    """Bits of registers of unequal width come from the same shot."""
    circuit = QuantumCircuit(QuantumRegister(3), ClassicalRegister(1, "a"), ClassicalRegister(2, "b"))
    circuit.h(0)
    circuit.cx(0, 1)
    flips(circuit, [2]).measure([0, 1, 2], [0, 1, 2])
    expected = [{"a": "0", "b": "10"}, {"a": "1", "b": "11"}]
    is_mostly(bench.sample([bench.prepare(circuit)])[0].data, expected)


@_case()
def shared_bits(bench: Bench) -> None:
    """Registers that share a bit, and a bit that is in none of them."""
    a = ClassicalRegister(2, "a")
    circuit = QuantumCircuit(QuantumRegister(2), a, ClassicalRegister(bits=[a[1], a[0]], name="b"))
    flips(circuit, [0]).measure([0, 1], [0, 1])
    is_mostly(bench.sample([bench.prepare(circuit)])[0].data, [{"a": "01", "b": "10"}])


@_case()
def unused_bits(bench: Bench) -> None:
    """Bits that are never measured are 0, wherever they are."""
    circuit = QuantumCircuit(QuantumRegister(2), ClassicalRegister(4, "a"), ClassicalRegister(2, "b"))
    flips(circuit, [0]).measure([0, 1], [2, 5])
    is_mostly(bench.sample([bench.prepare(circuit)])[0].data, [{"a": "0100", "b": "00"}])


@_case()
def permuted(bench: Bench) -> None:
    """Qubits are measured into bits of another order."""
    circuit = QuantumCircuit(3, 3)
    flips(circuit, [0]).measure([0, 1, 2], [2, 0, 1])
    is_mostly(bench.sample([bench.prepare(circuit)])[0].data, [{"c": "100"}])


@_case()
def odd_names(bench: Bench) -> None:
    """Registers have names that are words of other languages, or none."""
    circuit = QuantumCircuit(QuantumRegister(2, "q"), ClassicalRegister(1, "if"), ClassicalRegister(1, "Über_1"))
    flips(circuit, [1]).measure([0, 1], [0, 1])
    is_mostly(bench.sample([bench.prepare(circuit)])[0].data, [{"if": "0", "Über_1": "1"}])


@_case()
def wide_register(bench: Bench) -> None:
    """A register has more bits than a machine word."""
    circuit = QuantumCircuit(QuantumRegister(2), ClassicalRegister(70, "wide"))
    flips(circuit, [1]).measure([0, 1], [3, 69])
    is_mostly(bench.sample([bench.prepare(circuit)])[0].data, [{"wide": "1" + "0" * 69}])


def _turned() -> QuantumCircuit:
    circuit = QuantumCircuit(2, 2)
    circuit.rx(Parameter("a"), 0)
    circuit.rx(Parameter("b"), 1)
    circuit.measure([0, 1], [0, 1])
    return circuit


@_case()
def parameters(bench: Bench) -> None:
    """Values are bound in the order of the parameters."""
    circuit = bench.prepare(_turned())
    is_mostly(bench.sample([(circuit, {"a": np.pi, "b": 0.0})])[0].data, [{"c": "01"}])


@_case()
def broadcast(bench: Bench) -> None:
    """An array of parameter values gives an array of results."""
    circuit = bench.prepare(_turned())
    data = bench.sample([(circuit, [[[0, 0], [np.pi, 0]], [[0, np.pi], [np.pi, np.pi]]])])[0].data
    assert data.shape == (2, 2)
    for place, expected in zip(np.ndindex(2, 2), ("00", "01", "10", "11"), strict=True):
        is_mostly(DataBin(c=data.c[place]), [{"c": expected}])


@_case()
def several_pubs(bench: Bench) -> None:
    """PUBs of one job differ in width and shots."""
    made = []
    for qubits in (1, 3, 2):
        circuit = QuantumCircuit(qubits)
        flips(circuit, [qubits - 1]).measure_all()
        made.append(bench.prepare(circuit))
    result = bench.sample([(made[0], None, 100), (made[1], None, 300), (made[2], None, 100)])
    for pub, expected, shots in zip(result, ("1", "100", "10"), (100, 300, 100), strict=True):
        is_mostly(pub.data, [{"meas": expected}], shots)


@_case()
def many_shots(bench: Bench) -> None:
    """Each of 3,001 shots is there, though a run may hold fewer."""
    circuit = QuantumCircuit(2)
    circuit.h(0)
    circuit.cx(0, 1)
    circuit.measure_all()
    data = bench.sample([bench.prepare(circuit)], shots=3001)[0].data
    is_mostly(data, [{"meas": "00"}, {"meas": "11"}], 3001)
    assert len(set(data.meas.get_bitstrings())) > 1


def _entangled(*registers: ClassicalRegister) -> QuantumCircuit:
    circuit = QuantumCircuit(QuantumRegister(3), *registers)
    circuit.h(0)
    circuit.cx(0, 1)
    return flips(circuit, [2])


#: Terms, and their values where the first two qubits are entangled and the third one, which no other is like, is 1.
_TERMS = {"IZZ": 1, "IXX": 1, "IIZ": 0, "ZII": -1, "ZXX": -1}


def _is_entangled(bench: Bench, circuit: QuantumCircuit) -> None:
    prepared, expected = bench.prepare(circuit), list(_TERMS.values())
    terms = [SparsePauliOp(label).apply_layout(prepared.layout, prepared.num_qubits) for label in _TERMS]
    evs = bench.estimate([(prepared, terms)])[0].data.evs
    assert np.all(np.abs(evs - expected) < 2 * NOISE), f"expectation values {evs} instead of {expected}"


@_case()
def estimator(bench: Bench) -> None:
    """Expectation values of a Bell state."""
    _is_entangled(bench, _entangled())


@_case()
def estimator_unused_bits(bench: Bench) -> None:
    """The circuit of an expectation value has bits that it never measures."""
    _is_entangled(bench, _entangled(ClassicalRegister(3, "mine")))


@_case(optional=True)
def estimator_measuring(bench: Bench) -> None:
    """The circuit of an expectation value measures by itself, before its end."""
    circuit = QuantumCircuit(QuantumRegister(3), ClassicalRegister(2, "mine"))
    circuit.x(0)
    circuit.measure(0, 1)
    circuit.cx(0, 1)
    prepared = bench.prepare(circuit)
    terms = [SparsePauliOp(label).apply_layout(prepared.layout, prepared.num_qubits) for label in ("IZI", "ZII")]
    evs = bench.estimate([(prepared, terms)])[0].data.evs
    assert np.all(np.abs(evs - [-1, 1]) < 2 * NOISE), f"expectation values {evs} instead of [-1, 1]"


@_case(optional=True)
def measured_twice(bench: Bench) -> None:
    """A qubit goes on after it was measured, and is measured again."""
    circuit = QuantumCircuit(QuantumRegister(1), ClassicalRegister(1, "mid"), ClassicalRegister(1, "end"))
    circuit.h(0)
    circuit.measure(0, 0)
    circuit.x(0)
    circuit.measure(0, 1)
    is_mostly(bench.sample([bench.prepare(circuit)])[0].data, [{"mid": "0", "end": "1"}, {"mid": "1", "end": "0"}])


@_case(optional=True)
def control_flow(bench: Bench) -> None:
    """A gate depends on an outcome."""
    circuit = QuantumCircuit(QuantumRegister(2), ClassicalRegister(1, "mid"), ClassicalRegister(1, "end"))
    circuit.h(0)
    circuit.measure(0, 0)
    with circuit.if_test((circuit.cregs[0], 1)):
        circuit.x(1)
    circuit.measure(1, 1)
    is_mostly(bench.sample([bench.prepare(circuit)])[0].data, [{"mid": "0", "end": "0"}, {"mid": "1", "end": "1"}])


@_case()
def unmeasured_register(bench: Bench) -> None:
    """One register is measured, and another is never."""
    circuit = QuantumCircuit(QuantumRegister(1), ClassicalRegister(2, "none"), ClassicalRegister(1, "one"))
    flips(circuit, [0]).measure(0, 2)
    is_mostly(bench.sample([bench.prepare(circuit)])[0].data, [{"none": "00", "one": "1"}])
