"""The result of one PUB as bytes, and back as Qiskit's own types."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pubworks.codec.arrays import pack, unpack

if TYPE_CHECKING:
    from qiskit.primitives import SamplerPubResult


@dataclass(frozen=True)
class Field:
    """One entry of a PUB's data: a register's samples, or an array of numbers."""

    name: str
    #: Bits: shape (*pub, shots, bytes), uint8. Numbers: shape (*pub, …).
    array: np.ndarray
    #: Width of the register; None where the array is numbers.
    num_bits: int | None = None


def encode(shape: tuple[int, ...], fields: list[Field], metadata: Mapping[str, Any]) -> bytes:
    """Return the result of one PUB as bytes; equal input gives equal bytes."""
    names = [[field.name, field.num_bits] for field in fields]
    return pack({"shape": shape, "fields": names, "metadata": metadata}, [field.array for field in fields])


def decode_sampler(data: bytes) -> SamplerPubResult:
    """Return the result of one Sampler PUB."""
    from qiskit.primitives import BitArray, DataBin, SamplerPubResult

    header, arrays = unpack(data)
    values = {
        name: array if num_bits is None else BitArray(array, num_bits)
        for (name, num_bits), array in zip(header["fields"], arrays, strict=True)
    }
    return SamplerPubResult(DataBin(**values, shape=tuple(header["shape"])), metadata=header["metadata"])
