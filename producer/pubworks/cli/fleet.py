"""What is known of the fleet, and ``pubworks workers``."""

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
