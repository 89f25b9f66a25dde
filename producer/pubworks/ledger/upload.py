"""A job as it is sent to a server: the PUBs of a user, which the server plans itself."""

from __future__ import annotations

import io
import json
import math
import os
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.lib import format as npy

from pubworks.codec.arrays import decompressed, size_of
from pubworks.codec.circuits import MAX_QPY_BYTES

if TYPE_CHECKING:
    from qiskit.primitives.containers.estimator_pub import EstimatorPub
    from qiskit.primitives.containers.sampler_pub import SamplerPub

    from pubworks.ledger.contract import Pubs
    from pubworks.store.records import JobDraft

#: Most parameter values of a PUB that stand in the text; more are a file.
_MOST_IN_TEXT = 64

#: Values that are sent at once.
_CHUNK = 1 << 15


class Part:
    """A file that HTTPX can send: its length is known, and its bytes are made while they are read.

    Args:
        size: How many bytes it has.
        chunks: Makes them, from the start.
    """

    def __init__(self, size: int, chunks: Callable[[], Iterator[bytes]]) -> None:
        self._size, self._chunks = size, chunks
        self._left: Iterator[bytes] = iter(())

    def tell(self) -> int:
        """Return where it stands: at the start, for nobody asks once it is read."""
        return 0

    def seek(self, _offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to the start; or tell how far the end is."""
        self._left = self._chunks()
        return self._size if whence == os.SEEK_END else 0

    def read(self, _size: int) -> bytes:
        """Return some of the next bytes; none at the end."""
        return next(self._left, b"")


def files_of(draft: JobDraft, pubs: Pubs, key: str | None) -> list[tuple[str, tuple[str, bytes | Part]]]:
    """Return the parts of an upload: the circuits by their hash, values, and ``job``.

    Args:
        draft: The job; its circuits are sent, and its plan is not.
        pubs: The coerced PUBs that it was made from.
        key: Makes this upload and a second one of it one job.
    """
    parts: dict[str, bytes | Part] = {
        name: Part(size_of(data, MAX_QPY_BYTES), partial(decompressed, data)) for name, data in draft.circuits.items()
    }
    asked = [
        _asked(position, pub, stored.circuit, parts)
        for position, (pub, stored) in enumerate(zip(pubs, draft.pubs, strict=True))
    ]
    job = {
        "primitive": draft.primitive, "backend": draft.backend, "options": draft.options, "name": draft.name,
        "tags": list(draft.tags), "session": draft.session, "idempotency_key": key, "pubs": asked,
    }  # fmt: skip
    parts["job"] = json.dumps(job).encode()
    return [(name, (name, part)) for name, part in parts.items()]


def _asked(
    position: int, pub: SamplerPub | EstimatorPub, circuit: str, parts: dict[str, bytes | Part]
) -> dict[str, Any]:
    bindings = pub.parameter_values
    asked: dict[str, Any] = {"circuit": circuit}
    if pub.circuit.num_parameters:
        asked["values"] = _values(f"values{position}", pub, parts)
    elif bindings.shape:
        asked["shape"] = list(bindings.shape)
    if hasattr(pub, "observables"):
        return {**asked, "observables": pub.observables.tolist(), "precision": float(pub.precision)}
    return {**asked, "shots": int(pub.shots)}


def _values(name: str, pub: SamplerPub | EstimatorPub, parts: dict[str, bytes | Part]) -> str | list[Any]:
    shape = (*pub.parameter_values.shape, pub.circuit.num_parameters)
    size, head = math.prod(shape), io.BytesIO()
    values = partial(pub.parameter_values.as_array, pub.circuit.parameters)
    if 0 < size <= _MOST_IN_TEXT:
        listed: list[Any] = values().tolist()
        return listed
    npy.write_array_header_1_0(head, {"descr": "<f8", "fortran_order": False, "shape": shape})
    parts[name] = Part(len(head.getvalue()) + 8 * size, partial(_npy, head.getvalue(), values))
    return name


def _npy(head: bytes, values: Callable[[], np.ndarray]) -> Iterator[bytes]:
    yield head
    flat = values().astype("<f8", copy=False).reshape(-1)
    for start in range(0, flat.size, _CHUNK):
        yield flat[start : start + _CHUNK].tobytes()
