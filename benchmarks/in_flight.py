"""Provider jobs in flight at the simulated QPU, against what its own times allow."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator

from benchmarks.fleet import resident_mb, servers, workers
from benchmarks.measure import Figure, bell
from pubworks.client import Client, Sampler
from pubworks.testing.qpu.process import RunningQpu, running_qpu
from pubworks.testing.servers import eventually

_RUN_S, _CAP = 2.0, 200


def measure() -> Iterator[Figure]:
    """Yield the figures."""
    yield _shot_groups()
    yield _capped()
    yield from _under_a_rate()
    yield _lag()
    yield from _many()


def _config(qpu: RunningQpu, more: str) -> str:
    return f'[backends.qpu]\nfactory = "pubworks.testing.qpu:backend"\narguments = {{ url = "{qpu.url}" }}\n{more}\n'


def _sampler(client: Client, qpu: RunningQpu, **settings: object) -> Sampler:
    """Return a sampler whose way has been gone once, with nothing in the ledger."""
    sampler = Sampler("qpu", options={"default_shots": 10, "seed_simulator": 1}, client=client)
    sampler.run([bell()]).result(60)
    qpu.reset()
    qpu.set(**settings)
    return sampler


def _shot_groups() -> Figure:
    """Three groups of shots, which a single process would run one after the other."""
    with running_qpu() as qpu, servers(_config(qpu, "")) as client, workers(client, 1, "qpu"):
        sampler = _sampler(client, qpu, run_s=3.0)
        start = time.perf_counter()
        sampler.run([(bell(), None, shots) for shots in (10, 20, 30)]).result(60)
        took = time.perf_counter() - start
    return Figure("three groups of shots on a backend of 3 s latency", took, 3.0, "s", 1.3)


def _capped() -> Figure:
    """1,000 provider jobs under a cap of jobs in flight."""
    more = f"max_circuits = 1\nlimits = {{ in_flight = {_CAP} }}"
    with running_qpu() as qpu, servers(_config(qpu, more)) as client, workers(client, 1, "qpu", concurrency=2):
        sampler = _sampler(client, qpu, run_s=_RUN_S, max_jobs=_CAP)
        sampler.run([bell()] * 1000).result(300)
        jobs = qpu.ledger()["jobs"]
    accepted = sorted(job["accepted"] for job in jobs)
    ramp = accepted[_CAP - 1] - accepted[0]
    ideal = math.ceil(len(jobs) / _CAP) * _RUN_S + ramp
    took = max(job["done"] for job in jobs) - accepted[0]
    return Figure("1,000 provider jobs of 2 s, at most 200 at once, beside ideal + ramp", took, ideal, "s", 1.15)


def _under_a_rate() -> Iterator[Figure]:
    """Eight workers under a cap of requests per second."""
    more = 'max_circuits = 1\nlimits = { requests = "20/s" }'
    with running_qpu() as qpu, servers(_config(qpu, more)) as client, workers(client, 8, "qpu"):
        sampler = _sampler(client, qpu, requests_per_second=20.0, burst=4)
        job = sampler.run([bell()] * 200)
        job.result(300)
        counts, runs = qpu.counts(), job.provider_jobs()
    refused = counts["by_status"].get("429", 0)
    seconds = max(run["finished_at"] for run in runs) - min(run["claimed_at"] for run in runs)
    yield Figure("requests above a cap of 20/s, of 8 workers, + 1", refused + 1, 1, "", 1.0)
    yield Figure("share of that cap that was used", counts["requests"] / seconds, 20.0, "1/s", 0.9, at_least=True)


def _many() -> Iterator[Figure]:
    """5,000 provider jobs in flight at once in one worker process, and its status requests under a cap."""
    more = 'max_circuits = 1\npolicy = { poll_longest_s = 5.0 }\nlimits = { requests = "100/s burst 20" }'
    with running_qpu() as qpu, servers(_config(qpu, more)) as client, workers(client, 1, "qpu") as pids:
        sampler = _sampler(client, qpu, paused=True, requests_per_second=100.0, burst=40)
        sampler.run([bell()] * 5000)
        eventually(lambda: len(qpu.ledger()["jobs"]) == 5000, 400)
        counts = qpu.counts()
        yield Figure("memory of a worker with 5,000 runs in flight", resident_mb(pids), 500.0, "MB", 1.0)
    refused = counts["by_status"].get("429", 0)
    yield Figure("its requests above a cap of 100/s, + 1", refused + 1, 1, "", 1.0)


def _lag() -> Figure:
    """How soon a result is readable of 1,000 runs that are in flight at once."""
    more = "max_circuits = 1\npolicy = { poll_longest_s = 1.0 }"
    with running_qpu() as qpu, servers(_config(qpu, more)) as client, workers(client, 1, "qpu", concurrency=2):
        sampler = _sampler(client, qpu, queue_s=[20.0, 40.0])
        job = sampler.run([bell()] * 1000)
        job.result(400)
        done = {row["id"]: row["done"] for row in qpu.ledger()["jobs"]}
        lags = sorted(run["finished_at"] - done[run["provider_job_id"]] for run in job.provider_jobs())
    return Figure("from done at the QPU to readable, p95, 1,000 in flight", lags[949], 2.0, "s", 1.0)
