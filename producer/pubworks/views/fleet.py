"""What is known of backends and workers, and its JSON."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pubworks.clock import iso

if TYPE_CHECKING:
    from pubworks.backends.spec import BackendSpec
    from pubworks.store.records import BackendFacts
    from pubworks.views.session import Session


@dataclass(frozen=True)
class BackendView:
    """A backend: what it is made from, what workers found out, and what goes on."""

    name: str
    #: None for one that is known to the database only.
    spec: BackendSpec | None
    facts: BackendFacts | None
    num_workers: int
    #: Batches that wait.
    waiting: int

    @property
    def status(self) -> str:
        """``ready``, ``failed``, ``changed``, ``new`` or ``unregistered``."""
        if self.spec is None:
            return "unregistered"
        if self.facts is None:
            return "new"
        if self.facts.spec != self.spec.digest:
            return "changed"
        return "failed" if self.facts.error else "ready"


def look_at_backends(session: Session) -> list[BackendView]:
    """Return the registered backends and those that have waiting batches, by name."""
    from pubworks.backends import registry
    from pubworks.store import fleet

    specs = registry.registered(session.settings)
    with session.store.read() as connection:
        facts = {item.name: item for item in fleet.list_backends(connection)}
        waiting = fleet.queue_depths(connection)
        workers = fleet.list_workers(connection, session.settings.lease_s)
    serving = Counter(name for worker in workers for name in worker.backends)
    return [
        BackendView(name, specs.get(name), facts.get(name), serving[name], waiting.get(name, 0))
        for name in sorted(specs.keys() | waiting.keys())
    ]


def look_at(session: Session, name: str) -> BackendView:
    """Return a registered backend.

    Raises:
        ConfigError: None has this name.
    """
    from pubworks.views.limits import check_name

    check_name(session, name)
    return next(view for view in look_at_backends(session) if view.name == name)


def document(view: BackendView) -> dict[str, Any]:
    """Return a backend as JSON values."""
    from pubworks.backends.spec import Limits
    from pubworks.store.records import BackendFacts

    bounds = view.spec.limits if view.spec else Limits()
    facts = view.facts or BackendFacts(view.name, "", None, None, None)
    return {
        "name": view.name,
        "status": view.status,
        "factory": view.spec.factory if view.spec else None,
        "num_qubits": facts.num_qubits,
        "max_circuits": min((n for n in (facts.max_circuits, bounds.max_circuits) if n), default=None),
        "max_shots": bounds.max_shots,
        "max_payload_bytes": bounds.max_payload_bytes,
        "error": facts.error,
        "described_at": iso(facts.described_at),
        "workers": view.num_workers,
        "waiting_batches": view.waiting,
    }


def in_full(view: BackendView) -> dict[str, Any]:
    """Return a registered backend with what it is set to, and what its provider taught, as JSON values."""
    assert view.spec is not None
    return {
        **document(view),
        "adapter": view.spec.adapter,
        "learned": learned(view),
        "policy": view.spec.policy.model_dump(mode="json"),
        "price": view.spec.price and view.spec.price.model_dump(exclude_unset=True),
    }


def learned(view: BackendView) -> dict[str, int]:
    """Return the limits that a backend's provider taught by refusing runs."""
    return (view.facts and view.facts.learned) or {}


def worker_document(row: Any) -> dict[str, Any]:
    """Return a worker that is alive as JSON values."""
    return {
        "id": row.id,
        "host": row.host,
        "pid": row.pid,
        "backends": list(row.backends),
        "concurrency": row.concurrency,
        "batches_held": row.holds,
        "embedded": row.embedded,
        "draining": row.draining,
        "started_at": iso(row.started_at),
        "seen_at": iso(row.seen_at),
        "silent_s": round(row.silent_s, 3),
    }
