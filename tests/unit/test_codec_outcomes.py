"""What providers return is read the same in every style, and refused when it cannot be right."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pubworks.codec.arrays import pack
from pubworks.codec.outcomes import (
    Counts,
    Kerneled,
    Memory,
    from_bytes,
    num_bytes,
    pack_bits,
    parse_outcomes,
    read_outcomes,
    spread,
)  # fmt: skip
from pubworks.errors import ProviderError, StoreError, Transient


@st.composite
def widths_and_outcomes(draw: st.DrawFn, min_size: int = 1) -> tuple[int, list[int]]:
    width = draw(st.integers(1, 200))
    return width, draw(st.lists(st.integers(0, 2**width - 1), min_size=min_size, max_size=20))


def expected(outcomes: list[int], width: int) -> list[bytes]:
    return [outcome.to_bytes(num_bytes(width), "big") for outcome in outcomes]


def rows(packed: np.ndarray) -> list[bytes]:
    assert packed.dtype == np.uint8
    return [bytes(row) for row in packed]


def spaced(bits: str, cuts: set[int]) -> str:
    return "".join(f" {bit}" if position in cuts else bit for position, bit in enumerate(bits))


@given(widths_and_outcomes(), st.data())
def test_every_style_means_the_same(case: tuple[int, list[int]], data: st.DataObject) -> None:
    width, outcomes = case
    cuts = data.draw(st.sets(st.integers(1, width - 1), max_size=4)) if width > 1 else set()
    bits = [format(outcome, f"0{width}b") for outcome in outcomes]
    styles: list[list[Any]] = [
        [hex(outcome) for outcome in outcomes],
        [bin(outcome) for outcome in outcomes],
        list(outcomes),
        bits,
        [spaced(key, cuts) for key in bits],
    ]
    if width < 63:
        styles.append(list(np.array(outcomes)))
    for keys in styles:
        assert rows(parse_outcomes(keys, width)) == expected(outcomes, width)


@given(widths_and_outcomes(), st.integers(0, 19))
def test_outcomes_of_another_width_are_refused(case: tuple[int, list[int]], place: int) -> None:
    width, outcomes = case
    wide = outcomes[:place] + [1 << width] + outcomes[place:]
    bits = [format(outcome, f"0{width}b") for outcome in outcomes]
    for keys in (
        [hex(outcome) for outcome in wide],
        [bin(outcome) for outcome in wide],
        wide,
        [*bits[:place], "0" * (width + 1), *bits[place:]],
        [*bits[:place], "0" * (width - 1), *bits[place:]],
    ):
        with pytest.raises(ProviderError, match=f"where {width} classical bits were measured"):
            parse_outcomes(keys, width)


@given(widths_and_outcomes(min_size=0), st.sampled_from([-1, None, "0xzz", "2", "yes", 1.5, 1j, b"1", "٣"]))
def test_nonsense_is_refused(case: tuple[int, list[int]], nonsense: Any) -> None:
    width, outcomes = case
    for keys in ([*outcomes, nonsense], [nonsense, *outcomes]):
        with pytest.raises(ProviderError):
            parse_outcomes(keys, width)


def test_no_outcomes_are_no_rows() -> None:
    assert parse_outcomes([], 9).shape == (0, 2)


@pytest.mark.parametrize("keys", [["0x0", "0x0"], [0, 0], ["", ""]])
def test_a_circuit_without_classical_bits_has_empty_outcomes(keys: list[Any]) -> None:
    assert parse_outcomes(keys, 0).shape == (2, 0)


@pytest.mark.parametrize("keys", [["0x1"], [1], ["1"]])
def test_an_outcome_without_classical_bits_is_refused(keys: list[Any]) -> None:
    with pytest.raises(ProviderError):
        parse_outcomes(keys, 0)


@given(st.lists(st.lists(st.integers(0, 1), min_size=11, max_size=11), min_size=1, max_size=5))
def test_packing_pads_on_the_left(bits: list[list[int]]) -> None:
    packed = pack_bits(np.array(bits, dtype=np.uint8))
    numbers = [int("".join(map(str, row)), 2) for row in bits]
    assert rows(packed) == [number.to_bytes(2, "big") for number in numbers]


def memory(*keys: Any) -> SimpleNamespace:
    return SimpleNamespace(memory=list(keys))


def counts(**of: Any) -> SimpleNamespace:
    return SimpleNamespace(counts={key.removeprefix("_"): value for key, value in of.items()})


@given(st.integers(1, 70), st.data())
def test_memory_round_trip(width: int, data: st.DataObject) -> None:
    outcome = st.integers(0, 2**width - 1)
    table = data.draw(st.lists(st.lists(outcome, min_size=3, max_size=3), min_size=1, max_size=4))
    read = read_outcomes([memory(*map(hex, row)) for row in table], num_clbits=width, shots=3, measures=True)
    assert isinstance(read, Memory)
    assert [rows(block) for block in read.bits] == [expected(row, width) for row in table]
    again = from_bytes(read.to_bytes())
    assert isinstance(again, Memory)
    assert np.array_equal(again.bits, read.bits)


@given(st.integers(1, 70), st.data())
def test_counts_round_trip(width: int, data: st.DataObject) -> None:
    distinct = st.lists(st.integers(0, 2**width - 1), min_size=1, max_size=4, unique=True)
    tables = data.draw(st.lists(distinct, min_size=1, max_size=4))
    shots = 10
    parts = []
    for keys in tables:
        numbers = [1] * len(keys)
        numbers[-1] += shots - len(keys)
        parts.append(dict(zip(keys, numbers, strict=True)))
    answer = [SimpleNamespace(counts={hex(k): n for k, n in part.items()}) for part in parts]
    read = read_outcomes(answer, num_clbits=width, shots=shots, measures=True)
    assert isinstance(read, Counts)
    again = from_bytes(read.to_bytes())
    assert isinstance(again, Counts)
    for circuit, part in enumerate(parts):
        flat = [key for key, number in part.items() for _ in range(number)]
        assert rows(again.expand(circuit)) == expected(flat, width)


@pytest.mark.parametrize("shape", [(2, 5, 3, 2), (2, 3, 2)])
def test_level_one_round_trip(shape: tuple[int, ...]) -> None:
    values = np.random.default_rng(1).normal(size=shape)
    answer = [SimpleNamespace(memory=block.tolist()) for block in values]
    read = read_outcomes(answer, num_clbits=3, shots=5, measures=True, meas_level=1)
    again = from_bytes(read.to_bytes())
    assert isinstance(again, Kerneled)
    assert np.array_equal(again.values, values[..., 0] + 1j * values[..., 1])


@pytest.mark.parametrize(
    ("memories", "told"),
    [
        ([None], "no memory at meas_level 1"),
        ([np.zeros((4, 3, 2))], "4 of 5 shots"),
        ([np.zeros((5, 3, 2)), np.zeros((4, 3, 2))], "no array of numbers"),
        ([np.zeros((5, 3, 3))], "of shape"),
        ([np.zeros(2)], "of shape"),
        ([["0x1"] * 5], "no array of numbers"),
    ],
)
def test_level_one_of_another_form_is_refused(memories: list[Any], told: str) -> None:
    answer = [SimpleNamespace(memory=None if item is None else list(item)) for item in memories]
    with pytest.raises(ProviderError, match=told):
        read_outcomes(answer, num_clbits=3, shots=5, measures=True, meas_level=1)


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ([memory(*["0x1"] * 4), memory(*["0x1"] * 5)], "4 to 5 shots of 4"),
        ([counts(_0x1=5)], "5 to 5 shots of 4"),
        ([counts(_0x1=3), counts(_0x1=0)], "0 to 3 shots of 4"),
        ([counts(_0x1=-1, _0x0=5)], "nor probabilities"),
        ([counts(_0x1=-0.1, _0x0=1.1)], "nor probabilities"),
        ([counts(_0x1=0.5, _0x0=0.2)], "nor probabilities"),
        ([counts(_0x1=1.5, _0x0=9.5)], "nor probabilities"),
        ([counts(_0x1=1, _0x0=2.5)], "nor probabilities"),
        ([counts(_0x1=float("nan"))], "nor probabilities"),
        ([counts(_0x1=float("inf"))], "nor probabilities"),
        ([memory("1-", "--")], "lost a qubit in every shot"),
        ([counts(_0x1="many")], "not numbers"),
        ([counts(_0xff=4)], "where 2 classical bits were measured"),
        ([SimpleNamespace()], "neither counts nor memory"),
        ([SimpleNamespace(memory=[], counts={})], "lost all of 4 shots"),
        ([memory(*["0x1"] * 4), SimpleNamespace()], "neither counts nor memory"),
    ],
)
def test_an_answer_that_cannot_be_right_is_refused(answer: list[Any], told: str) -> None:
    with pytest.raises(ProviderError, match=told):
        read_outcomes(answer, num_clbits=2, shots=4, measures=True)


def test_a_circuit_that_never_measures_reads_zeros() -> None:
    read = read_outcomes([SimpleNamespace()] * 2, num_clbits=9, shots=4, measures=False)
    assert isinstance(read, Memory)
    assert read.bits.shape == (2, 4, 2)
    assert not read.bits.any()


def test_counts_as_whole_floats_are_counts() -> None:
    read = read_outcomes([counts(_0x1=3.0, _0x0=1.0)], num_clbits=1, shots=4, measures=True)
    assert isinstance(read, Counts)
    assert sorted(rows(read.expand(0))) == [b"\0", b"\1", b"\1", b"\1"]


@given(st.integers(1, 70), st.data())
def test_memory_is_believed_where_the_counts_say_the_same(width: int, data: st.DataObject) -> None:
    shots = data.draw(st.lists(st.integers(0, 2**width - 1), min_size=1, max_size=9))
    styles = st.sampled_from([hex, bin, int, lambda shot: format(shot, f"0{width}b")])
    of_memory, of_counts = data.draw(styles), data.draw(styles)
    item = SimpleNamespace(memory=list(map(of_memory, shots)), counts=dict(Counter(map(of_counts, shots))))
    read = read_outcomes([item], num_clbits=width, shots=len(shots))
    assert isinstance(read, Memory)
    assert rows(read.bits[0]) == expected(shots, width)
    item.memory = [of_memory(0)] * len(shots)  # as a backend gives that does not keep it
    again = read_outcomes([item], num_clbits=width, shots=len(shots))
    told = rows(again.bits[0] if isinstance(again, Memory) else again.expand(0))
    assert sorted(told) == sorted(expected(shots, width))


@given(st.lists(st.sampled_from(["00", "01", "10", "1-", "-0", "22", "2 1"]), min_size=1, max_size=9), st.booleans())
def test_shots_that_lost_a_qubit_are_dropped(shots: list[str], as_memory: bool) -> None:
    kept = [shot for shot in shots if not set(shot) & set("-2")]
    item = SimpleNamespace(memory=shots) if as_memory else SimpleNamespace(counts=dict(Counter(shots)))
    if not kept:
        with pytest.raises(Transient, match="lost a qubit in every shot"):
            read_outcomes([item], num_clbits=2, shots=len(shots))
        item = SimpleNamespace(memory=shots * 21)
        with pytest.raises(ProviderError, match="lost a qubit in every shot"):
            read_outcomes([item], num_clbits=2, shots=21 * len(shots))
        return
    read = read_outcomes([item], num_clbits=2, shots=len(shots))
    told = rows(read.bits[0] if isinstance(read, Memory) else read.expand(0))
    assert sorted(told) == sorted(expected([int(shot, 2) for shot in kept], 2))


def test_fewer_shots_come_as_counts() -> None:
    read = read_outcomes([memory("0x1", "0x0"), counts(_0x3=3)], num_clbits=2, shots=4)
    assert isinstance(read, Counts)
    assert read.shots.tolist() == [2, 3]


@pytest.mark.parametrize(
    "answer",
    [
        {"0x0": 0.25, "0x1": 0.75},
        {"00": 250.0, "01": 751.0},
        {"00": 249.6, "01": 750.4},
        {"0 0": np.float64(250), "0 1": np.float64(749)},
    ],
)
def test_probabilities_and_what_was_rounded_from_them_are_drawn_from_once(answer: dict[str, float]) -> None:
    items = [SimpleNamespace(counts=answer), SimpleNamespace(counts={list(answer)[1]: 1.0})]
    read = read_outcomes(items, num_clbits=2, shots=1000, seed=5)
    assert isinstance(read, Counts)
    assert read.drawn_with == 5
    assert read.shots.tolist() == [1000, 1000]
    assert 150 < read.counts[0] < 350
    again = read_outcomes(items, num_clbits=2, shots=1000, seed=5)
    assert again.to_bytes() == read.to_bytes()
    assert from_bytes(read.to_bytes()).drawn_with == 5  # type: ignore[union-attr]


@given(st.integers(0, 12), st.data())
def test_bits_are_spread_to_their_places(num_clbits: int, data: st.DataObject) -> None:
    places = data.draw(st.permutations(range(num_clbits)))[: data.draw(st.integers(0, num_clbits))]
    shots = data.draw(st.lists(st.integers(0, 2 ** len(places) - 1), min_size=1, max_size=5))
    narrow = read_outcomes([memory(*map(hex, shots))], num_clbits=len(places), shots=len(shots))
    wide = spread(narrow, places, num_clbits)
    assert isinstance(wide, Memory)
    numbers = [sum((shot >> bit & 1) << place for bit, place in enumerate(places)) for shot in shots]
    assert rows(wide.bits[0]) == expected(numbers, num_clbits)


@pytest.mark.parametrize(
    "stored",
    [
        pack({}, []),
        pack({"kind": "memory"}, []),
        pack({"kind": "shadows"}, [np.zeros(1)]),
        pack({"kind": ["memory"]}, [np.zeros(1)]),
    ],
)
def test_a_chunk_of_no_known_kind_is_told(stored: bytes) -> None:
    with pytest.raises(StoreError, match="unknown kind"):
        from_bytes(stored)
