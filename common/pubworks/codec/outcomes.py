"""What a provider returns for the circuits of one slice, as packed arrays; and back.

Packed means: the joint outcome of all classical bits of a circuit, most significant bit first, padded with zeros on the
left to whole bytes, as ``uint8``. That is the layout of :class:`qiskit.primitives.BitArray`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, repeat
from operator import index
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pubworks.codec.arrays import pack, unpack
from pubworks.errors import ProviderError, StoreError


@dataclass(frozen=True)
class Memory:
    """One outcome per shot, in the order in which the backend measured them."""

    #: Shape (circuits, shots, bytes).
    bits: NDArray[np.uint8]

    def to_bytes(self) -> bytes:
        """Return the stored form."""
        return pack({"kind": "memory"}, [self.bits])


@dataclass(frozen=True)
class Counts:
    """Distinct outcomes and how often each was seen; the order of the shots is lost."""

    #: Shape (distinct outcomes of all circuits, bytes).
    outcomes: NDArray[np.uint8]
    #: Shape (distinct outcomes of all circuits,).
    counts: NDArray[np.int64]
    #: Index behind the last outcome of each circuit; shape (circuits,).
    ends: NDArray[np.int64]

    def to_bytes(self) -> bytes:
        """Return the stored form."""
        return pack({"kind": "counts"}, [self.outcomes, self.counts, self.ends])

    def expand(self, circuit: int) -> NDArray[np.uint8]:
        """Return the outcomes of one circuit, equal ones side by side; shape (shots, bytes)."""
        first = self.ends[circuit - 1] if circuit else 0
        chosen = slice(first, self.ends[circuit])
        return np.repeat(self.outcomes[chosen], self.counts[chosen], axis=0)


@dataclass(frozen=True)
class Kerneled:
    """Measurement level 1: complex values per memory slot instead of bits."""

    #: Shape (circuits, shots, slots), or (circuits, slots) where the backend averaged over the shots.
    values: NDArray[np.complex128]

    def to_bytes(self) -> bytes:
        """Return the stored form."""
        return pack({"kind": "kerneled"}, [self.values])


Outcomes = Memory | Counts | Kerneled

_KINDS: dict[str, Callable[..., Outcomes]] = {"memory": Memory, "counts": Counts, "kerneled": Kerneled}


def from_bytes(data: bytes) -> Outcomes:
    """Return the outcomes of a stored chunk.

    Raises:
        StoreError: The bytes are none.
    """
    header, arrays = unpack(data)
    try:
        return _KINDS[header["kind"]](*arrays)
    except (KeyError, TypeError) as error:
        raise StoreError(f"A stored chunk is of an unknown kind: {header}. Upgrade this installation.") from error


def read_outcomes(data: Sequence[Any], *, num_clbits: int, shots: int, measures: bool, meas_level: int = 2) -> Outcomes:
    """Return what a provider reported for the circuits of one slice.

    Args:
        data: ``ExperimentResult.data`` of each circuit, in order.
        num_clbits: Classical bits of each circuit.
        shots: Shots that were asked for.
        measures: Whether the circuits write to their classical bits at all; if not, all bits are 0.
        meas_level: 2 for bits, 1 for complex values.

    Raises:
        ProviderError: There are neither memory nor counts, they have another width, or shots are missing.
    """
    memories: list[Any] = [getattr(item, "memory", None) for item in data]
    if meas_level == 1:
        return _kerneled(memories, shots)
    if all(memory is not None and len(memory) for memory in memories):
        return Memory(np.stack([_read_memory(memory, num_clbits, shots) for memory in memories]))
    counts: list[Any] = [getattr(item, "counts", None) for item in data]
    if all(counts):
        return _join_counts([_read_counts(item, num_clbits, shots) for item in counts])
    if not measures:
        return Memory(np.zeros((len(data), shots, num_bytes(num_clbits)), dtype=np.uint8))
    raise ProviderError(
        "The backend returned neither memory nor counts for a circuit that measures. "
        "Run the circuit on it by hand and look at result().data()."
    )


def read_counts(data: Sequence[Any], *, widths: Sequence[int], shots: int) -> Counts:
    """Return the counts that a provider reported for the circuits of one slice.

    Fewer shots than were asked for are taken as they are: a device may lose some, and counts say how many there are.

    Args:
        data: ``ExperimentResult.data`` of each circuit, in order.
        widths: Classical bits of each circuit; all outcomes are packed to the widest.
        shots: Shots that were asked for.

    Raises:
        ProviderError: There are neither counts nor memory, they have another width, or there are too many or no shots.
    """
    tables = [_counts_or_memory(item) for item in data]
    lengths = np.array([len(table) for table in tables])
    ends = np.cumsum(lengths)
    counts = _whole_numbers(chain.from_iterable(table.values() for table in tables), int(ends[-1]))
    received = np.add.reduceat(counts, ends - lengths)
    if received.min() == 0 or received.max() > shots:
        raise ProviderError(f"The backend returned {received.min()} to {received.max()} shots of {shots}.")
    outcomes = np.zeros((len(counts), num_bytes(max(widths))), dtype=np.uint8)
    for width in sorted(set(widths)):
        _place(outcomes, tables, np.array(widths) == width, ends, width)
    return Counts(outcomes, counts, ends)


def _place(
    outcomes: NDArray[np.uint8],
    tables: Sequence[Mapping[Any, Any]],
    chosen: NDArray[np.bool_],
    ends: NDArray[np.int64],
    width: int,
) -> None:
    """Write the outcomes of circuits of one width where they belong, several circuits at a time."""
    circuits = np.flatnonzero(chosen).tolist()
    step = max(1, _KEY_BYTES // (num_bytes(width) * max(len(tables[circuit]) for circuit in circuits) or 1))
    for start in range(0, len(circuits), step):
        block = circuits[start : start + step]
        rows = np.concatenate([np.arange(ends[circuit] - len(tables[circuit]), ends[circuit]) for circuit in block])
        keys = parse_outcomes(chain.from_iterable(tables[circuit] for circuit in block), width)
        outcomes[rows, outcomes.shape[1] - keys.shape[1] :] = keys


#: Bytes of packed outcomes that are read at once; as text they are some times larger.
_KEY_BYTES = 1 << 20


def _counts_or_memory(item: Any) -> Mapping[Any, Any]:
    counts, memory = getattr(item, "counts", None), getattr(item, "memory", None)
    if not counts and (memory is None or not len(memory)):
        raise ProviderError(
            "The backend returned neither counts nor memory for a circuit that measures. "
            "Run the circuit on it by hand and look at result().data()."
        )
    return counts or Counter(memory)


def num_bytes(num_bits: int) -> int:
    """Return how many bytes hold ``num_bits`` bits.

    >>> [num_bytes(n) for n in (0, 1, 8, 9)]
    [0, 1, 1, 2]
    """
    return -(-num_bits // 8)


def parse_outcomes(keys: Iterable[str | int], width: int) -> NDArray[np.uint8]:
    """Return outcomes as a provider writes them, packed; shape (keys, bytes).

    Hexadecimal (``0x1f``) and binary (``0b11``) numbers, integers, and bitstrings with or without spaces between
    registers are understood.

    Raises:
        ProviderError: A key is none of these, or is not ``width`` bits wide.

    >>> parse_outcomes(["0x3", "0x0"], 2).tolist(), parse_outcomes(["1 01"], 3).tolist()
    ([[3], [0]], [[5]])
    """
    keys = list(keys)
    if not keys:
        return np.zeros((0, num_bytes(width)), dtype=np.uint8)
    try:
        if isinstance(keys[0], str) and keys[0][:2] not in ("0x", "0b"):
            return _pack_bitstrings([key.replace(" ", "") for key in keys], width)  # type: ignore[union-attr]
        if isinstance(keys[0], str) and keys[0].startswith("0x"):
            return _pack_hex(keys, width)  # type: ignore[arg-type]
        return _pack_numbers(_numbers(keys), width)
    except (ValueError, OverflowError, TypeError, AttributeError) as error:
        raise ProviderError(
            f"The backend returned outcome {keys[0]!r} where {width} classical bits were measured: {error}. "
            "Its results cannot be trusted as they are."
        ) from error


def _pack_hex(keys: list[str], width: int) -> NDArray[np.uint8]:
    """Return keys such as ``0x1f``, packed: digit by digit of all keys at once."""
    text = np.frombuffer("".join(keys).encode(), dtype=np.uint8)
    marks = np.flatnonzero(text == ord("x"))
    ends = np.append(marks[1:] - 1, len(text))
    lengths = ends - marks - 1
    if len(marks) != len(keys) or not lengths.all() or (text[marks - 1] != ord("0")).any():
        raise ValueError("a key is not a hexadecimal number")
    digits = np.zeros((len(keys), max(int(lengths.max()), 2 * num_bytes(width))), dtype=np.uint8)
    for place in range(int(lengths.max())):
        rows = np.flatnonzero(lengths > place)
        digits[rows, -1 - place] = _DIGITS[text[ends[rows] - 1 - place]]
    if digits.max() > 15:
        raise ValueError("a key has other characters than hexadecimal digits")
    over = digits.shape[1] - 2 * num_bytes(width)
    packed = ((digits[:, over::2] << 4) | digits[:, over + 1 :: 2]).astype(np.uint8, copy=False)
    if digits[:, :over].any() or (width % 8 and (packed[:, 0] >> width % 8).any()):
        raise ValueError(f"a key has more than {width} bits")
    return packed


#: The value of each hexadecimal digit by its character; 255 for other characters.
_DIGITS = np.full(256, 255, dtype=np.uint8)
_DIGITS[np.frombuffer(b"0123456789abcdefABCDEF", dtype=np.uint8)] = [*range(16), *range(10, 16)]


def _numbers(keys: list[Any]) -> list[int]:
    if isinstance(keys[0], str):
        return list(map(int, keys, repeat(2)))
    return [index(key) for key in keys]  # not int(): it would cut a float


def _pack_numbers(numbers: list[int], width: int) -> NDArray[np.uint8]:
    if max(numbers) >> width:
        raise ValueError(f"{max(numbers):#x} has more than {width} bits")
    size = num_bytes(width)
    if width <= 64:
        return np.array(numbers, dtype=">u8").view(np.uint8).reshape(-1, 8)[:, 8 - size :].copy()
    joined = b"".join(number.to_bytes(size, "big") for number in numbers)
    return np.frombuffer(joined, dtype=np.uint8).reshape(len(numbers), size)


def _pack_bitstrings(keys: list[str], width: int) -> NDArray[np.uint8]:
    if any(len(key) != width for key in keys):
        raise ValueError("a bitstring has another width")
    bits = np.frombuffer("".join(keys).encode(), dtype=np.uint8).reshape(len(keys), width) - ord("0")
    if bits.max(initial=0) > 1:
        raise ValueError("a bitstring has other characters than 0 and 1")
    return pack_bits(bits)


def pack_bits(bits: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return bits, most significant first on the last axis, packed into bytes."""
    padding = [(0, 0)] * (bits.ndim - 1) + [(-bits.shape[-1] % 8, 0)]
    return np.packbits(np.pad(bits, padding), axis=-1)


