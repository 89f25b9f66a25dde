"""Every circuit reaches a backend with one register of exactly the measured bits, and its bits come back in place."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from qiskit import QuantumCircuit
from qiskit.circuit import ClassicalRegister, Clbit, Parameter, QuantumRegister
from qiskit.primitives import BackendEstimatorV2, BackendSamplerV2
from qiskit.providers import JobV1
from qiskit_aer import AerSimulator

from pubworks.client import Client, Estimator, Sampler
from pubworks.codec import readout
from pubworks.testing.backends import CountsOnlyBackend

AER = AerSimulator()


class PickyBackend(CountsOnlyBackend):
    """Takes one register of plain name whose bits are all measured, and gives bitstrings without a header."""

    def __init__(self) -> None:
        super().__init__(AER, keys="bits")
        self.seen: list[QuantumCircuit] = []

    def run(self, circuits: Any, **options: Any) -> JobV1:
        for circuit in circuits:
            (register,) = circuit.cregs
            assert register.name.isidentifier()
            assert list(register) == circuit.clbits
            assert {bit for item in circuit.data for bit in item.clbits} == set(circuit.clbits)
        self.seen += circuits
        return super().run(circuits, **options)


PICKY = PickyBackend()


@st.composite
def circuits(draw: st.DrawFn) -> tuple[QuantumCircuit, list[int]]:
    """Return a circuit of flips, and the value that each of its classical bits has in the end."""
    qubits = draw(st.integers(1, 4))
    bits = [Clbit() for _ in range(draw(st.integers(1, 70)))]
    made = QuantumCircuit(QuantumRegister(qubits, "c"), bits)
    names = draw(st.lists(st.sampled_from(["a", "b", "meas", "c0", "é", "x y", "_"]), max_size=3, unique=True))
    for name in names:  # registers may share bits, and leave some out
        made.add_register(ClassicalRegister(name=name, bits=draw(st.permutations(bits))[: draw(st.integers(1, 70))]))
    state, read = [0] * qubits, [0] * len(bits)
    for _ in range(draw(st.integers(1, 8))):
        qubit, place = draw(st.integers(0, qubits - 1)), draw(st.integers(0, len(bits) - 1))
        if draw(st.booleans()):
            made.x(qubit)
            state[qubit] ^= 1
        made.measure(qubit, bits[place])
        read[place] = state[qubit]
    return made, read


@settings(max_examples=30)
@given(st.lists(circuits(), min_size=1, max_size=3))
def test_bits_come_back_in_their_registers(client: Client, cases: list[tuple[QuantumCircuit, list[int]]]) -> None:
    made = [case for case in cases if case[0].cregs]
    if not made:
        return
    job = Sampler(PICKY, client=client).run([circuit for circuit, _ in made], shots=3)
    for (circuit, read), result in zip(made, job.result(60), strict=True):
        for register in circuit.cregs:
            bits = [read[circuit.find_bit(bit).index] for bit in register]
            expected = "".join(map(str, reversed(bits)))
            assert result.data[register.name].get_counts() == {expected: 3}


@given(circuits())
def test_a_rewritten_circuit_is_canonical(case: tuple[QuantumCircuit, list[int]]) -> None:
    circuit, _ = case
    told = readout.describe(circuit)
    if "measured" in told:
        again = readout.rewrite(circuit, told["measured"])
        assert readout.describe(again)["num_clbits"] == len(told["measured"])
        assert readout.describe(again)["measures"]
        assert again.count_ops() == circuit.count_ops()


def test_parameters_and_metadata_survive() -> None:
    angle = Parameter("t")
    circuit = QuantumCircuit(QuantumRegister(2, "q"), ClassicalRegister(3, "Odd name"), global_phase=angle)
    circuit.metadata = {"a": 1}
    circuit.rx(angle, 0)
    circuit.measure(0, 2)
    made = readout.rewrite(circuit, [2])
    assert (made.metadata, made.parameters, made.global_phase) == ({"a": 1}, circuit.parameters, angle)
    assert made.assign_parameters([0.5]).data[0].operation.params == [0.5]


def dynamic() -> QuantumCircuit:
    circuit = QuantumCircuit(QuantumRegister(2), ClassicalRegister(1, "first"), ClassicalRegister(2, "then"))
    circuit.h(0)
    circuit.measure(0, 0)
    with circuit.if_test((circuit.cregs[0], 1)):
        circuit.x(1)
    circuit.measure([0, 1], [1, 2])
    return circuit


def test_control_flow_goes_through_as_it_is(client: Client) -> None:
    assert "measured" not in readout.describe(dynamic())
    backend = CountsOnlyBackend(AER, keys="spaced")
    data = Sampler(backend, client=client).run([dynamic()], shots=100).result(60)[0].data
    assert set(zip(data.first.get_bitstrings(), data.then.get_bitstrings(), strict=True)) == {("0", "00"), ("1", "11")}


def test_bits_measured_in_the_middle_are_read(client: Client) -> None:
    circuit = QuantumCircuit(QuantumRegister(1), ClassicalRegister(2, "mid"), ClassicalRegister(3, "end"))
    circuit.h(0)
    circuit.measure(0, 1)
    circuit.x(0)
    circuit.measure(0, 4)
    data = Sampler(PICKY, client=client).run([circuit], shots=100).result(60)[0].data
    assert set(zip(data.mid.get_bitstrings(), data.end.get_bitstrings(), strict=True)) == {("00", "100"), ("10", "000")}


def test_what_is_never_measured_is_zero_and_costs_nothing(client: Client) -> None:
    circuit = QuantumCircuit(1, 9)
    circuit.x(0)
    backend = PickyBackend()
    assert Sampler(backend, client=client).run([circuit], shots=5).result(60)[0].data.c.get_counts() == {"0" * 9: 5}
    assert backend.calls == []


@pytest.mark.parametrize("clbits", [1, 9])
def test_an_estimator_leaves_out_the_bits_that_nobody_measures(client: Client, clbits: int) -> None:
    circuit = QuantumCircuit(QuantumRegister(2), ClassicalRegister(clbits, "mine"))
    circuit.h(0)
    circuit.cx(0, 1)
    backend = PickyBackend()
    ours = Estimator(backend, options={"seed_simulator": 3}, client=client).run([(circuit, ["XX", "ZI", "YY"])])
    theirs = BackendEstimatorV2(backend=AER, options={"seed_simulator": 3}).run([(circuit, ["XX", "ZI", "YY"])])
    np.testing.assert_allclose(ours.result(60)[0].data.evs, theirs.result()[0].data.evs, atol=1e-12)
    assert {one.num_clbits for one in backend.seen} <= {1, 2}


def test_an_estimator_keeps_apart_what_the_circuit_measures(client: Client) -> None:
    circuit = QuantumCircuit(QuantumRegister(2), ClassicalRegister(9, "mine"))
    circuit.h(0)
    circuit.measure(0, 7)
    circuit.cx(0, 1)
    for keys in ("bits", "spaced", "hex"):
        backend = CountsOnlyBackend(AER, keys=keys)
        evs = Estimator(backend, client=client).run([(circuit, ["ZZ", "XX", "ZI"])]).result(60)[0].data.evs
        assert evs[0] == 1
        assert abs(evs[1]) < 0.1
        assert abs(evs[2]) < 0.1


def test_the_samples_are_those_of_the_reference(client: Client) -> None:
    circuit = QuantumCircuit(QuantumRegister(3), ClassicalRegister(4, "b"), ClassicalRegister(9, "a"))
    circuit.h([0, 1, 2])
    circuit.measure([2, 0, 1], [11, 1, 5])
    options = {"seed_simulator": 9}
    ours = Sampler(AER, options=options, client=client).run([circuit]).result(60)[0].data
    theirs = BackendSamplerV2(backend=AER, options=options).run([circuit]).result()[0].data
    assert ours.a == theirs.a
    assert ours.b == theirs.b
