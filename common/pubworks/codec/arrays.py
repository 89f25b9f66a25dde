"""Several numpy arrays and a small JSON header as compressed bytes; never pickle.

The format is one zstandard frame around consecutive npy arrays, of which the first holds the header's JSON as uint8.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import zstandard
from numpy.lib import format as npy

from pubworks.errors import StoreError

#: Largest block that is unpacked, in bytes: a guard against compressed bombs.
MAX_BYTES = 4 << 30


def pack(header: Mapping[str, Any], arrays: Sequence[np.ndarray]) -> bytes:
    """Return header and arrays as bytes; equal input gives equal bytes.

    Raises:
        ValueError: An array holds Python objects.
    """
    buffer = io.BytesIO()
    text = json.dumps(header, sort_keys=True).encode()
    for array in (np.frombuffer(text, dtype=np.uint8), *arrays):
        npy.write_array(buffer, np.asarray(array, order="C"), allow_pickle=False)
    return compress(buffer.getvalue())


def unpack(data: bytes) -> tuple[dict[str, Any], list[np.ndarray]]:
    """Return what was given to :func:`pack`.

    Raises:
        StoreError: The bytes are not such a block.
    """
    raw = decompress(data)
    buffer, arrays = io.BytesIO(raw), []
    try:
        while buffer.tell() < len(raw):
            arrays.append(npy.read_array(buffer, allow_pickle=False))
        header = json.loads(arrays[0].tobytes())
        if not isinstance(header, dict):
            raise ValueError("its header is not a table")
    except Exception as error:  # made-up headers raise anything, MemoryError included
        raise StoreError(
            f"A stored block of arrays is damaged: {error}. Restore the database from a backup."
        ) from error
    return header, arrays[1:]


def compress(raw: bytes) -> bytes:
    """Return bytes as one zstandard frame with a checksum."""
    return zstandard.ZstdCompressor(level=1, write_checksum=True).compress(raw)


def decompress(data: bytes, limit: int = MAX_BYTES) -> bytes:
    """Return the bytes of one zstandard frame.

    Raises:
        StoreError: It is no such frame, or it would unpack to more than ``limit`` bytes.
    """
    size_of(data, limit)
    try:
        return zstandard.ZstdDecompressor().decompress(data, allow_extra_data=False)
    except (zstandard.ZstdError, MemoryError) as error:
        raise StoreError(f"A compressed block is damaged: {error}. Restore the database from a backup.") from error


def decompressed(data: bytes) -> Iterator[bytes]:
    """Yield the bytes of a frame of :func:`compress`, not many at once."""
    yield from zstandard.ZstdDecompressor().read_to_iter(data)


def size_of(data: bytes, limit: int = MAX_BYTES) -> int:
    """Return how many bytes a zstandard frame unpacks to.

    Raises:
        StoreError: It is no such frame, or they are more than ``limit``.
    """
    try:
        size = zstandard.frame_content_size(data)
    except zstandard.ZstdError as error:
        raise StoreError(f"A compressed block is damaged: {error}. Restore the database from a backup.") from error
    if not 0 <= size <= limit:
        raise StoreError(f"A compressed block of {size} bytes is over the limit of {limit}; it is refused.")
    return int(size)
