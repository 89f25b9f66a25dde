"""Terms that can be measured together: qubit-wise commuting groups, as ``PauliList.group_commuting`` makes them.

A greedy colouring, those with most conflicts first, each into the first group that it fits: what Qiskit computes with
``rustworkx.graph_greedy_color``, without the graph, whose edges are quadratic in number. Who conflicts with a basis is
told by rows of bits instead, one row per qubit and Pauli matrix: the OR of the rows of the basis' own matrices. So 64
conflicts cost one operation, and a basis that conflicts with all others is known after a few qubits.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from pubworks.estimation.terms import X, Z, unpack

_Integers = NDArray[np.int64]

#: Rows that are joined at once; after each such step it is seen whether anything is left to find.
_STEP = 16

#: A byte whose eight members all conflict.
_ALL = 255

#: Cells of an array that is unpacked at once; bounds the memory.
_CELLS = 1 << 20


def group(bases: NDArray[np.uint8]) -> list[_Integers]:
    """Return groups of bases of which no two differ on a qubit that both measure.

    Args:
        bases: Planes Z and X of distinct bases; shape (bases, 2, bytes).
    """
    conflicts = _Conflicts(8 * bases.shape[-1], len(bases))
    conflicts.fill(bases)
    degrees = np.array([conflicts.count(rows) for rows in _rows_of_each(bases)], dtype=np.int64)
    return _first_fit(bases, np.argsort(-degrees, kind="stable"))


def _first_fit(bases: NDArray[np.uint8], order: _Integers) -> list[_Integers]:
    groups: list[list[int]] = []
    conflicts = _Conflicts(8 * bases.shape[-1], 0)
    for index, rows in zip(order.tolist(), _rows_of_each(bases[order]), strict=True):
        place = conflicts.first_without(rows)
        if place == len(groups):
            groups.append([])
        groups[place].append(index)
        conflicts.add(place, rows)
    return [np.array(members) for members in groups]


class _Conflicts:
    """By qubit and Pauli matrix, which members (bases, or groups of bases) measure another matrix on that qubit.

    There is a row of bits for each qubit and matrix: Z, X and Y of the first qubit, then of the next one. A basis is
    told by the rows of its own matrices.

    Args:
        num_qubits: Qubits of each member.
        num_members: Members to make room for; there is always room for more.
    """

    def __init__(self, num_qubits: int, num_members: int) -> None:
        self._size = 0
        #: Bit ``k`` of a row is member ``k``; in whole words, so that 64 members are joined at once.
        self._bits: NDArray[np.uint8] = np.zeros((3 * num_qubits, 8 * -(-num_members // 64)), dtype=np.uint8)
        self._used = np.zeros(3 * num_qubits, dtype=bool)

    def fill(self, bases: NDArray[np.uint8]) -> None:
        """Make bases the members."""
        step = 8 * max(1, _CELLS // (64 * bases.shape[-1]))
        for start in range(0, len(bases), step):
            matrices = _matrices(bases[start : start + step])
            for matrix in (1, 2, 3):
                others = np.packbits((matrices != 0) & (matrices != matrix), axis=0, bitorder="little")
                self._bits[matrix - 1 :: 3, start // 8 : start // 8 + len(others)] = others.T
        self._used[:] = self._bits.any(axis=1)
        self._size = len(bases)

    def add(self, place: int, rows: _Integers) -> None:
        """Join a basis to a member, or make it the next one."""
        if place // 8 >= self._bits.shape[1]:
            self._bits = np.pad(self._bits, [(0, 0), (0, max(8, self._bits.shape[1]))])
        of_qubits = rows - rows % 3
        others = np.concatenate([of_qubits + (rows + 1) % 3, of_qubits + (rows + 2) % 3])
        self._bits[others, place // 8] |= 1 << place % 8
        self._used[others] = True
        self._size = max(self._size, place + 1)

    def count(self, rows: _Integers) -> int:
        """Return how many members conflict with a basis that is one of them, and not with itself."""
        return int(np.bitwise_count(self._joined(rows, self._size - 1)).sum())

    def first_without(self, rows: _Integers) -> int:
        """Return the first member that does not conflict with a basis, or how many members there are."""
        found = self._joined(rows, self._size).view(np.uint8)
        free = (found != _ALL).nonzero()[0]
        if not len(free):
            return self._size
        bits = int(found[free[0]])
        return 8 * int(free[0]) + (~bits & (bits + 1)).bit_length() - 1  # its lowest bit that is 0

    def _joined(self, rows: _Integers, most: int) -> NDArray[np.uint64]:
        """Return the members that conflict with a basis, as bits; it can be with so many at most."""
        rows = rows[self._used[rows]]
        bits = self._bits[:, : 8 * -(-self._size // 64)].view(np.uint64)
        joined: NDArray[np.uint64] = np.bitwise_or.reduce(bits[rows[:_STEP]], axis=0)
        for start in range(_STEP, len(rows), _STEP):
            if int(np.bitwise_count(joined).sum()) == most:
                break
            joined |= np.bitwise_or.reduce(bits[rows[start : start + _STEP]], axis=0)
        return joined


def _rows_of_each(bases: NDArray[np.uint8]) -> Iterator[_Integers]:
    """Yield the rows of each basis."""
    step = max(1, _CELLS // (8 * bases.shape[-1]))
    for start in range(0, len(bases), step):
        matrices = _matrices(bases[start : start + step])
        which, qubits = matrices.nonzero()
        rows = 3 * qubits + matrices[which, qubits] - 1
        yield from np.split(rows, np.cumsum(np.bincount(which, minlength=len(matrices)))[:-1])


def _matrices(bases: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return which Pauli matrix each basis measures on each qubit; none, Z, X or Y as 0 to 3."""
    bits = unpack(bases, 8 * bases.shape[-1])
    matrices: NDArray[np.uint8] = bits[:, Z] + 2 * bits[:, X]
    return matrices
