"""From a claim to circuits that can be run: load, decode, bind."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from qiskit import QuantumCircuit

from pubworks.backends.adapter import Adapter
from pubworks.codec import circuits as circuit_codec
from pubworks.codec.outcomes import Outcomes, read_counts, read_outcomes
from pubworks.store import jobs
from pubworks.store.records import Claim, Slice
from pubworks.store.store import Store
from pubworks.worker.inputs import LoadedPub, cache_of
from pubworks.worker.measuring import measured


@dataclass(frozen=True)
class Work:
    """A claimed batch, ready for ``backend.run``."""

    claim: Claim
    pubs: dict[int, LoadedPub]
    templates: dict[str, QuantumCircuit]

    @property
    def wants_memory(self) -> bool:
        """Whether some PUB is made of single shots; expectation values are made of counts."""
        return any(pub.plan is None for pub in self.pubs.values())

    def circuits(self, adapter: Adapter) -> list[QuantumCircuit]:
        """Return the bound circuits of all slices, in order, as the backend is to run them."""
        return [circuit for piece in self.claim.slices for circuit in self._bind(piece, adapter)]

    def read(self, data: list[Any]) -> list[Outcomes]:
        """Return the outcomes per slice from what the provider returned per circuit.

        Raises:
            ProviderError: The provider's answer cannot be understood.
        """
        chunks, start = [], 0
        for piece in self.claim.slices:
            end = start + piece.num_circuits
            chunks.append(self._read_slice(piece, data[start:end]))
            start = end
        return chunks

    def covered_alone(self) -> Iterator[tuple[int, int]]:
        """Yield (position of the slice, PUB) of the PUBs that this batch covers without any other."""
        for position, piece in enumerate(self.claim.slices):
            pub = self.pubs[piece.pub]
            if piece.num_circuits == pub.size and self.claim.shots == pub.shots:
                yield position, piece.pub

    def _bind(self, piece: Slice, adapter: Adapter) -> list[QuantumCircuit]:
        pub = self.pubs[piece.pub]
        template = self.templates[pub.circuit]
        if pub.plan is not None:
            return measured(template, pub.values, pub.plan, piece, adapter)
        if pub.values is None:
            return [template] * piece.num_circuits
        return [template.assign_parameters(row) for row in pub.values[piece.first : piece.end]]

    def _read_slice(self, piece: Slice, data: list[Any]) -> Outcomes:
        pub = self.pubs[piece.pub]
        readout = pub.readout
        if pub.plan is not None:
            widths = readout["num_clbits"] + pub.plan.widths[pub.plan.settings[piece.first : piece.end]]
            return read_counts(data, widths=widths.tolist(), shots=self.claim.shots)
        return read_outcomes(
            data,
            num_clbits=readout["num_clbits"],
            shots=self.claim.shots,
            measures=readout["measures"],
            meas_level=self.claim.run_options.get("meas_level") or 2,
        )


def prepare(store: Store, claim: Claim) -> Work:
    """Load what a claimed batch needs."""
    positions = sorted({piece.pub for piece in claim.slices})
    pubs = cache_of(store).get(store, claim.job_id, positions)
    with store.read() as connection:
        qpy = jobs.load_circuits(connection, sorted({pub.circuit for pub in pubs.values()}))
    templates = {key: _decode(data) for key, data in qpy.items()}
    return Work(claim, pubs, templates)


@lru_cache(maxsize=64)
def _decode(qpy: bytes) -> QuantumCircuit:
    return circuit_codec.decode(qpy)
