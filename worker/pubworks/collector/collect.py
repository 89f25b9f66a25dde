"""Merge: chunks -> the result of one PUB. A pure function of the chunks, so doing it twice gives the same bytes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pubworks.codec import outcomes as codec
from pubworks.codec.outcomes import Counts, Kerneled, Memory, Outcomes, num_bytes, pack_bits
from pubworks.codec.results import Field, encode
from pubworks.estimation.measurement import from_bytes
from pubworks.estimation.result import evaluate
from pubworks.store import jobs, results
from pubworks.store.records import StoredChunk, StoredPub
from pubworks.store.store import Store

SHOT_ORDER_LOST = "lost: the backend returned counts only, so shots are shuffled"

#: PUBs whose results are stored in one transaction.
_PUBS_AT_ONCE = 100

#: Bits that are unpacked at once, as bytes: bounds the memory of a merge.
_UNPACKED_BYTES = 64 << 20


def collect(store: Store, job_id: str, pubs: Sequence[int]) -> None:
    """Merge PUBs whose chunks are all stored, and store their results; harmless when done before."""
    for start in range(0, len(pubs), _PUBS_AT_ONCE):
        group = pubs[start : start + _PUBS_AT_ONCE]
        with store.read(together=True) as connection:
            stored = jobs.load_pubs(connection, job_id, group)
            merged = {
                pub: merge(stored[pub], read_chunks(results.iterate_chunks(connection, job_id, pub))) for pub in group
            }
        with store.write() as connection:
            results.store_results(connection, job_id, merged)


@dataclass(frozen=True)
class Part:
    """The outcomes of some circuits of a PUB, for some of its shots."""

    first: int
    end: int
    first_shot: int
    shots: int
    outcomes: Outcomes


def read_chunks(chunks: Iterable[StoredChunk]) -> Iterator[Part]:
    """Yield stored chunks, decoded one after the other."""
    for chunk in chunks:
        yield Part(**{**vars(chunk), "outcomes": codec.from_bytes(chunk.outcomes)})


def merge(pub: StoredPub, parts: Iterable[Part]) -> bytes:
    """Return the stored result of a PUB from all of its parts."""
    if pub.measurement is not None:
        outcomes = ((part.first, part.outcomes) for part in parts)
        return evaluate(from_bytes(pub.measurement), outcomes, shots=pub.shots, circuit_metadata=pub.circuit_metadata)
    parts = list(parts)
    metadata: dict[str, Any] = {"shots": pub.shots, "circuit_metadata": pub.circuit_metadata}
    if any(isinstance(part.outcomes, Kerneled) for part in parts):
        values = _join_kerneled(pub, parts)
        return encode(pub.shape, [Field(name, values) for name, _ in pub.readout["registers"]], metadata)
    metadata |= _notes(parts)
    joint = _join_bits(pub, parts)
    fields = [_register(pub, joint, name, bits) for name, bits in pub.readout["registers"]]
    return encode(pub.shape, fields, metadata)


def _notes(parts: Sequence[Part]) -> dict[str, Any]:
    """Return what is to be known about counts: that they are shuffled, drawn from probabilities, of several runs."""
    counts = [(part, part.outcomes) for part in parts if isinstance(part.outcomes, Counts)]
    lost = sum((part.end - part.first) * (of.asked - part.shots) for part, of in counts if of.asked is not None)
    drawn_with = sorted({of.drawn_with for _, of in counts if of.drawn_with is not None})
    notes = {"lost_shots": lost, "drawn_with_seeds": drawn_with}
    return {**({"shot_order": SHOT_ORDER_LOST} if counts else {}), **{key: note for key, note in notes.items() if note}}


def merge_alone(pub: StoredPub, outcomes: Outcomes) -> bytes:
    """Return the stored result of a PUB that one slice covers."""
    return merge(pub, [Part(0, pub.size, 0, pub.shots, outcomes)])


def _join_bits(pub: StoredPub, parts: Sequence[Part]) -> NDArray[np.uint8]:
    """Return the joint outcomes of all classical bits; shape (size, shots, bytes)."""
    joint = np.zeros((pub.size, pub.shots, num_bytes(pub.readout["num_clbits"])), dtype=np.uint8)
    for part in parts:
        shots = slice(part.first_shot, part.first_shot + part.shots)
        if isinstance(part.outcomes, Memory):
            joint[part.first : part.end, shots] = part.outcomes.bits
        elif isinstance(part.outcomes, Counts):
            for circuit in range(part.first, part.end):
                joint[circuit, shots] = _shuffled(pub, part, part.outcomes, circuit)[: part.shots]
    return joint


def _shuffled(pub: StoredPub, part: Part, counts: Counts, circuit: int) -> NDArray[np.uint8]:
    """Return one circuit's outcomes in an order that carries no meaning but is always the same."""
    generator = np.random.default_rng([pub.position, circuit, part.first_shot])
    return generator.permutation(counts.expand(circuit - part.first))


def _register(pub: StoredPub, joint: NDArray[np.uint8], name: str, bits: list[int]) -> Field:
    packed = joint if bits == list(range(pub.readout["num_clbits"])) else _select(joint, bits)
    return Field(name, packed.reshape(*pub.shape, *packed.shape[1:]), len(bits))


def _select(joint: NDArray[np.uint8], bits: list[int]) -> NDArray[np.uint8]:
    """Return some bits of the joint outcomes, the first of ``bits`` as the least significant one."""
    columns = [8 * joint.shape[-1] - 1 - bit for bit in reversed(bits)]
    rows = max(1, _UNPACKED_BYTES // max(1, 8 * joint[0].size if len(joint) else 1))
    blocks = [
        pack_bits(np.unpackbits(joint[start : start + rows], axis=-1)[..., columns])
        for start in range(0, len(joint), rows)
    ]
    empty = np.zeros((0, joint.shape[1], num_bytes(len(bits))), dtype=np.uint8)
    return np.concatenate([empty, *blocks])


def _join_kerneled(pub: StoredPub, parts: Sequence[Part]) -> NDArray[np.complex128]:
    """Return level-1 values, the shots of several runs in a row, or averaged by weight where each run averaged."""
    in_order = sorted(parts, key=lambda part: (part.first_shot, part.first))  # a sum of floats depends on it
    values = [(part, part.outcomes.values) for part in in_order if isinstance(part.outcomes, Kerneled)]
    averaged = values[0][1].ndim == 2
    shots = () if averaged else (pub.shots,)
    joint = np.zeros((pub.size, *shots, values[0][1].shape[-1]), dtype=complex)
    for part, block in values:
        if averaged:
            joint[part.first : part.end] += block * (part.shots / pub.shots)
        else:
            joint[part.first : part.end, part.first_shot : part.first_shot + part.shots] = block
    return joint.reshape(*pub.shape, *joint.shape[1:])
