"""What a provider returns for the circuits of one slice, as packed arrays; and back.

Packed means: the joint outcome of all classical bits of a circuit, most significant bit first, padded with zeros on the
left to whole bytes, as ``uint8``. That is the layout of :class:`qiskit.primitives.BitArray`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, repeat
from operator import index
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pubworks.codec.arrays import pack, unpack
from pubworks.codec.probabilities import are_probabilities, draw
from pubworks.errors import ProviderError, StoreError, Transient


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
    #: Seed with which the counts were drawn, where the backend gave probabilities.
    drawn_with: int | None = None
    #: Shots that were asked for, where more were than a chunk has.
    asked: int | None = None

    @property
    def shots(self) -> NDArray[np.int64]:
        """Shots of each circuit; shape (circuits,)."""
        return np.add.reduceat(self.counts, self.ends - np.diff(self.ends, prepend=0))

    def to_bytes(self) -> bytes:
        """Return the stored form."""
        notes = {"drawn_with": self.drawn_with, "asked": self.asked}
        header = {"kind": "counts", **{name: value for name, value in notes.items() if value is not None}}
        return pack(header, [self.outcomes, self.counts, self.ends])

    def expand(self, circuit: int) -> NDArray[np.uint8]:
        """Return the outcomes of one circuit, equal ones side by side; shape (shots, bytes)."""
        first = self.ends[circuit - 1] if circuit else 0
        chosen = slice(first, self.ends[circuit])
        return np.repeat(self.outcomes[chosen], self.counts[chosen], axis=0)


def spread(outcomes: Outcomes, places: Sequence[int], num_clbits: int) -> Outcomes:
    """Return outcomes with each bit in its place among more of them; the others are 0.

    Args:
        outcomes: Of as many bits as there are places, the first one the least significant.
        places: Where each of them belongs.
        num_clbits: How many there are to be.
    """
    if isinstance(outcomes, Kerneled) or list(places) == list(range(num_clbits)):
        return outcomes
    packed = outcomes.bits if isinstance(outcomes, Memory) else outcomes.outcomes
    bits = np.unpackbits(packed, axis=-1)
    wide = np.zeros((*bits.shape[:-1], num_clbits), dtype=np.uint8)
    wide[..., [num_clbits - 1 - place for place in places]] = bits[..., bits.shape[-1] - 1 - np.arange(len(places))]
    return Memory(pack_bits(wide)) if isinstance(outcomes, Memory) else replace(outcomes, outcomes=pack_bits(wide))


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
        return _KINDS[header.pop("kind")](*arrays, **header)
    except (KeyError, TypeError) as error:
        raise StoreError(f"A stored chunk is of an unknown kind: {header}. Upgrade this installation.") from error


def read_outcomes(
    data: Sequence[Any], *, num_clbits: int, shots: int, measures: bool = True, meas_level: int = 2, seed: int = 0
) -> Outcomes:
    """Return what a provider reported for the circuits of one slice.

    Memory tells the order of the shots, and is believed where the counts, if there are any, say the same. Fewer shots
    than were asked for come as counts.

    Args:
        data: ``ExperimentResult.data`` of each circuit, in order.
        num_clbits: Classical bits of each circuit.
        shots: Shots that were asked for.
        measures: Whether the circuits write to their classical bits at all; if not, all bits are 0.
        meas_level: 2 for bits, 1 for complex values.
        seed: Draws samples, where the backend gives probabilities.

    Raises:
        ProviderError: There are neither memory nor counts, they have another width, or there are too many or no shots.
    """
    memories: list[Any] = [getattr(item, "memory", None) for item in data]
    if meas_level == 1:
        return _kerneled(memories, shots)
    if all(map(_tells_order, data, memories, repeat(shots))):
        return Memory(np.stack([parse_outcomes(memory, num_clbits) for memory in memories]))
    if not measures and not any(_has_some(item) for item in data):
        return Memory(np.zeros((len(data), shots, num_bytes(num_clbits)), dtype=np.uint8))
    return read_counts(data, widths=[num_clbits] * len(data), shots=shots, seed=seed)


def _tells_order(item: Any, memory: Any, shots: int) -> bool:
    """Return whether a memory has every shot, and nothing that its counts do not have."""
    if memory is None or len(memory) != shots:
        return False
    counts = getattr(item, "counts", None)
    seen = Counter(memory)
    if any(isinstance(key, str) and _is_lost(key) for key in seen):
        return False
    return not counts or seen == counts or _written_otherwise(seen, counts)


def _written_otherwise(one: Mapping[Any, Any], other: Mapping[Any, Any]) -> bool:
    """Return whether two tables are equal, one in another style of writing than the other."""
    return Counter(_as_numbers(one)) == Counter(_as_numbers(other))


def _as_numbers(table: Mapping[Any, Any]) -> dict[Any, Any]:
    numbers: Counter[Any] = Counter()
    for key, count in table.items():
        numbers[_as_number(key)] += count
    return dict(numbers)


def _as_number(key: Any) -> Any:
    """Return the number that an outcome stands for; what stands for none as it is.

    >>> [_as_number(key) for key in ("0x5", "1 01", 5, "0b101")]
    [5, 5, 5, 5]
    """
    try:
        return int(key.replace(" ", ""), 16 if key.startswith("0x") else 2) if isinstance(key, str) else index(key)
    except (ValueError, TypeError):
        return key


def read_counts(data: Sequence[Any], *, widths: Sequence[int], shots: int, seed: int = 0) -> Counts:
    """Return the counts that a provider reported for the circuits of one slice.

    Fewer shots than were asked for are taken as they are: a device may lose some, and counts say how many there are.
    From probabilities as many samples are drawn as were asked for, and the counts say with which seed.

    Args:
        data: ``ExperimentResult.data`` of each circuit, in order.
        widths: Classical bits of each circuit; all outcomes are packed to the widest.
        shots: Shots that were asked for.
        seed: Draws samples, where the backend gives probabilities.

    Raises:
        ProviderError: There are neither counts nor memory, they have another width, or there are too many or no shots;
            ``Transient``: all of a few shots were lost.
    """
    tables = [_counts_or_memory(item, shots) for item in data]
    drawn = [place for place, table in enumerate(tables) if are_probabilities(table, shots)]
    for place in drawn:
        tables[place] = draw(tables[place], shots, [seed, place])
    ends = np.cumsum(np.array([len(table) for table in tables]))
    counts = _whole_numbers(chain.from_iterable(table.values() for table in tables), int(ends[-1]))
    outcomes = np.zeros((len(counts), num_bytes(max(widths))), dtype=np.uint8)
    for width in sorted(set(widths)):
        _place(outcomes, tables, np.array(widths) == width, ends, width)
    read = Counts(outcomes, counts, ends, seed if drawn else None)
    received = read.shots
    if received.min() == 0 or received.max() > shots:
        raise ProviderError(f"The backend returned {received.min()} to {received.max()} shots of {shots}.")
    return read


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


#: So few shots may all be lost where a device loses some.
_FEW_SHOTS = 20


def _counts_or_memory(item: Any, shots: int) -> Mapping[Any, Any]:
    """Return how often each outcome was seen, without shots of which a qubit was lost."""
    if not _has_some(item):
        if shots <= _FEW_SHOTS and not (getattr(item, "counts", None) is getattr(item, "memory", None) is None):
            raise Transient(f"The backend lost all of {shots} shots.")
        raise ProviderError(
            "The backend returned neither counts nor memory for a circuit that measures. "
            "Run the circuit on it by hand and look at result().data()."
        )
    table = getattr(item, "counts", None) or Counter(item.memory)
    lost = _lost(table)
    if lost and len(lost) == len(table):
        kind = Transient if shots <= _FEW_SHOTS else ProviderError
        raise kind(f"The backend lost a qubit in every shot: {lost[0]!r} is one of its outcomes.")
    return {key: table[key] for key in table if key not in lost} if lost else table


def _lost(table: Mapping[Any, Any]) -> list[str]:
    """Return the outcomes of shots of which a qubit was lost; numbers cannot say that."""
    first = next(iter(table))
    if not isinstance(first, str) or first[1:2] == "x":
        return []
    return [key for key in table if isinstance(key, str) and _is_lost(key)]


def _has_some(item: Any) -> bool:
    memory = getattr(item, "memory", None)
    return bool(getattr(item, "counts", None)) or (memory is not None and len(memory) > 0)


def _is_lost(key: str) -> bool:
    """Return whether a bitstring says that a qubit was lost: ``-`` or ``2`` in the place of a bit.

    >>> [_is_lost(key) for key in ("01-", "2 1", "0x2", "-", "101", "-1")]
    [True, True, False, True, False, True]
    """
    return key[1:2] != "x" and ("-" in key or "2" in key) and not key.strip("012- ")


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


def _whole_numbers(counts: Iterable[Any], length: int) -> NDArray[np.int64]:
    try:
        values = np.fromiter(counts, dtype=float, count=length)
    except (ValueError, TypeError) as error:
        raise ProviderError(f"The backend returned counts that are not numbers: {error}.") from error
    if not np.all((values >= 0) & (values == np.round(values))):
        raise ProviderError("The backend returned counts that are no whole numbers, nor probabilities.")
    return values.astype(np.int64)


def _check_shots(got: int, asked: int) -> None:
    if got != asked:
        raise ProviderError(f"The backend returned {got} of {asked} shots. Lower max_shots if it caps them silently.")


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
