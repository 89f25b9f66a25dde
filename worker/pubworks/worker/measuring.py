"""Circuits of an Estimator PUB: bound once per row of the parameter values, then measured in each basis.

The measurement is a classical register of its own, with a plain name (some providers refuse ``__c_…``) and only the
bits that the basis needs, behind the user's own.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

import numpy as np
from numpy.typing import NDArray
from qiskit import QuantumCircuit
from qiskit.circuit import CircuitInstruction, ClassicalRegister, Measure

from pubworks.backends.adapter import Adapter
from pubworks.codec.readout import free_name
from pubworks.estimation.measurement import Measurement, measured_qubits
from pubworks.estimation.terms import X, Z, unpack
from pubworks.store.records import Slice

_REGISTER = "pw"

_Tail = tuple[ClassicalRegister, list[CircuitInstruction]]


def measured(
    circuit: QuantumCircuit,
    values: NDArray[np.float64] | None,
    measurement: Measurement,
    piece: Slice,
    adapter: Adapter,
) -> list[QuantumCircuit]:
    """Return the bound circuits of a slice, each measured in its basis.

    Args:
        circuit: The user's circuit, with its parameters unbound.
        values: Parameter values; shape (rows, parameters). None where there are none.
        measurement: Rows and settings of the PUB's circuits.
        piece: Which of them.
        adapter: The backend, which decides how a change of basis is written.
    """
    tails: dict[int, _Tail] = {}
    name = free_name(circuit, _REGISTER)
    made = []
    for row, settings in _by_row(measurement, piece):
        bound = circuit if values is None else circuit.assign_parameters(values[row])
        for setting in settings:
            if setting not in tails:
                tails[setting] = _tail(circuit, measurement, setting, adapter, name)
            made.append(_append(bound, tails[setting]))
    return made


def _by_row(measurement: Measurement, piece: Slice) -> Iterator[tuple[int, list[int]]]:
    rows = measurement.rows[piece.first : piece.end].tolist()
    settings = measurement.settings[piece.first : piece.end].tolist()
    for row, pairs in groupby(zip(rows, settings, strict=True), key=lambda pair: pair[0]):
        yield row, [setting for _, setting in pairs]


def _tail(circuit: QuantumCircuit, measurement: Measurement, setting: int, adapter: Adapter, name: str) -> _Tail:
    """Return the register of a setting, its change of basis and its measurements, on the circuit's qubits."""
    basis = measurement.bases[setting]
    z, x = unpack(basis[[Z, X]], measurement.num_qubits)
    qubits = measured_qubits(basis, measurement.num_qubits).tolist()
    register = ClassicalRegister(len(qubits), name)
    instructions = []
    for clbit, qubit in zip(register, qubits, strict=True):
        bits = (circuit.qubits[qubit],)
        changes = adapter.basis_changes.of(measurement.num_qubits, y=bool(z[qubit]))[qubit] if x[qubit] else ()
        instructions += [CircuitInstruction(change, bits) for change in changes]
        instructions.append(CircuitInstruction(Measure(), bits, (clbit,)))
    return register, instructions


def _append(bound: QuantumCircuit, tail: _Tail) -> QuantumCircuit:
    register, instructions = tail
    whole = bound.copy()
    whole.add_register(register)
    for instruction in instructions:
        whole._append(instruction)  # nothing to check, and a third of the time of compose()
    return whole
