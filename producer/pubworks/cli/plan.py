"""``pubworks plan``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pubworks.cli import render
from pubworks.cli.jobs import AsJson
from pubworks.cli.session import reached
from pubworks.cli.submit import Backend, Files, Seed, Shots, Values, explained

if TYPE_CHECKING:
    from pathlib import Path

    from pubworks.ledger.contract import Ledger
    from pubworks.planning.quote import Plan


def plan(
    files: Files,
    *,
    backend: Backend,
    values: Values = None,
    shots: Shots = 1024,
    seed: Seed = None,
    as_json: AsJson = False,
) -> None:
    """Show what `submit` would run, and what that may take and cost.

    Give the same files and options. Nothing is submitted. Time and cost are estimates: from the last runs of the
    backend, and from its price.
    """
    with reached() as ledger:
        found = _plan(ledger, files, values, backend, {"default_shots": shots, "seed_simulator": seed})
    if as_json:
        render.emit(found.document())
    else:
        render.show(render.fields(found.rows()))


def _plan(ledger: Ledger, files: list[Path], values: Path | None, backend: str, options: dict[str, int | None]) -> Plan:
    from pubworks.cli.inputs import bind, read_inputs

    ledger.enter(backend)  # before Qiskit is loaded
    inputs = read_inputs(files)
    from pubworks.client import Client, Sampler

    with explained(inputs), Client(works=False) as client:
        return Sampler(backend, options=options, client=client).plan(bind(inputs, values))
