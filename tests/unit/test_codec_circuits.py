"""Circuits survive the way through QPY, and nothing hostile does."""

from __future__ import annotations

import io
import random
import struct
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from qiskit import QuantumCircuit, qpy
from qiskit.circuit import (
    CircuitInstruction,
    ClassicalRegister,
    Clbit,
    Gate,
    Parameter,
    ParameterVector,
    QuantumRegister,
    Qubit,
)  # fmt: skip
from qiskit.circuit.library import efficient_su2

from pubworks.codec import circuits as codec
from pubworks.codec.arrays import compress, decompress
from pubworks.codec.circuits import OLDEST_QPY, WRITTEN_QPY, check_qpy, decode, encode, load_qpy
from pubworks.errors import StoreError, SubmissionError


def dynamic() -> QuantumCircuit:
    """A circuit with most of what QPY has to carry."""
    qubits, bits = QuantumRegister(3, "q"), [Clbit() for _ in range(4)]
    circuit = QuantumCircuit(qubits, bits, metadata={"run": 7, "tags": ["a", "b"]}, global_phase=0.5)
    circuit.add_register(ClassicalRegister(bits=bits[:2], name="a"))
    circuit.add_register(ClassicalRegister(bits=[bits[3], bits[1]], name="b"))
    circuit.add_register(ClassicalRegister(0, "empty"))
    theta, vector = Parameter("θ"), ParameterVector("v", 12)
    circuit.rx(theta * 2 + vector[10], 0)
    circuit.ry(vector[2], 1)
    circuit.cx(0, 1)
    circuit.measure(0, 0)
    with circuit.if_test((circuit.clbits[0], True)) as else_:
        circuit.x(2)
    with else_:
        circuit.h(2)
    circuit.reset(0)
    circuit.measure([0, 1, 2], [1, 2, 3])
    return circuit


def interleaved() -> QuantumCircuit:
    """A circuit with bits of no register before, between and behind those of registers."""
    circuit = QuantumCircuit(1)
    for number, part in enumerate(([Clbit()], 2, [Clbit(), Clbit()], 0, 3, [Clbit()])):
        if isinstance(part, list):
            circuit.add_bits(part)
        else:
            circuit.add_register(ClassicalRegister(part, f"r{number}"))
    circuit.measure([0] * circuit.num_clbits, range(circuit.num_clbits))
    return circuit


def places(circuit: QuantumCircuit) -> dict[str, list[int]]:
    """Return the classical bits of each register."""
    return {register.name: [circuit.find_bit(bit).index for bit in register] for register in circuit.cregs}


def measured(circuit: QuantumCircuit, item: CircuitInstruction) -> list[int]:
    """Return the classical bits of an instruction."""
    return [circuit.find_bit(bit).index for bit in item.clbits]


CIRCUITS = {
    "interleaved": interleaved(),
    "empty": QuantumCircuit(),
    "qubits only": QuantumCircuit([Qubit(), Qubit()]),
    "no qubits": QuantumCircuit(0, 2),
    "ansatz": efficient_su2(3, reps=2),
    "dynamic": dynamic(),
}


@pytest.mark.parametrize("name", CIRCUITS)
def test_a_circuit_comes_back(name: str) -> None:
    circuit = CIRCUITS[name]
    found = decode(encode(circuit).data)
    assert found == circuit
    assert found.metadata == circuit.metadata
    assert list(found.parameters) == list(circuit.parameters)  # the order in which values are bound
    assert places(found) == places(circuit)
    assert [measured(found, item) for item in found.data] == [measured(circuit, item) for item in circuit.data]


@pytest.mark.parametrize("name", CIRCUITS)
def test_equal_content_has_one_hash(name: str) -> None:
    blob = encode(CIRCUITS[name])
    assert encode(CIRCUITS[name]) == blob
    if name != "dynamic":  # QPY writes the bits of blocks in an order of its own each time it has read them
        again = encode(decode(blob.data))  # and registers in another order, once
        assert encode(decode(again.data)) == again
    assert len(blob.hash) == 64
    assert blob.size == len(decompress(blob.data))


@given(st.floats(-10, 10), st.floats(-10, 10))
def test_other_content_has_another_hash(one: float, two: float) -> None:
    circuits = [QuantumCircuit(1, name="c") for _ in range(2)]
    for circuit, angle in zip(circuits, (one, two), strict=True):
        circuit.rx(angle, 0)
    assert (encode(circuits[0]).hash == encode(circuits[1]).hash) == (struct.pack("d", one) == struct.pack("d", two))


def test_what_is_written_is_read_by_every_supported_qiskit() -> None:
    assert decompress(encode(dynamic()).data)[6] == WRITTEN_QPY


def test_a_circuit_that_needs_a_newer_format_is_written_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    dump = qpy.dump

    def refuse(programs: object, file: object, **kwargs: object) -> None:
        if "version" in kwargs:
            raise qpy.exceptions.UnsupportedFeatureForVersion("a new thing", 16, WRITTEN_QPY)
        dump(programs, file)

    monkeypatch.setattr(codec.qpy, "dump", refuse)
    assert decompress(encode(QuantumCircuit(1)).data)[6] > WRITTEN_QPY
    assert decode(encode(QuantumCircuit(1)).data).num_qubits == 1