def _read_memory(memory: Sequence[str], width: int, shots: int) -> NDArray[np.uint8]:
    _check_shots(len(memory), shots)
    return parse_outcomes(memory, width)


def _read_counts(counts: Mapping[Any, Any], width: int, shots: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    numbers = _whole_numbers(counts.values(), len(counts))
    _check_shots(int(numbers.sum()), shots)
    return parse_outcomes(counts, width), numbers


def _whole_numbers(counts: Iterable[Any], length: int) -> NDArray[np.int64]:
    try:
        values = np.fromiter(counts, dtype=float, count=length)
    except (ValueError, TypeError) as error:
        raise ProviderError(f"The backend returned counts that are not numbers: {error}.") from error
    if not np.all((values >= 0) & (values == np.round(values))):
        raise ProviderError("The backend returned probabilities instead of counts; they are not samples.")
    return values.astype(np.int64)


def _check_shots(got: int, asked: int) -> None:
    if got != asked:
        raise ProviderError(f"The backend returned {got} of {asked} shots. Lower max_shots if it caps them silently.")


def _join_counts(parts: list[tuple[NDArray[np.uint8], NDArray[np.int64]]]) -> Counts:
    outcomes, counts = (np.concatenate(items) for items in zip(*parts, strict=True))
    return Counts(outcomes, counts, np.cumsum([len(item) for item, _ in parts]))


def _kerneled(memories: list[Any], shots: int) -> Kerneled:
    if any(memory is None for memory in memories):
        raise ProviderError("The backend returned no memory at meas_level 1. Ask whether it supports that level.")
    try:
        raw = np.asarray(memories, dtype=float)
    except (ValueError, TypeError) as error:
        raise ProviderError(f"The backend returned level-1 values that are no array of numbers: {error}.") from error
    if raw.ndim not in (3, 4) or raw.shape[-1] != 2:
        raise ProviderError(
            f"The backend returned level-1 values of shape {raw.shape[1:]} for a circuit, where (shots, slots, 2) "
            "or, averaged, (slots, 2) is the form. Ask whether it supports that level."
        )
    if raw.ndim == 4:
        _check_shots(raw.shape[1], shots)
    return Kerneled(raw[..., 0] + 1j * raw[..., 1])
