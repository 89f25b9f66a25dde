"""Blocks of arrays come back as they were, and damaged ones are told, never believed."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.lib import format as npy

from pubworks.codec import arrays as codec
from pubworks.codec.arrays import compress, decompress, pack, unpack
from pubworks.errors import StoreError

numeric = hnp.boolean_dtypes() | hnp.scalar_dtypes().filter(lambda dtype: dtype.kind in "biufc")
shapes = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5)
blocks = st.lists(hnp.arrays(numeric, shapes), max_size=4)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(), children, max_size=3),
    max_leaves=8,
)
headers = st.dictionaries(st.text(), json_values, max_size=4)

SAMPLE = pack({"kind": "memory", "n": 3}, [np.arange(40, dtype=np.uint8), np.zeros((2, 0)), np.ones(7)])


def same(one: np.ndarray, two: np.ndarray) -> bool:
    """Whether two arrays have equal type, shape and bytes (so NaN equals NaN)."""
    return (one.dtype, one.shape, one.tobytes()) == (two.dtype, two.shape, two.tobytes())


@given(headers, blocks)
def test_what_is_packed_comes_back(header: dict[str, object], arrays: list[np.ndarray]) -> None:
    found, unpacked = unpack(pack(header, arrays))
    assert found == header
    assert len(unpacked) == len(arrays)
    assert all(same(*pair) for pair in zip(arrays, unpacked, strict=True))


@given(hnp.arrays(numeric, hnp.array_shapes(min_dims=2, max_dims=3, max_side=4)))
def test_the_layout_in_memory_does_not_show(array: np.ndarray) -> None:
    assert pack({}, [np.asfortranarray(array)]) == pack({}, [np.ascontiguousarray(array)])
    assert pack({}, [array[::2]]) == pack({}, [array[::2].copy()])


def test_the_order_of_the_header_does_not_show() -> None:
    assert pack({"a": 1, "b": 2}, []) == pack({"b": 2, "a": 1}, [])


def test_python_objects_are_not_packed() -> None:
    with pytest.raises(ValueError, match="Object arrays"):
        pack({}, [np.array([{"a": 1}], dtype=object)])


def test_a_pickle_is_not_unpacked() -> None:
    buffer = io.BytesIO()
    npy.write_array(buffer, np.frombuffer(b"{}", dtype=np.uint8))
    npy.write_array(buffer, np.array([print], dtype=object), allow_pickle=True)
    with pytest.raises(StoreError, match="damaged"):
        unpack(compress(buffer.getvalue()))


@pytest.mark.parametrize("end", range(len(SAMPLE)))
def test_a_block_that_was_cut_is_told(end: int) -> None:
    with pytest.raises(StoreError):
        unpack(SAMPLE[:end])


def test_a_block_with_something_behind_it_is_told() -> None:
    with pytest.raises(StoreError):
        unpack(SAMPLE + b"\0")


@given(st.integers(0, len(SAMPLE) - 1), st.integers(1, 255))
def test_a_flipped_byte_is_told(position: int, flip: int) -> None:
    damaged = bytearray(SAMPLE)
    damaged[position] ^= flip
    try:
        header, arrays = unpack(bytes(damaged))
    except StoreError:
        return
    # A few bits of a frame's header carry no meaning: the content must be what it was.
    assert (header, [a.tobytes() for a in arrays]) == (unpack(SAMPLE)[0], [a.tobytes() for a in unpack(SAMPLE)[1]])


@given(st.binary(max_size=200))
def test_anything_else_is_told(data: bytes) -> None:
    with pytest.raises(StoreError):
        unpack(data)


@given(st.binary(max_size=200))
def test_anything_else_in_a_good_frame_is_told(data: bytes) -> None:
    with pytest.raises(StoreError):
        unpack(compress(data))


@given(st.integers(0, len(decompress(SAMPLE)) - 1), st.integers(1, 255))
def test_arrays_that_were_changed_inside_the_frame_raise_nothing_else(position: int, flip: int) -> None:
    raw = bytearray(decompress(SAMPLE))
    raw[position] ^= flip
    try:
        unpack(compress(bytes(raw)))
    except StoreError as error:
        assert "damaged" in str(error)  # noqa: PT017


@pytest.mark.parametrize("header", [[], "text", 3, None])
def test_a_header_that_is_no_table_is_told(header: object) -> None:
    buffer = io.BytesIO()
    npy.write_array(buffer, np.frombuffer(json.dumps(header).encode(), dtype=np.uint8))
    with pytest.raises(StoreError, match="damaged"):
        unpack(compress(buffer.getvalue()))


def test_a_bomb_is_refused_before_it_is_unpacked() -> None:
    bomb = zstandard.ZstdCompressor().compress(bytes(10 << 20))
    assert len(bomb) < 2000
    with pytest.raises(StoreError, match="over the limit of 1048576"):
        decompress(bomb, 1 << 20)


def test_a_frame_that_does_not_tell_its_size_is_refused() -> None:
    stream = zstandard.ZstdCompressor(write_content_size=False).compress(b"x" * 1000)
    with pytest.raises(StoreError, match="refused"):
        decompress(stream)


def test_an_array_that_claims_more_than_there_is_is_told() -> None:
    buffer = io.BytesIO()
    npy.write_array_header_2_0(buffer, {"descr": "<f8", "fortran_order": False, "shape": (1 << 60,)})
    with pytest.raises(StoreError, match="damaged"):
        unpack(compress(buffer.getvalue()))


def test_the_limit_of_a_block_holds_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    assert codec.MAX_BYTES == 4 << 30
