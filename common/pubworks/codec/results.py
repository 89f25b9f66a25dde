"""The result of one PUB as bytes, and back as Qiskit's own types."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pubworks.codec.arrays import pack, unpack

if TYPE_CHECKING:
    from qiskit.primitives import PubResult


@dataclass(frozen=True)
class Field:
    """One entry of a PUB's data: a register's samples, or an array of numbers."""

    name: str
    #: Bits: shape (*pub, shots, bytes), uint8. Numbers: shape (*pub, …).
    array: np.ndarray
    #: Width of the register; None where the array is numbers.
    num_bits: int | None = None


def encode(
    shape: tuple[int, ...], fields: list[Field], metadata: Mapping[str, Any], *, primitive: str = "sampler"
) -> bytes:
    """Return the result of one PUB as bytes; equal input gives equal bytes."""
    names = [[field.name, field.num_bits] for field in fields]
    header = {"primitive": primitive, "shape": shape, "fields": names, "metadata": metadata}
    return pack(header, [field.array for field in fields])


def decode(data: bytes) -> PubResult:
    """Return the result of one PUB; that of a Sampler has methods of its own."""
    from qiskit.primitives import BitArray, DataBin, PubResult, SamplerPubResult

    header, arrays = unpack(data)
    values = {
        name: array if num_bits is None else BitArray(array, num_bits)
        for (name, num_bits), array in zip(header["fields"], arrays, strict=True)
    }
    kind = PubResult if header["primitive"] == "estimator" else SamplerPubResult
    return kind(DataBin(**values, shape=tuple(header["shape"])), metadata=header["metadata"])
