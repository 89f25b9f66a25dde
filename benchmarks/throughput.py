"""Batches of a backend that does nothing, against empty tasks of bare Celery; PostgreSQL, Redis, two cores."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from qiskit.result import Result
from qiskit_aer import AerSimulator
from redis import Redis

from benchmarks.fleet import servers, workers
from benchmarks.measure import Figure, bell
from pubworks.client import Client, Sampler
from pubworks.testing.backends import FinishedJob
from pubworks.testing.servers import eventually, program

_BATCHES, _TASKS = 4000, 8000

_CONFIG = """
[backends.idle]
factory = "benchmarks.throughput:Idle"
max_circuits = 1
"""


class Idle(AerSimulator):  # type: ignore[misc]
    """Aer that answers at once with what it once measured."""

    def run(self, circuits: Any, **options: Any) -> Any:
        """Return a finished job."""
        if not hasattr(self, "_once"):
            self._once = super().run(circuits[0], **options).result().results[0]
        answer = Result(results=[self._once] * len(circuits), success=True)
        return FinishedJob(self, lambda: answer)


def measure() -> Iterator[Figure]:
    """Yield how many batches a second are claimed, run, stored and merged, beside tasks a second."""
    os.environ["PYTHONPATH"] = str(Path(__file__).parent.parent)  # where the workers find this module
    with servers(_CONFIG) as client:
        theirs = _tasks_per_second()
        ours = _batches_per_second(client)
    yield Figure("batches claimed, run and stored a second, beside empty Celery tasks", ours, theirs, "1/s", 0.5,
                 at_least=True)  # fmt: skip


def _batches_per_second(client: Client) -> float:
    with workers(client, 1, "idle", concurrency=2):
        sampler = Sampler("idle", options={"default_shots": 10}, client=client)
        sampler.run([bell()] * 50).result(60)
        job = sampler.run([bell()] * _BATCHES)
        job.result(300)
    runs = job.provider_jobs()
    return float(len(runs) / (max(run["finished_at"] for run in runs) - min(run["claimed_at"] for run in runs)))


def _tasks_per_second() -> float:
    from benchmarks.bare_celery import nothing  # reads the settings that were just made

    command = [sys.executable, "-m", "celery", "-A", "benchmarks.bare_celery", "worker", "-c", "2", "-l", "ERROR"]
    extra = ["-Q", "bare", "--without-gossip", "--without-mingle", "--without-heartbeat"]
    with contextlib.closing(Redis.from_url(os.environ["PUBWORKS_BROKER"])) as redis:
        for _ in range(_TASKS):
            nothing.delay()
        with program([*command, *extra]):
            eventually(lambda: _waiting(redis) < _TASKS - 500, 60)
            start, left = time.perf_counter(), _waiting(redis)
            eventually(lambda: _waiting(redis) == 0, 60)
            return float(left / (time.perf_counter() - start))


def _waiting(redis: Redis) -> int:
    return sum(int(redis.llen(key)) for key in redis.keys("*bare*") if redis.type(key) == b"list")
