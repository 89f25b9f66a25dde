"""How a backend writes the gates before a measurement in another basis."""

from __future__ import annotations

from typing import Any

from qiskit import QuantumCircuit
from qiskit.circuit import Operation
from qiskit.transpiler import PassManager, PassManagerConfig
from qiskit.transpiler.passes import Optimize1qGatesDecomposition

#: Gates on one qubit, in order.
_Gates = list[Operation]


class BasisChanges:
    """Gates that turn a measurement of X or Y into one of Z, translated for one backend as ``BackendEstimatorV2`` does.

    They are on single qubits, so each width of circuit is translated once, for all qubits.

    Args:
        backend: A ``BackendV2``.
    """

    def __init__(self, backend: Any) -> None:
        basis = PassManagerConfig.from_backend(backend).basis_gates
        self._passes = PassManager([Optimize1qGatesDecomposition(basis=basis, target=backend.target)])
        self._known: dict[tuple[int, bool], list[_Gates]] = {}

    def of(self, num_qubits: int, *, y: bool) -> list[_Gates]:
        """Return the gates for each qubit of a circuit: for Y, or for X."""
        if (num_qubits, y) not in self._known:
            self._known[num_qubits, y] = self._translate(num_qubits, y)
        return self._known[num_qubits, y]

    def _translate(self, num_qubits: int, y: bool) -> list[_Gates]:
        circuit = QuantumCircuit(num_qubits)
        if y:
            circuit.sdg(range(num_qubits))
        circuit.h(range(num_qubits))
        gates: list[_Gates] = [[] for _ in range(num_qubits)]
        translated = self._passes.run(circuit)
        for instruction in translated.data:
            gates[translated.find_bit(instruction.qubits[0]).index].append(instruction.operation)
        return gates
