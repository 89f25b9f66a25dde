"""``python -m benchmarks.scale [--docs]``: how the work of a fleet grows with its workers, and where that ends.

Two kinds of work on one machine with private PostgreSQL and Redis: runs at the simulated QPU, whose every request
takes a while and no processor, and runs of a single-threaded Aer, which take nothing but processor. ``--docs`` writes
table and picture into ``docs/scaling.md``.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil
from redis import Redis
from rich.console import Console
from sqlalchemy import text

from benchmarks.fleet import AER, servers, workers
from benchmarks.measure import bell, sweep
from benchmarks.scale_report import COMPUTES, WAITS, Cost, Point, Report
from pubworks.client import Client, Job, Sampler
from pubworks.testing.qpu.process import running_qpu

#: Seconds that the simulated QPU takes for each request.
_LATENCY_S = 0.5
#: Runs for each worker: the more workers, the more work, so that every measurement takes the same time.
_RUNS_EACH = 30
_LATENCY_WORKERS = (1, 2, 4, 8, 16)
_CPU_WORKERS = (1, 2, 4)

_QPU = """
[backends.qpu]
factory = "pubworks.testing.qpu:backend"
arguments = {{ url = "{url}" }}
max_circuits = 1
"""


def latency_bound() -> Iterator[Point]:
    """Yield the runs a second at a QPU whose requests take a while."""
    one = None
    for number in _LATENCY_WORKERS:
        with running_qpu() as qpu, servers(_QPU.format(url=qpu.url)) as client, workers(client, number, "qpu"):
            sampler = Sampler("qpu", options={"default_shots": 10, "seed_simulator": 1}, client=client)
            sampler.run([bell()] * number).result(120)
            qpu.set(latency_s=_LATENCY_S)
            job = sampler.run([bell()] * (_RUNS_EACH * number))
            job.result(600)
            rate = _per_s(job)
        one = one or rate
        yield Point(WAITS, number, rate, one * number)


def cpu_bound() -> Iterator[Point]:
    """Yield the runs a second of a simulator that keeps one core busy."""
    one, cores = None, len(os.sched_getaffinity(0))
    for number in _CPU_WORKERS:
        with servers(AER) as client, workers(client, number, "aer1"):
            sampler = Sampler("aer1", options={"seed_simulator": 1}, client=client)
            sampler.run(sweep(pubs=2 * number, sets=5, qubits=15), shots=100).result(120)
            job = sampler.run(sweep(pubs=4, sets=50, qubits=15), shots=4096)
            job.result(600)
            rate = _per_s(job)
        one = one or rate
        yield Point(COMPUTES, number, rate, one * min(number, cores))


def _per_s(job: Job) -> float:
    runs = job.provider_jobs()
    return float(len(runs) / (max(run["finished_at"] for run in runs) - min(run["claimed_at"] for run in runs)))


def cost(runs: int = 1000) -> Cost:
    """Return what one run at a QPU costs, all told, with two workers that have nothing to wait for."""
    with running_qpu() as qpu, servers(_QPU.format(url=qpu.url)) as client:
        with workers(client, 2, "qpu") as pids:
            sampler = Sampler("qpu", options={"default_shots": 10, "seed_simulator": 1}, client=client)
            sampler.run([bell()] * 20).result(120)
            busy = _busy_s(pids), _busy_s(_postgres())
            before = _counted(client)
            sampler.run([bell()] * runs).result(600)
            worker_s, database_s = _busy_s(pids) - busy[0], _busy_s(_postgres()) - busy[1]
        after = _counted(client)  # PostgreSQL counts for sure once the workers' connections are closed
    commits, rows, log_bytes, messages = ((after[name] - before[name]) / runs for name in _COUNTED)
    return Cost(commits, rows, log_bytes, messages, 1000 * worker_s / runs, 1000 * database_s / runs)


_COUNTED = ("commits", "rows", "log_bytes", "messages")
_COUNT = text(
    "SELECT xact_commit AS commits, tup_inserted + tup_updated + tup_deleted AS rows,"
    " pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0') AS log_bytes"
    " FROM pg_stat_database WHERE datname = current_database()"
)


def _counted(client: Client) -> dict[str, float]:
    with client.store.read() as connection:
        counted = {name: float(value) for name, value in connection.execute(_COUNT).one()._mapping.items()}
    with contextlib.closing(Redis.from_url(os.environ["PUBWORKS_BROKER"])) as redis:
        pushed = redis.info("commandstats").get("cmdstat_lpush", {}).get("calls", 0)
    return {**counted, "messages": float(pushed)}


def _postgres() -> list[int]:
    return [process.pid for process in psutil.Process().children(recursive=True) if process.name() == "postgres"]


def _busy_s(pids: Sequence[int]) -> float:
    """Return the processor seconds of processes and their children."""
    family = {process for pid in pids for process in (psutil.Process(pid), *psutil.Process(pid).children(True))}
    return sum(times.user + times.system for times in (process.cpu_times() for process in family))


def main(arguments: Sequence[str]) -> int:
    """Measure, and print. Returns how many targets were missed."""
    report = Report([*latency_bound(), *cpu_bound()], cost())
    Console().print(*report.tables())
    if "--docs" in arguments:
        report.write(Path(__file__).parent.parent / "docs")
    return len(report.missed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
