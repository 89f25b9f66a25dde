"""What a circuit asks of a backend beyond gates and a measurement at the end."""

from __future__ import annotations

from qiskit import QuantumCircuit
from qiskit.circuit import ControlFlowOp, Qubit


def has_control_flow(circuit: QuantumCircuit) -> bool:
    """Return whether gates of a circuit depend on its outcomes."""
    return any(isinstance(item.operation, ControlFlowOp) for item in circuit.data)


def measures_early(circuit: QuantumCircuit) -> bool:
    """Return whether a circuit does something to a qubit after it measured it."""
    measured: set[Qubit] = set()
    for item in circuit.data:
        if item.operation.name not in ("barrier", "delay") and measured.intersection(item.qubits):
            return True
        if item.operation.name == "measure":
            measured.update(item.qubits)
    return False
