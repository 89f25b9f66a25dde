"""From a claim to circuits that can be run: load, decode, bind."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from qiskit import QuantumCircuit

from pubworks.backends.adapter import Adapter
from pubworks.codec import circuits as circuit_codec
from pubworks.codec.readout import rewrite
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
    store: Store

    @property
    def templates(self) -> dict[str, QuantumCircuit]:
        """The circuits by content hash, parameters unbound."""
        return load_templates(self.store, {pub.circuit for pub in self.pubs.values()})

    @property
    def wants_memory(self) -> bool:
        """Whether some PUB is made of single shots; expectation values are made of counts."""
        return any(pub.plan is None for pub in self.pubs.values())

    @property
    def level(self) -> int:
        """Measurement level: 2 for bits, 1 for complex values."""
        return self.claim.run_options.get("meas_level") or 2

    def circuits(self, adapter: Adapter) -> list[QuantumCircuit]:
        """Return the bound circuits of all slices, in order, as the backend is to run them."""
        templates = self.templates
        bound = [circuit for piece in self.claim.slices for circuit in self._bind(piece, adapter, templates)]
        return adapter.prepare(bound)

    def covered_alone(self) -> Iterator[tuple[int, int]]:
        """Yield (position of the slice, PUB) of the PUBs that this batch covers without any other."""
        for position, piece in enumerate(self.claim.slices):
            pub = self.pubs[piece.pub]
            if piece.num_circuits == pub.size and self.claim.shots == pub.shots:
                yield position, piece.pub

    def _as_read_out(self, pub: LoadedPub, template: QuantumCircuit) -> QuantumCircuit:
        """Return a circuit in the form in which it is read out: at level 1 its own, as slots are not bits."""
        measured_bits = pub.readout.get("measured")
        return template if measured_bits is None or self.level == 1 else rewrite(template, measured_bits)

    def _bind(self, piece: Slice, adapter: Adapter, templates: dict[str, QuantumCircuit]) -> list[QuantumCircuit]:
        pub = self.pubs[piece.pub]
        template = self._as_read_out(pub, templates[pub.circuit])
        if pub.plan is not None:
            return measured(template, pub.values, pub.plan, piece, adapter)
        if pub.values is None:
            return [template] * piece.num_circuits
        return [template.assign_parameters(row) for row in pub.values[piece.first : piece.end]]


def prepare(store: Store, claim: Claim) -> Work:
    """Load what a claimed batch needs."""
    return Work(claim, cache_of(store).get(store, claim.job_id, _positions([claim])), store)


def warm_up(store: Store, claims: Sequence[Claim], *, circuits: bool = True) -> None:
    """Load what several batches need, all at once, so that preparing each of them loads nothing."""
    for job_id in {claim.job_id for claim in claims}:
        positions = _positions([claim for claim in claims if claim.job_id == job_id])
        pubs = cache_of(store).get(store, job_id, positions)
        if circuits:
            load_templates(store, {pub.circuit for pub in pubs.values()})


#: Circuits by content hash, the last few that were used; they never change.
_templates: OrderedDict[str, QuantumCircuit] = OrderedDict()
_KEPT = 64


def load_templates(store: Store, hashes: set[str]) -> dict[str, QuantumCircuit]:
    """Return circuits by content hash; those that were not used lately are loaded."""
    known = {key: _templates.get(key) for key in hashes}
    found = {key: circuit for key, circuit in known.items() if circuit is not None}
    if missing := sorted(hashes - found.keys()):
        with store.read() as connection:
            qpy = jobs.load_circuits(connection, missing)
        found |= {key: circuit_codec.decode(data) for key, data in qpy.items()}
    with _keeping:
        _templates.update(found)
        while len(_templates) > _KEPT:
            _templates.popitem(last=False)
    return found


#: Runners have a thread each.
_keeping = threading.Lock()


def _positions(claims: Sequence[Claim]) -> list[int]:
    return sorted({piece.pub for claim in claims for piece in claim.slices})