class Mystery(Gate):
    """Parameters that no format knows."""

    def __init__(self) -> None:
        super().__init__("mystery", 1, [])
        self._params = [object()]


def test_a_circuit_that_qpy_cannot_express_is_refused() -> None:
    circuit = QuantumCircuit(1, name="odd")
    circuit.append(Mystery(), [0])
    with pytest.raises(SubmissionError, match="'odd' cannot be stored as QPY"):
        encode(circuit)


@pytest.mark.parametrize("metadata", [{"x": object()}, {"x": {1, 2}}, {"x": 1j}, {"x": float("nan")}])
def test_metadata_that_is_not_json_is_refused(metadata: dict[str, object]) -> None:
    with pytest.raises(SubmissionError, match="JSON values in circuit.metadata"):
        encode(QuantumCircuit(1, metadata=metadata))


def written(version: int = WRITTEN_QPY) -> bytes:
    buffer = io.BytesIO()
    qpy.dump(CIRCUITS["dynamic"], buffer, version=version)
    return buffer.getvalue()


@pytest.mark.parametrize("version", range(OLDEST_QPY, qpy.common.QPY_VERSION + 1))
def test_every_version_without_known_code_execution_is_read(version: int) -> None:
    assert load_qpy(written(version)) == [CIRCUITS["dynamic"]]


@pytest.mark.parametrize("version", range(OLDEST_QPY))
def test_versions_that_can_run_code_are_refused_unread(version: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec.qpy, "load", lambda *_: pytest.fail("it was loaded"))
    old = bytearray(written())
    old[6] = version
    with pytest.raises(SubmissionError, match=f"QPY version {version} is refused.*CVE-2025-2000"):
        load_qpy(bytes(old))


def test_a_version_of_the_future_is_refused() -> None:
    new = bytearray(written())
    new[6] = 255
    with pytest.raises(SubmissionError):
        load_qpy(bytes(new))


@pytest.mark.parametrize("raw", [b"", b"QISKIT", b"QISKI", b"\x80\x04\x95pickle", b"OPENQASM 3.0;", bytes(200)])
def test_what_is_not_qpy_is_refused(raw: bytes) -> None:
    with pytest.raises(SubmissionError, match="not QPY"):
        load_qpy(raw)


def test_every_cut_is_refused() -> None:
    raw = written()
    for end in range(0, len(raw) - 1, 7):
        with pytest.raises(SubmissionError):
            load_qpy(raw[:end])


def test_a_file_without_circuits_is_refused() -> None:
    raw = bytearray(written())
    raw[10:18] = bytes(8)
    with pytest.raises(SubmissionError, match="no circuit"):
        load_qpy(bytes(raw))


def test_something_other_than_circuits_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec.qpy, "load", lambda _: ["a schedule"])
    with pytest.raises(SubmissionError, match="other than circuits"):
        load_qpy(written())


@pytest.mark.parametrize("version", [WRITTEN_QPY, qpy.common.QPY_VERSION])
@pytest.mark.parametrize(("place", "what"), [(5, "qubits"), (9, "classical bits")])
def test_a_claim_of_billions_of_bits_is_refused_unread(version: int, place: int, what: str) -> None:
    """Qiskit's reader would make room for them, and end the process where there is none."""
    raw = bytearray(written(version))
    circuit = 20 if version < 16 else 28
    struct.pack_into("!I", raw, circuit + place, 2**32 - 1)
    with pytest.raises(SubmissionError, match=f"4294967295 {what}"):
        load_qpy(bytes(raw))


def test_a_large_file_is_refused_unread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec, "MAX_QPY_BYTES", 100)
    with pytest.raises(SubmissionError, match="over the limit of 100"):
        check_qpy(written())


def test_a_bomb_is_refused_unread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec, "MAX_QPY_BYTES", 1 << 20)
    with pytest.raises(StoreError, match="over the limit"):
        decode(compress(b"QISKIT" + bytes(10 << 20)))


def test_a_panic_of_the_reader_is_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    class PanicException(BaseException):
        pass

    def panic(_: object) -> None:
        raise PanicException("index out of bounds\n backtrace")

    monkeypatch.setattr(codec.qpy, "load", panic)
    with pytest.raises(SubmissionError, match="PanicException: index out of bounds. Write it again"):
        load_qpy(written())


def test_an_interrupt_is_not_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(codec.qpy, "load", interrupt)
    with pytest.raises(KeyboardInterrupt):
        load_qpy(written())


def fuzz(rounds: int) -> None:
    """Flip bytes of a good file; anything but a circuit or a refusal ends with a traceback."""
    chance, raw = random.Random(0), written()
    for _ in range(rounds):
        damaged = bytearray(raw)
        for _ in range(chance.choice([1, 1, 2, 5])):
            damaged[chance.randrange(7, len(raw))] = chance.randrange(256)
        try:
            load_qpy(bytes(damaged))
        except SubmissionError:
            continue


def test_damaged_files_raise_nothing_else() -> None:
    """In a process of its own, since Qiskit's reader writes a line for each of its panics."""
    code = f"import runpy; runpy.run_path({__file__!r})['fuzz'](150)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
