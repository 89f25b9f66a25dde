"""The observables of a PUB as arrays, and which rows of the parameter values they meet."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from qiskit.primitives.containers.observables_array import ObservablesArray

from pubworks.estimation.terms import keys, label, pack_terms, sort_keys

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Table:
    """All observables of a PUB: the distinct terms, and which observable has which."""

    num_qubits: int
    shape: tuple[int, ...]
    #: Distinct terms; shape (terms, 4, bytes).
    terms: NDArray[np.uint8]
    #: Distinct bases, planes Z and X, in the order of their labels; shape (bases, 2, bytes). The basis of each term.
    bases: NDArray[np.uint8]
    basis_of: Integers
    #: Terms and coefficients of the observables, one observable after the other, and where each one's end.
    members: Integers
    coefficients: NDArray[np.float64]
    ends: Integers

    def places(self, observables: Integers) -> tuple[Integers, Integers]:
        """Return the places in ``members`` of some observables, and which observable each is of."""
        starts = np.concatenate([[0], self.ends])[observables]
        lengths = self.ends[observables] - starts
        before = np.cumsum(lengths) - lengths
        return np.arange(lengths.sum()) + np.repeat(starts - before, lengths), np.repeat(observables, lengths)


def tabulate(observables: ObservablesArray, num_qubits: int) -> Table:
    """Return observables as arrays.

    Raises:
        ValueError: A coefficient is NaN or infinite.
    """
    flat = list(observables.sparse_observables_array().ravel())
    packed = pack_terms(flat, num_qubits)
    _, first, members = np.unique(keys(packed), return_index=True, return_inverse=True)
    terms = packed[first]
    _, first, basis_of = np.unique(sort_keys(terms[:, :2], num_qubits), return_index=True, return_inverse=True)
    coefficients = np.concatenate([np.zeros(0), *(np.real(observable.coeffs) for observable in flat)])
    for place in np.flatnonzero(~np.isfinite(coefficients))[:1]:
        name = label(packed[place], num_qubits)
        raise ValueError(f"The coefficient of {name} in an observable is {coefficients[place]}; give a finite number.")
    ends = np.cumsum([observable.num_terms for observable in flat], dtype=np.int64)
    return Table(num_qubits, observables.shape, terms, terms[first, :2], basis_of, members, coefficients, ends)


def meetings(parameters: tuple[int, ...], observables: tuple[int, ...]) -> Integers:
    """Return the observables that each row of the parameter values meets when both are broadcast.

    Args:
        parameters: Shape of the parameter values.
        observables: Shape of the observables.

    Returns:
        Flat indices; shape (rows, observables per row): every row meets equally many.
    """
    rows = np.arange(np.prod(parameters, dtype=np.int64)).reshape(parameters)
    columns = np.arange(np.prod(observables, dtype=np.int64)).reshape(observables)
    of_rows, of_columns = (array.ravel() for array in np.broadcast_arrays(rows, columns))
    met = of_columns[np.argsort(of_rows, kind="stable")]
    return met.reshape(rows.size, met.size // rows.size if rows.size else 0)
