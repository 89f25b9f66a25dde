"""Terms of observables as bit masks: one row per term, bit ``k`` of a row for qubit ``k``, least significant bit first.

A term is a product of one-qubit operators. Qiskit's ``SparseObservable`` writes each as four bits, and so does this
module, as four planes of bits: ``Z`` and ``X`` are Pauli matrices, ``Y`` is both; a projector onto an eigenstate of one
of them has the bit ``plus`` (``0 + r``) or ``minus`` (``1 - l``) besides.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Planes in order, low bit of Qiskit's code first.
Z, X, MINUS, PLUS = range(4)

#: Cells of an array that is unpacked at once; bounds the memory.
_CELLS = 1 << 24

_LETTERS = {0: "I", 1: "Z", 2: "X", 3: "Y", 5: "1", 6: "-", 7: "l", 9: "0", 10: "+", 11: "r"}


def pack_terms(observables: Sequence[Any], num_qubits: int) -> NDArray[np.uint8]:
    """Return all terms of ``SparseObservable`` objects, one observable after the other; shape (terms, 4, bytes)."""
    blocks = [_pack(observable, num_qubits) for observable in observables]
    return np.concatenate([np.zeros((0, 4, -(-num_qubits // 8)), dtype=np.uint8), *blocks])


def _pack(observable: Any, num_qubits: int) -> NDArray[np.uint8]:
    ends = np.asarray(observable.boundaries, dtype=np.int64)
    step = max(1, _CELLS // max(1, num_qubits))
    starts = range(0, len(ends) - 1, step)
    return np.concatenate([_pack_block(observable, num_qubits, ends[start : start + step + 1]) for start in starts])


def _pack_block(observable: Any, num_qubits: int, ends: NDArray[np.int64]) -> NDArray[np.uint8]:
    codes = np.zeros((len(ends) - 1, num_qubits), dtype=np.uint8)
    rows = np.repeat(np.arange(len(ends) - 1), np.diff(ends))
    codes[rows, observable.indices[ends[0] : ends[-1]]] = observable.bit_terms[ends[0] : ends[-1]]
    planes = [np.packbits((codes >> plane) & 1, axis=1, bitorder="little") for plane in range(4)]
    return np.stack(planes, axis=1)


def unpack(masks: NDArray[np.uint8], num_qubits: int) -> NDArray[np.uint8]:
    """Return masks as one byte per qubit; shape (…, qubits)."""
    return np.unpackbits(masks, axis=-1, count=num_qubits, bitorder="little")


def words(masks: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Return rows of bytes as rows of 64-bit words, padded with zeros on the left; shape (…, words)."""
    width = masks.shape[-1]
    padded = np.zeros((*masks.shape[:-1], 8 * -(-width // 8)), dtype=np.uint8)  # a fifth of the time of np.pad
    padded[..., padded.shape[-1] - width :] = masks
    return padded.view(np.uint64)


def keys(rows: NDArray[np.uint8]) -> NDArray[np.void]:
    """Return each row of bytes as one value that can be compared and sorted; shape (rows,)."""
    flat = np.ascontiguousarray(rows.reshape(len(rows), -1))
    return flat.view(f"V{flat.shape[1]}").ravel()


def sort_keys(bases: NDArray[np.uint8], num_qubits: int) -> NDArray[np.void]:
    """Return values that sort bases (planes Z and X; shape (bases, 2, bytes)) as Python sorts their Pauli labels.

    The highest qubit comes first in a label, and I < X < Y < Z.
    """
    step = max(1, _CELLS // max(1, num_qubits))
    blocks = [_ranks(bases[start : start + step], num_qubits) for start in range(0, len(bases), step)]
    return keys(np.concatenate([np.zeros((0, -(-2 * num_qubits // 8)), dtype=np.uint8), *blocks]))


def _ranks(bases: NDArray[np.uint8], num_qubits: int) -> NDArray[np.uint8]:
    bits = unpack(bases, num_qubits)[..., ::-1]
    z, x = bits[:, Z], bits[:, X]
    return np.packbits(np.stack([z, z ^ x], axis=-1).reshape(len(bases), -1), axis=1)


def label(term: NDArray[np.uint8], num_qubits: int) -> str:
    """Return one term (its four planes) as Qiskit writes it.

    >>> from qiskit.quantum_info import SparseObservable
    >>> label(pack_terms([SparseObservable("rIZ0X")], 5)[0], 5)
    'rIZ0X'
    """
    codes = sum(bits.astype(int) << plane for plane, bits in enumerate(unpack(term, num_qubits)))
    return "".join(_LETTERS[code] for code in np.asarray(codes)[::-1].tolist())
