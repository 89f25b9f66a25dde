"""Canonical readout: one classical register of exactly the measured bits, which every provider reads out alike.

Providers differ in what they make of several registers, of registers that share bits, of names, and of bits that are
never measured. So a circuit goes to them without any of that, and the worker puts the bits of the outcomes back.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from qiskit import QuantumCircuit
from qiskit.circuit import CircuitInstruction, ClassicalRegister, ControlFlowOp, Measure

#: The name of the register; providers that build a program of text from a circuit take it for a word of no other kind.
REGISTER = "c"

_PLAIN_NAME = re.compile(r"[a-z][a-z0-9]*")


def describe(circuit: QuantumCircuit) -> dict[str, Any]:
    """Return which classical bits a circuit has, in which registers, and, where it is to be rewritten, the measured.

    Circuits with control flow stay as they are: their bits are read while they run.
    """
    places = {bit: position for position, bit in enumerate(circuit.clbits)}
    found = {
        "num_clbits": circuit.num_clbits,
        "measures": _writes_bits(circuit),
        "registers": [[register.name, [places[bit] for bit in register]] for register in circuit.cregs],
    }
    if _only_measures(circuit) and not _is_canonical(circuit, measured := sorted(_measured(circuit, places))):
        return {**found, "measured": measured}
    return found


def _measured(circuit: QuantumCircuit, places: dict[Any, int]) -> set[int]:
    return {places[bit] for instruction in circuit.data for bit in instruction.clbits}


def _only_measures(circuit: QuantumCircuit) -> bool:
    """Return whether nothing but measurements has to do with the classical bits."""
    with_bits = (item.operation for item in circuit.data if item.clbits)
    return all(isinstance(one, Measure) for one in with_bits) and not (
        circuit.num_vars or any(isinstance(item.operation, ControlFlowOp) for item in circuit.data)
    )


def _is_canonical(circuit: QuantumCircuit, measured: Sequence[int]) -> bool:
    if not circuit.clbits:
        return True
    (*others, register) = circuit.cregs or [None]
    whole = register is not None and not others and list(register) == circuit.clbits
    return whole and len(measured) == circuit.num_clbits and _PLAIN_NAME.fullmatch(register.name) is not None


def _writes_bits(circuit: QuantumCircuit) -> bool:
    """Return whether a circuit may write to its classical bits; conditions only read them."""
    return any(
        any(map(_writes_bits, operation.operation.blocks)) if isinstance(operation.operation, ControlFlowOp) else True
        for operation in circuit.data
        if operation.clbits
    )


def rewrite(circuit: QuantumCircuit, measured: Sequence[int]) -> QuantumCircuit:
    """Return a circuit with one register of the measured bits, in their order.

    Args:
        circuit: One that :func:`describe` says is to be rewritten.
        measured: The measured bits, as :func:`describe` gives them.
    """
    made = QuantumCircuit(circuit.qubits, *circuit.qregs, name=circuit.name, global_phase=circuit.global_phase)
    made.metadata = circuit.metadata
    register = ClassicalRegister(len(measured), free_name(made, REGISTER))
    if measured:
        made.add_register(register)
    new = {circuit.clbits[place]: bit for place, bit in zip(measured, register, strict=True)}
    for item in circuit.data:
        bits = tuple(new[bit] for bit in item.clbits)
        made._append(CircuitInstruction(item.operation, item.qubits, bits))
    return made


def free_name(circuit: QuantumCircuit, name: str) -> str:
    """Return a name for a register that a circuit has no other of, with underscores behind it where it has."""
    taken = {register.name for register in (*circuit.qregs, *circuit.cregs)}
    while name in taken:
        name += "_"
    return name
