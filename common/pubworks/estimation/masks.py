"""The values of terms for packed outcomes, by population counts.

The value of a term for one shot is the product of its factors: (-1)^b for a Pauli matrix that was measured as bit b,
and 1 or 0 for a projector. So its sign is the parity of ``outcome & signs``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pubworks.estimation.measurement import Measurement, measured_qubits
from pubworks.estimation.terms import MINUS, PLUS, X, Z, unpack, words

Words = NDArray[np.uint64]

#: Bits that are unpacked at once, as bytes; bounds the memory.
_UNPACKED = 1 << 23


@dataclass(frozen=True)
class Masks:
    """Terms that are read from one setting, in the layout of packed outcomes; shape (terms, words)."""

    signs: Words
    #: Bits that must be 0, and bits that must be 1; None where no term has a projector.
    zeros: Words | None = None
    ones: Words | None = None

    def values(self, outcomes: Words, terms: slice) -> NDArray[np.float64]:
        """Return the value of some terms for each outcome; shape (outcomes, terms)."""
        folded = outcomes[:, :1] & self.signs[terms, 0]
        for word in range(1, outcomes.shape[1]):  # the parity of several words is that of their XOR
            folded ^= outcomes[:, word, None] & self.signs[terms, word]
        values: NDArray[np.float64] = 1.0 - 2.0 * (np.bitwise_count(folded) & 1)
        if self.zeros is not None and self.ones is not None:
            for word in range(outcomes.shape[1]):
                bits = outcomes[:, word, None]
                values[((bits & self.zeros[terms, word]) | (~bits & self.ones[terms, word])) != 0] = 0.0
        return values


def make_masks(measurement: Measurement, setting: int, num_bytes: int) -> Masks:
    """Return the masks of a setting, for outcomes of so many bytes."""
    terms = measurement.terms[measurement.reads(setting)]
    qubits = measured_qubits(measurement.bases[setting], measurement.num_qubits)
    measures, plus, minus = terms[:, Z] | terms[:, X], terms[:, PLUS], terms[:, MINUS]

    def place(planes: NDArray[np.uint8]) -> Words:
        return _place(planes, measurement, qubits, num_bytes)

    if not (plus | minus).any():
        return Masks(place(measures))
    return Masks(place(measures & ~(plus | minus)), place(plus), place(minus))


def _place(planes: NDArray[np.uint8], measurement: Measurement, qubits: NDArray[np.int64], num_bytes: int) -> Words:
    """Return bits of qubits where outcomes have them: after the user's classical bits, most significant bit first."""
    columns = 8 * num_bytes - 1 - measurement.first_clbit - np.arange(len(qubits))
    step = max(1, _UNPACKED // (measurement.num_qubits + 8 * num_bytes))
    packed = np.zeros((len(planes), num_bytes), dtype=np.uint8)
    for start in range(0, len(planes), step):
        chosen = unpack(planes[start : start + step], measurement.num_qubits)[:, qubits]
        bits = np.zeros((len(chosen), 8 * num_bytes), dtype=np.uint8)
        bits[:, columns] = chosen
        packed[start : start + step] = np.packbits(bits, axis=1)
    return words(packed)
