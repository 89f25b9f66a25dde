"""``pubworks demo``: the main job, on the embedded default."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import typer

from pubworks.cli import render

if TYPE_CHECKING:
    from qiskit.primitives import PubResult

#: Circuits in one run: small, so that there are many batches to see.
_MAX_CIRCUITS = 12


def demo() -> None:
    """Run parameterised circuits on Aer, as a first look.

    They go through the embedded queue; the last line says how to fetch the result again.
    """
    from pubworks.cli.session import check_lasts
    from pubworks.client import Client, Sampler

    with Client(backends={"demo": {"factory": "qiskit_aer:AerSimulator", "max_circuits": _MAX_CIRCUITS}}) as client:
        check_lasts(client.settings)
        render.say("Five PUBs with different shots: a Bell pair, four sweeps of a rotation angle.")
        job = Sampler("demo", options={"seed_simulator": 7}, client=client).run(_workload(), name="demo")
        record, progress = job.record(), job.progress()
        render.say(f"Job {record.id}: {record.num_pubs} PUBs in {progress.num_batches} batches, stored and queued.")
        render.show(_table(list(job.result())))
    render.say("The result stays in the database. From any other process:")
    typer.echo(f"{sys.argv[0]} result {job.job_id()}")


def _workload() -> list[Any]:
    import numpy as np
    from qiskit import QuantumCircuit
    from qiskit.circuit import Parameter

    bell = QuantumCircuit(2)
    bell.h(0)
    bell.cx(0, 1)
    bell.measure_all()
    angle = Parameter("angle")
    rotated = QuantumCircuit(3)
    rotated.ry(angle, 0)
    rotated.cx(0, 1)
    rotated.cx(1, 2)
    rotated.measure_all()
    sweeps = [(rotated, np.linspace(0, np.pi, 40 + 20 * k), 500 * (k + 1)) for k in range(4)]
    return [(bell, None, 4000), *sweeps]


def _table(results: list[PubResult]) -> Any:
    from rich.table import Table

    table = Table("PUB", "shape", "shots", "most frequent outcomes, first circuit -> last")
    for position, result in enumerate(results):
        bits = result.data.meas
        ends = [bits] if bits.shape == () else [bits[0], bits[-1]]
        cells = " -> ".join(_top(part.get_counts()) for part in ends)
        table.add_row(str(position), str(bits.shape), str(bits.num_shots), cells)
    return table


def _top(counts: dict[str, int]) -> str:
    most = sorted(counts.items(), key=lambda item: -item[1])[:2]
    return ", ".join(f"{outcome}: {count}" for outcome, count in most)
