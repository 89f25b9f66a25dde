"""From observables to the circuits that measure them, in the order of Qiskit's ``BackendEstimatorV2``.

For each row of the parameter values, in C order: the terms of all observables that meet this row, sorted by their
labels, in qubit-wise commuting groups; one circuit per group. Rows that meet the same observables are planned once.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from qiskit.primitives.containers.estimator_pub import EstimatorPub
from qiskit.primitives.containers.observables_array import ObservablesArray

from pubworks.errors import NotMeasured
from pubworks.estimation.measurement import Measurement
from pubworks.estimation.terms import X, Z, label
from pubworks.planning.assembly import Setting, assemble, split
from pubworks.planning.grouping import group
from pubworks.planning.observables import Integers, Table, meetings, tabulate

#: Terms that an error names.
_NAMED = 5


def plan_measurement(pub: EstimatorPub, *, grouped: bool, info: dict[str, Any]) -> Measurement:
    """Return the circuits and settings of a PUB.

    Args:
        pub: A coerced PUB.
        grouped: Whether terms that commute qubit by qubit share a circuit.
        info: What else the result is made of, JSON values.
    """
    table = tabulate(pub.observables, pub.circuit.num_qubits)
    shape = pub.parameter_values.shape
    wanted = meetings(shape, table.shape)
    arrays = assemble(table, wanted, np.zeros(len(wanted), dtype=np.int64), _Divider(table, grouped))
    return Measurement(pub.circuit.num_qubits, pub.circuit.num_clbits, shape, table.shape, info, **arrays)


def cover(measured: Measurement, observables: ObservablesArray) -> Measurement:
    """Return how other observables are read from what was measured already.

    Raises:
        NotMeasured: Terms that no basis covers; the message names them.
        ValueError: The observables do not fit the circuit or the shape of the parameter values.
    """
    if observables.num_qubits != measured.num_qubits:
        raise ValueError(
            f"The number of qubits of the circuit ({measured.num_qubits}) does not match the number of qubits of the "
            f"observables ({observables.num_qubits})."
        )
    table = tabulate(observables, measured.num_qubits)
    shape = measured.parameters_shape
    wanted = meetings(shape, table.shape)
    edges = np.searchsorted(measured.rows, np.arange(len(wanted) + 1))
    had = [measured.settings[start:end] for start, end in zip(edges[:-1], edges[1:], strict=True)]
    known: dict[bytes, int] = {}
    marks = np.array([known.setdefault(settings.tobytes(), len(known)) for settings in had], dtype=np.int64)
    arrays = assemble(table, wanted, marks, lambda row, terms: _reuse(table, terms, measured.bases[had[row]]))
    return Measurement(measured.num_qubits, measured.first_clbit, shape, table.shape, measured.info, **arrays)


class _Divider:
    """Divides the terms of a row into settings; equal sets of terms once.

    Args:
        table: The observables.
        grouped: Whether terms that commute qubit by qubit share a setting.
    """

    def __init__(self, table: Table, grouped: bool) -> None:
        self._table, self._grouped = table, grouped
        self._known: dict[bytes, list[Setting]] = {}

    def __call__(self, _: int, terms: Integers) -> list[Setting]:
        key = terms.tobytes()
        if key not in self._known:
            self._known[key] = self._divide(terms)
        return self._known[key]

    def _divide(self, terms: Integers) -> list[Setting]:
        needed, which = np.unique(self._table.basis_of[terms], return_inverse=True)
        bases = self._table.bases[needed]
        groups = group(bases) if self._grouped else list(np.arange(len(needed))[:, None])
        group_of = np.empty(len(needed), dtype=np.int64)
        for number, members in enumerate(groups):
            group_of[members] = number
        read = split(terms, group_of[which], len(groups))
        joint = [np.bitwise_or.reduce(bases[members]) for members in groups]
        return [Setting(basis, part) for basis, part in zip(joint, read, strict=True)]


def _reuse(table: Table, terms: Integers, bases: NDArray[np.uint8]) -> list[Setting]:
    """Return settings that read each term from the first of some bases that covers it."""
    place = np.full(len(terms), -1)
    wanted = table.terms[terms, :2]
    for number, basis in enumerate(bases):
        different = wanted ^ basis
        clash = (different[:, Z] | different[:, X]) & (wanted[:, Z] | wanted[:, X])
        place[(place < 0) & ~clash.any(axis=-1)] = number
    if (place < 0).any():
        raise NotMeasured(_not_covered(table, terms[place < 0]))
    return [Setting(basis, part) for basis, part in zip(bases, split(terms, place, len(bases)), strict=True)]


def _not_covered(table: Table, terms: Integers) -> str:
    names = ", ".join(label(table.terms[term], table.num_qubits) for term in terms[:_NAMED])
    more = f" and {len(terms) - _NAMED} more" if len(terms) > _NAMED else ""
    return f"No basis that was measured covers {names}{more}. Run a new job for these terms, or leave them out."
