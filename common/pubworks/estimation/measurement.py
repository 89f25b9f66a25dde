"""What is measured for one Estimator PUB, and how its expectation values are put together from that.

A *setting* is a measurement basis together with the terms that are read from it. Each flattened circuit of the PUB is
one row of the parameter values, measured in one setting. Parameter values and observables are broadcast against each
other; an *element* is one expectation value of the result, in C order of its shape.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pubworks.codec.arrays import pack
from pubworks.codec.arrays import unpack as unpack_arrays
from pubworks.estimation.terms import unpack


@dataclass(frozen=True)
class Measurement:
    """Circuits, settings and terms of one PUB; masks as in :mod:`pubworks.estimation.terms`."""

    num_qubits: int
    #: Classical bits of the user's circuit; ours come after them.
    first_clbit: int
    parameters_shape: tuple[int, ...]
    observables_shape: tuple[int, ...]
    #: What else a result is made of: ``precision``, ``stds``.
    info: dict[str, Any]
    #: Planes Z and X of each setting's basis; shape (settings, 2, bytes).
    bases: NDArray[np.uint8]
    #: Setting and row of the parameter values of each flattened circuit; shape (circuits,).
    settings: NDArray[np.int64]
    rows: NDArray[np.int64]
    #: Distinct terms, four planes; shape (terms, 4, bytes).
    terms: NDArray[np.uint8]
    #: Terms that are read from each setting, one setting after the other, and where each setting's end.
    read_terms: NDArray[np.int64]
    read_ends: NDArray[np.int64]
    #: Coefficients: the setting's how-manieth term counts so much in which observable. In the order of settings, and
    #: where each setting's end.
    positions: NDArray[np.int64]
    observables: NDArray[np.int64]
    coefficients: NDArray[np.float64]
    coefficient_ends: NDArray[np.int64]

    @property
    def num_circuits(self) -> int:
        """Flattened circuits of the PUB."""
        return len(self.settings)

    @property
    def nbytes(self) -> int:
        """Bytes of its arrays."""
        return sum(getattr(self, name).nbytes for name in _ARRAYS)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the result."""
        return np.broadcast_shapes(self.parameters_shape, self.observables_shape)

    @cached_property
    def widths(self) -> NDArray[np.int64]:
        """Qubits that each setting measures; shape (settings,)."""
        measured: NDArray[np.int64] = np.bitwise_count(self.bases[:, 0] | self.bases[:, 1]).sum(axis=-1, dtype=np.int64)
        return measured.clip(min=1)

    def reads(self, setting: int) -> NDArray[np.int64]:
        """Return the terms that are read from a setting."""
        return self.read_terms[_range(self.read_ends, setting)]

    def weights(self, setting: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
        """Return (position of the term in the setting, observable, coefficient) of what a setting contributes."""
        chosen = _range(self.coefficient_ends, setting)
        return self.positions[chosen], self.observables[chosen], self.coefficients[chosen]

    def elements(self, rows: NDArray[np.int64], observables: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the element of each row of the parameters with each observable; shape (rows, observables)."""
        by_row, by_observable = _strides(self.parameters_shape, self.observables_shape)
        return by_row[rows][:, None] + by_observable[observables][None, :]

    def to_bytes(self) -> bytes:
        """Return the stored form."""
        header = {name: getattr(self, name) for name in _PLAIN}
        return pack(header, [getattr(self, name) for name in _ARRAYS])


_PLAIN = ("num_qubits", "first_clbit", "parameters_shape", "observables_shape", "info")
_ARRAYS = tuple(name for name in Measurement.__dataclass_fields__ if name not in _PLAIN)


@lru_cache(maxsize=2)  # more would hold the memory of jobs that ended long ago
def from_bytes(data: bytes) -> Measurement:
    """Return what :meth:`Measurement.to_bytes` gave."""
    header, arrays = unpack_arrays(data)
    shapes = {name: tuple(header[name]) for name in ("parameters_shape", "observables_shape")}
    return Measurement(**{**header, **shapes, **dict(zip(_ARRAYS, arrays, strict=True))})


def measured_qubits(basis: NDArray[np.uint8], num_qubits: int) -> NDArray[np.int64]:
    """Return the qubits that a basis (planes Z and X) measures, in the order of its classical bits.

    The basis that is the identity everywhere measures the first qubit, as Qiskit's ``BackendEstimatorV2`` does.
    """
    return np.flatnonzero(unpack(basis[0] | basis[1], num_qubits)) if basis.any() else np.zeros(1, dtype=np.int64)


def _range(ends: NDArray[np.int64], index: int) -> slice:
    return slice(ends[index - 1] if index else 0, ends[index])


@lru_cache(maxsize=64)
def _strides(parameters: tuple[int, ...], observables: tuple[int, ...]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return what each flat index of the parameters, and of the observables, adds to the flat index of the result."""
    shape = np.broadcast_shapes(parameters, observables)
    rows = np.zeros(parameters, dtype=np.int64)
    columns = np.zeros(observables, dtype=np.int64)
    for axis in range(1, len(shape) + 1):  # from the right, as shapes are broadcast
        step = int(np.prod(shape[len(shape) - axis + 1 :], dtype=np.int64))
        side = rows if axis <= len(parameters) and parameters[-axis] != 1 else columns
        if axis <= side.ndim:
            side += step * np.arange(side.shape[-axis]).reshape(-1, *[1] * (axis - 1))
    return rows.ravel(), columns.ravel()
