"""What providers return is read the same in every style, and refused when it cannot be right."""

from __future__ import annotations

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
)  # fmt: skip
from pubworks.errors import ProviderError, StoreError


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
        ([memory("0x1", "0x0")], "2 of 4 shots"),
        ([memory(*["0x1"] * 4), memory(*["0x1"] * 5)], "5 of 4 shots"),
        ([counts(_0x1=3)], "3 of 4 shots"),
        ([counts(_0x1=2.5, _0x0=1.5)], "probabilities"),
        ([counts(_0x1=0.5, _0x0=0.5)], "probabilities"),
        ([counts(_0x1=-1, _0x0=5)], "probabilities"),
        ([counts(_0x1=float("nan"))], "probabilities"),
        ([counts(_0x1="many")], "not numbers"),
        ([counts(_0xff=4)], "where 2 classical bits were measured"),
        ([SimpleNamespace()], "neither memory nor counts"),
        ([SimpleNamespace(memory=[], counts={})], "neither memory nor counts"),
        ([memory(*["0x1"] * 4), SimpleNamespace()], "neither memory nor counts"),
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
