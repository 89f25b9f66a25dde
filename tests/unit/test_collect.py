"""Merging gives the same bytes however a PUB was cut, and the bits that a register names."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pubworks.codec.outcomes import Counts, Kerneled, Memory, num_bytes
from pubworks.codec.results import Field, decode, encode
from pubworks.collector import collect as collector
from pubworks.collector.collect import SHOT_ORDER_LOST, Part, merge, merge_alone, read_chunks
from pubworks.store.records import StoredChunk, StoredPub


@st.composite
def pubs(draw: st.DrawFn, min_size: int = 0) -> StoredPub:
    """Return a PUB with registers over any bits in any order, repeated ones too."""
    num_clbits = draw(st.integers(1, 40))
    shape = draw(st.sampled_from([(), (1,), (2,), (4,), (2, 3), (1, 2, 2), (0,), (2, 0)]))
    size = int(np.prod(shape))
    if size < min_size:
        shape, size = (2,), 2
    names = draw(st.lists(st.sampled_from(["a", "b", "c", "z"]), unique=True, max_size=4))
    bits = st.lists(st.integers(0, num_clbits - 1), max_size=num_clbits)
    registers = [[name, draw(bits | st.just(list(range(num_clbits))))] for name in names]
    readout = {"num_clbits": num_clbits, "measures": True, "registers": registers}
    shots = draw(st.integers(1, 9))
    return StoredPub(draw(st.integers(0, 3)), "hash", shape, size, shots, None, readout, {"tag": "x"})


def joint_bits(pub: StoredPub, seed: int) -> np.ndarray:
    """Return random joint outcomes, one bit per element; shape (size, shots, clbits), bit 0 first."""
    shape = (pub.size, pub.shots, pub.readout["num_clbits"])
    return np.random.default_rng(seed).integers(0, 2, shape, dtype=np.uint8)


def pack(bits: np.ndarray) -> np.ndarray:
    """Pack bits, the first as the least significant one, one by one."""
    size = num_bytes(bits.shape[-1])
    packed = np.zeros((*bits.shape[:-1], size), dtype=np.uint8)
    for index in np.ndindex(bits.shape):
        *where, bit = index
        packed[(*where, size - 1 - bit // 8)] |= bits[index] << (bit % 8)
    return packed


def cut(data: st.DataObject, pub: StoredPub) -> list[tuple[slice, slice]]:
    """Return rectangles of circuits x shots that cover a PUB, in any order."""
    pieces: list[tuple[slice, slice]] = []

    def split(circuits: slice, shots: slice) -> None:
        where = data.draw(st.sampled_from(["stop", "circuits", "shots"]))
        axis = {"circuits": circuits, "shots": shots}.get(where)
        if axis is None or axis.stop - axis.start < 2:
            pieces.append((circuits, shots))
            return
        at = data.draw(st.integers(axis.start + 1, axis.stop - 1))
        for part in (slice(axis.start, at), slice(at, axis.stop)):
            split(*((part, shots) if where == "circuits" else (circuits, part)))

    if pub.size:
        split(slice(0, pub.size), slice(0, pub.shots))
    return data.draw(st.permutations(pieces))


def part(circuits: slice, shots: slice, outcomes: Any) -> Part:
    return Part(circuits.start, circuits.stop, shots.start, shots.stop - shots.start, outcomes)


def as_counts(packed: np.ndarray) -> Counts:
    """Return what a backend that counts would have given for packed outcomes."""
    tables = [np.unique(circuit, axis=0, return_counts=True) for circuit in packed]
    keys, counts = (np.concatenate(items) for items in zip(*tables, strict=True))
    return Counts(keys, counts, np.cumsum([len(table) for table, _ in tables]))


@given(pubs(), st.integers(0, 99), st.data())
def test_the_cut_does_not_show(pub: StoredPub, seed: int, data: st.DataObject) -> None:
    packed = pack(joint_bits(pub, seed))
    whole = merge_alone(pub, Memory(packed)) if pub.size else merge(pub, [])
    parts = [part(c, s, Memory(packed[c, s])) for c, s in cut(data, pub)]
    assert merge(pub, parts) == whole
    assert merge(pub, parts) == whole


@given(pubs(), st.integers(0, 99))
def test_a_register_holds_its_own_bits(pub: StoredPub, seed: int) -> None:
    bits = joint_bits(pub, seed)
    found = decode(merge_alone(pub, Memory(pack(bits)))).data
    assert list(found) == [name for name, _ in pub.readout["registers"]]
    for name, places in pub.readout["registers"]:
        expected = pack(bits[..., places]).reshape(*pub.shape, pub.shots, num_bytes(len(places)))
        assert found[name].num_bits == len(places)
        assert found[name].array.shape == expected.shape
        assert np.array_equal(found[name].array, expected)


@given(pubs(), st.integers(0, 99))
def test_blocks_of_a_large_pub_do_not_show(pub: StoredPub, seed: int) -> None:
    packed, limit = pack(joint_bits(pub, seed)), collector._UNPACKED_BYTES
    whole = merge_alone(pub, Memory(packed))
    try:
        collector._UNPACKED_BYTES = 1
        assert merge_alone(pub, Memory(packed)) == whole
    finally:
        collector._UNPACKED_BYTES = limit


@given(pubs(min_size=1), st.integers(0, 99), st.data())
def test_counts_keep_every_outcome_and_lose_the_order(pub: StoredPub, seed: int, data: st.DataObject) -> None:
    packed = pack(joint_bits(pub, seed))
    pub = everything(pub)
    parts = [part(c, s, as_counts(packed[c, s])) for c, s in cut(data, pub)]
    stored = merge(pub, parts)
    assert merge(pub, parts[::-1]) == stored
    result = decode(stored)
    assert result.metadata["shot_order"] == SHOT_ORDER_LOST
    found = result.data["all"].array.reshape(packed.shape)
    for piece in parts:  # each run keeps its own place, so that registers stay correlated and parts apart
        circuits, shots = slice(piece.first, piece.end), slice(piece.first_shot, piece.first_shot + piece.shots)
        for one, two in zip(found[circuits, shots], packed[circuits, shots], strict=True):
            assert sorted(map(bytes, one)) == sorted(map(bytes, two))


def everything(pub: StoredPub) -> StoredPub:
    every = [["all", list(range(pub.readout["num_clbits"]))]]
    return StoredPub(**{**vars(pub), "readout": {**pub.readout, "registers": every}})


@given(pubs(min_size=1), st.integers(0, 99), st.data())
def test_memory_and_counts_of_one_pub_mix(pub: StoredPub, seed: int, data: st.DataObject) -> None:
    packed = pack(joint_bits(pub, seed))
    parts = [
        part(c, s, as_counts(packed[c, s]) if data.draw(st.booleans()) else Memory(packed[c, s]))
        for c, s in cut(data, pub)
    ]
    result = decode(merge(pub, parts))
    assert ("shot_order" in result.metadata) == any(isinstance(piece.outcomes, Counts) for piece in parts)


@pytest.mark.parametrize("shape", [(), (3,), (2, 2)])
@given(data=st.data())
def test_level_one_in_any_cut(shape: tuple[int, ...], data: st.DataObject) -> None:
    pub = level_one_pub(shape)
    values = np.random.default_rng(3).normal(size=(pub.size, pub.shots, 2)) + 1j
    whole = merge_alone(pub, Kerneled(values))
    parts = [part(c, s, Kerneled(values[c, s])) for c, s in cut(data, pub)]
    assert merge(pub, parts) == whole
    found = decode(whole).data
    for name in ("a", "b"):
        assert np.array_equal(found[name], values.reshape(*shape, pub.shots, 2))


@pytest.mark.parametrize("shape", [(), (3,), (2, 2)])
@given(data=st.data())
def test_level_one_averages_are_weighted_by_shots(shape: tuple[int, ...], data: st.DataObject) -> None:
    pub = level_one_pub(shape)
    values = np.random.default_rng(3).normal(size=(pub.size, pub.shots, 2)) + 1j
    parts = [part(c, s, Kerneled(values[c, s].mean(axis=1))) for c, s in cut(data, pub)]
    found = decode(merge(pub, parts)).data["a"]
    assert found.shape == (*shape, 2)
    assert np.allclose(found, values.mean(axis=1).reshape(*shape, 2))
    assert merge(pub, parts[::-1]) == merge(pub, parts)


def level_one_pub(shape: tuple[int, ...]) -> StoredPub:
    readout = {"num_clbits": 2, "measures": True, "registers": [["a", [0, 1]], ["b", [1]]]}
    return StoredPub(0, "hash", shape, int(np.prod(shape)), 7, None, readout, None)


def test_stored_chunks_are_read_as_parts() -> None:
    packed = np.arange(6, dtype=np.uint8).reshape(2, 3, 1)
    (found,) = read_chunks([StoredChunk(4, 6, 10, 3, Memory(packed).to_bytes())])
    assert (found.first, found.end, found.first_shot, found.shots) == (4, 6, 10, 3)
    assert isinstance(found.outcomes, Memory)
    assert np.array_equal(found.outcomes.bits, packed)


@given(
    st.sampled_from([(), (2,), (2, 1), (0,)]),
    st.dictionaries(st.sampled_from(["a", "Ψ", "meas"]), st.integers(0, 20), max_size=3),
)
def test_a_result_comes_back(shape: tuple[int, ...], widths: dict[str, int]) -> None:
    bits = {name: np.ones((*shape, 5, num_bytes(width)), dtype=np.uint8) for name, width in widths.items()}
    values = np.arange(int(np.prod(shape))).reshape(shape) * 1j
    fields = [Field(name, bits[name], width) for name, width in widths.items()] + [Field("evs", values)]
    metadata = {"shots": 5, "circuit_metadata": {"a": [1, None]}}
    result = decode(encode(shape, fields, metadata))
    assert result.metadata == metadata
    assert result.data.shape == shape
    assert list(result.data) == [*widths, "evs"]
    assert result.data["evs"].shape == shape
    assert np.array_equal(result.data["evs"], values)
    for name, width in widths.items():
        assert (result.data[name].num_bits, result.data[name].shape) == (width, shape)
        assert np.array_equal(result.data[name].array, bits[name])
