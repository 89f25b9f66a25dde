"""``pubworks backends``: the list, and what to show, probe, limit, forget and resume of one."""

from __future__ import annotations

from typing import Any

import typer

from pubworks.cli import limits, probe, render, story
from pubworks.cli.jobs import AsJson
from pubworks.cli.limits import Name
from pubworks.cli.session import reached
from pubworks.cli.token import Why, by_hand
from pubworks.views.limits import document

app = typer.Typer(rich_markup_mode=None)
app.command("limits")(limits.limits)
app.command("probe")(probe.probe)

#: What each status of a backend means.
_LEGEND = {
    "new": "new: no worker has built it yet; the first one does.",
    "changed": "changed: its settings here are not those that the worker built it from; restart the worker.",
    "failed": "failed: `pubworks doctor` says why.",
    "unregistered": "unregistered: no pubworks.toml here names it.",
}


@app.callback(invoke_without_command=True)
def backends(context: typer.Context, as_json: AsJson = False) -> None:
    """List the backends, or show, probe or limit one of them.

    The list has what workers found out about them.
    """
    if context.invoked_subcommand is not None:
        return
    with reached() as ledger:
        found = ledger.backends()
    if as_json:
        render.emit({"backends": found})
        return
    columns = ("NAME", "STATUS", "QUBITS", "MAX CIRCUITS", "MAX SHOTS", "WORKERS", "WAITING", "FACTORY")
    render.show(render.table(columns, [_row(known) for known in found]))
    for status in sorted({known["status"] for known in found} & set(_LEGEND)):
        render.say(_LEGEND[status])


def _row(known: dict[str, Any]) -> tuple[Any, ...]:
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
    return tuple(known[key] for key in keys)


@app.command()
def show(name: Name, as_json: AsJson = False) -> None:
    """Show all about a backend.

    That is what it is made from, what its provider taught, its limits and its policy.
    """
    with reached() as ledger:
        known, stands = ledger.backend(name), ledger.limits(name)
    if as_json:
        render.emit({**known, **document(name, stands)})
    else:
        render.show(render.fields([*_fields(known), *limits.fields(stands)]))


def _fields(known: dict[str, Any]) -> list[tuple[str, Any]]:
    from pubworks.policy import Policy

    usual = Policy().model_dump(mode="json")
    policy = {name: value for name, value in known["policy"].items() if value != usual.get(name)}
    return [
        ("backend", known["name"]),
        ("status", known["status"]),
        ("why", known["error"]),
        ("factory", known["factory"]),
        ("adapter", known["adapter"]),
        ("qubits", known["num_qubits"]),
        *((name.replace("_", " "), known[name]) for name in ("max_circuits", "max_shots", "max_payload_bytes")),
        ("learned", _listed(known["learned"])),
        ("policy", _listed(policy)),
        ("price", _listed(known["price"] or {})),
        ("workers", known["workers"]),
        ("waiting", known["waiting_batches"]),
    ]


def _listed(values: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())


@app.command()
def forget(name: Name, why: Why = None) -> None:
    """Forget what limits a provider taught by refusing runs.

    It may teach them again.
    """
    with reached() as ledger, by_hand(f"backends forget {name}", why):
        forgotten = ledger.forget(name)
    if forgotten:
        render.say(f"Forgotten what {name} taught. Workers that run keep it until they are started again.")
    else:
        render.say(f"{name} has taught no limits; there is nothing to forget.")


@app.command()
def resume(name: Name, why: Why = None) -> None:
    """Have the work of a backend go on at once.

    Its breaker is closed, and the pause that its provider asked for is over.
    For when you know that it is back. Its limits stay as they are.
    """
    with reached() as ledger, by_hand(f"backends resume {name}", why):
        resumed = ledger.resume(name)
    ended = ["its breaker is closed"] if resumed.breaker else []
    ended += ["the pause that its provider asked for is over"] if resumed.pause else []
    waiting = story.count(resumed.waiting, "batch waits", "batches wait")
    if ended:
        render.say(f"{name} goes on: {', and '.join(ended)}. {waiting} for it.")
    else:
        render.say(f"Nothing keeps {name} from work: its breaker is closed, and its provider asked for no pause.")
