"""``pubworks workers``, and ``workers drain``."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from pubworks.cli import render
from pubworks.cli.jobs import AsJson
from pubworks.cli.session import opened
from pubworks.cli.token import Why, by_hand
from pubworks.views.fleet import worker_document

app = typer.Typer(rich_markup_mode=None)


@app.callback(invoke_without_command=True)
def workers(context: typer.Context, as_json: AsJson = False) -> None:
    """List the workers that are alive, or drain one of them."""
    if context.invoked_subcommand is not None:
        return
    from pubworks.store import fleet

    with opened() as session, session.store.read() as connection:
        rows = fleet.list_workers(connection, session.settings.lease_s)
    if as_json:
        render.emit({"workers": [worker_document(row) for row in rows]})
    elif not rows:
        render.say("No worker is alive. Start one: pubworks worker")
    else:
        columns = ("ID", "HOST", "PID", "RUNS", "HOLDS", "STARTED", "SEEN", "STATE", "BACKENDS")
        render.show(render.table(columns, [_worker_row(row) for row in rows]))


def _worker_row(row: Any) -> tuple[Any, ...]:
    started, seen = render.ago(row.started_at), f"{render.span(row.silent_s)} ago"
    state = "draining" if row.draining else "embedded" if row.embedded else "works"
    return (row.id, row.host, row.pid, row.concurrency, row.holds, started, seen, state, ", ".join(row.backends))


@app.command()
def drain(
    worker_id: Annotated[str, typer.Argument(metavar="ID", help="The worker's id, or enough of its beginning or end.")],
    why: Why = None,
) -> None:
    """Have a worker take nothing more, finish what it runs, and end.

    What is not finished after its shutdown_grace_s seconds goes back to the queue. What keeps workers running, such as
    pubworks up, starts another in its place.
    """
    from pubworks.store import fleet

    with opened() as session, by_hand("workers drain", why), session.store.write() as connection:
        row = fleet.drain(connection, worker_id, session.settings.lease_s)
    render.say(f"Worker {row.id} on {row.host} takes nothing more, finishes what it runs, and ends.")
