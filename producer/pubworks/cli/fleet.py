"""``pubworks backends`` and ``workers``."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pubworks.cli import render
from pubworks.cli.jobs import AsJson
from pubworks.cli.session import Session, opened

if TYPE_CHECKING:
    from pubworks.backends.spec import BackendSpec
    from pubworks.store.records import BackendFacts


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


#: What each status of a backend means.
_LEGEND = {
    "new": "new: no worker has built it yet; the first one does.",
    "changed": "changed: its settings here are not those that the worker built it from; restart the worker.",
    "failed": "failed: `pubworks doctor` says why.",
    "unregistered": "unregistered: no pubworks.toml here names it.",
}


def backends(as_json: AsJson = False) -> None:
    """List the backends, and what workers found out about them."""
    with opened() as session:
        views = look_at_backends(session)
    if as_json:
        render.emit({"backends": [_document(view) for view in views]})
        return
    columns = ("NAME", "STATUS", "QUBITS", "MAX CIRCUITS", "MAX SHOTS", "WORKERS", "WAITING", "FACTORY")
    render.show(render.table(columns, [_row(view) for view in views]))
    for status in sorted({view.status for view in views} & set(_LEGEND)):
        render.say(_LEGEND[status])


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


def _document(view: BackendView) -> dict[str, Any]:
    from pubworks.backends.spec import Limits
    from pubworks.store.records import BackendFacts

    limits = view.spec.limits if view.spec else Limits()
    facts = view.facts or BackendFacts(view.name, "", None, None, None)
    return {
        "name": view.name,
        "status": view.status,
        "factory": view.spec.factory if view.spec else None,
        "num_qubits": facts.num_qubits,
        "max_circuits": min((n for n in (facts.max_circuits, limits.max_circuits) if n), default=None),
        "max_shots": limits.max_shots,
        "max_payload_bytes": limits.max_payload_bytes,
        "error": facts.error,
        "described_at": render.iso(facts.described_at),
        "workers": view.num_workers,
        "waiting_batches": view.waiting,
    }


def _row(view: BackendView) -> tuple[Any, ...]:
    document = _document(view)
    keys = (
        "name",
        "status",
        "num_qubits",
        "max_circuits",
        "max_shots",
        "workers",
        "waiting_batches",
        "factory",
    )
    return tuple(document[key] for key in keys)


def workers(as_json: AsJson = False) -> None:
    """List the workers that are alive."""
    from pubworks.store import fleet

    with opened() as session, session.store.read() as connection:
        rows = fleet.list_workers(connection, session.settings.lease_s)
    if as_json:
        render.emit({"workers": [_worker_document(row) for row in rows]})
    elif not rows:
        render.say("No worker is alive. Start one: pubworks worker")
    else:
        columns = ("ID", "HOST", "PID", "RUNS", "HOLDS", "STARTED", "SEEN", "BACKENDS")
        render.show(render.table(columns, [_worker_row(row) for row in rows]))


def _worker_document(row: Any) -> dict[str, Any]:
    return {
        "id": row.id,
        "host": row.host,
        "pid": row.pid,
        "backends": list(row.backends),
        "concurrency": row.concurrency,
        "batches_held": row.holds,
        "started_at": render.iso(row.started_at),
        "seen_at": render.iso(row.seen_at),
    }


def _worker_row(row: Any) -> tuple[Any, ...]:
    started, seen = render.ago(row.started_at), f"{render.span(row.silent_s)} ago"
    return (row.id, row.host, row.pid, row.concurrency, row.holds, started, seen, ", ".join(row.backends))
