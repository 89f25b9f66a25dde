"""``pubworks workers``, and ``workers drain``."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from pubworks.cli import render
from pubworks.cli.jobs import AsJson
from pubworks.cli.session import reached
from pubworks.cli.token import Why, by_hand
from pubworks.clock import seconds_of

app = typer.Typer(rich_markup_mode=None)


@app.callback(invoke_without_command=True)
def workers(context: typer.Context, as_json: AsJson = False) -> None:
    """List the workers that are alive, or drain one of them."""
    if context.invoked_subcommand is not None:
        return
    with reached() as ledger:
        found = ledger.workers()
    if as_json:
        render.emit({"workers": found})
    elif not found:
        render.say("No worker is alive. Start one: pubworks worker")
    else:
        columns = ("ID", "HOST", "PID", "RUNS", "HOLDS", "STARTED", "SEEN", "STATE", "BACKENDS")
        render.show(render.table(columns, [_worker_row(known) for known in found]))


def _worker_row(known: dict[str, Any]) -> tuple[Any, ...]:
    started, seen = render.ago(seconds_of(known["started_at"])), f"{render.span(known['silent_s'])} ago"
    state = "draining" if known["draining"] else "embedded" if known["embedded"] else "works"
    who = (known["id"], known["host"], known["pid"], known["concurrency"], known["batches_held"])
    return (*who, started, seen, state, ", ".join(known["backends"]))


@app.command()
def drain(
    worker_id: Annotated[str, typer.Argument(metavar="ID", help="The worker's id, or enough of its beginning or end.")],
    why: Why = None,
) -> None:
    """Have a worker take nothing more, finish what it runs, and end.

    What is not finished after its shutdown_grace_s seconds goes back to the queue. What keeps workers running, such as
    pubworks up, starts another in its place.
    """
    with reached() as ledger, by_hand(f"workers drain {worker_id}", why):
        known = ledger.drain(worker_id)
    render.say(f"Worker {known['id']} on {known['host']} takes nothing more, finishes what it runs, and ends.")
