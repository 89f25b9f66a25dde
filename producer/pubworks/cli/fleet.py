"""``pubworks workers``."""

from __future__ import annotations

from typing import Any

from pubworks.cli import render
from pubworks.cli.jobs import AsJson
from pubworks.cli.session import opened
from pubworks.views.fleet import worker_document


def workers(as_json: AsJson = False) -> None:
    """List the workers that are alive."""
    from pubworks.store import fleet

    with opened() as session, session.store.read() as connection:
        rows = fleet.list_workers(connection, session.settings.lease_s)
    if as_json:
        render.emit({"workers": [worker_document(row) for row in rows]})
    elif not rows:
        render.say("No worker is alive. Start one: pubworks worker")
    else:
        columns = ("ID", "HOST", "PID", "RUNS", "HOLDS", "STARTED", "SEEN", "BACKENDS")
        render.show(render.table(columns, [_worker_row(row) for row in rows]))


def _worker_row(row: Any) -> tuple[Any, ...]:
    started, seen = render.ago(row.started_at), f"{render.span(row.silent_s)} ago"
    return (row.id, row.host, row.pid, row.concurrency, row.holds, started, seen, ", ".join(row.backends))
