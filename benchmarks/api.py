"""Reads of the REST API with 100,000 jobs stored: the slowest one in twenty."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Iterator

import httpx
from sqlalchemy import String, cast, func, update

from benchmarks.measure import Figure
from benchmarks.server import Served, client, served
from pubworks.states import Scope
from pubworks.store.store import Store
from pubworks.store.tables import jobs
from pubworks.testing.history import fill, run
from pubworks.views.overview import Span

_JOBS, _ROUNDS = 100_000, 100

#: What is asked; ``{job}`` is one of them, another one each time.
_READS = {
    "a page of 10": "/v1/jobs",
    "a page of 100": "/v1/jobs?limit=100",
    "a page, 10,000 jobs back": "/v1/jobs?skip=10000",
    "by backend and status": "/v1/jobs?backend=lab.3&status=FAILED",
    "by a rare tag": "/v1/jobs?tag=thesis",
    "one job": "/v1/jobs/{job}",
    "its timeline": "/v1/jobs/{job}/timeline",
    "backends": "/v1/backends",
    "workers": "/v1/workers",
    "metrics": "/metrics",
    **{f"overview, {span}": f"/v1/overview?span={span}" for span in Span},
}

#: Users who ask for the longest overview for the first time.
_USERS = 20


def measure() -> Iterator[Figure]:
    """Yield 95th percentiles in milliseconds, as an operator and as one of 50 users asks."""
    with served(_fill) as server:
        ids = [f"J{10_000_000 + number}" for number in range(7, _JOBS, 100)]  # those of user07
        for who, scope in (("olga", Scope.OPERATE), ("user07", Scope.READ)):
            with client(server, server.headers(who, scope)) as http:
                for name, path in _READS.items():
                    took = _slowest_in_twenty(http, path, ids)
                    yield Figure(f"{scope}: {name}, p95, beside 100 ms", took, 100, "ms", 1.0)

        first = _percentile_95(_first(server, f"user{number:02}") for number in range(_USERS))
        yield Figure(f"read: a user's first overview, {Span.WEEK}, p95, beside 100 ms", first, 100, "ms", 1.0)


def _fill(store: Store) -> None:
    """Store a week of jobs, each with its run."""
    span_s = Span.WEEK.seconds
    with store.write() as connection:
        fill(connection, _JOBS, start_s=time.time() - span_s, step_s=span_s / _JOBS)
        run(connection)
        number = func.right(jobs.c.id, 2)
        connection.execute(update(jobs).values(owner="user" + cast(number, String)))
        connection.exec_driver_sql("ANALYZE")


def _first(server: Served, who: str) -> float:
    with client(server, server.headers(who, Scope.READ)) as http:
        http.get("/v1/me").raise_for_status()  # the connection, and the token
        return _milliseconds(http, f"/v1/overview?span={Span.WEEK}")


def _slowest_in_twenty(http: httpx.Client, path: str, ids: list[str]) -> float:
    return _percentile_95(_milliseconds(http, path.format(job=job)) for job in itertools.islice(ids, _ROUNDS))


def _percentile_95(numbers: Iterable[float]) -> float:
    ordered = sorted(numbers)
    return ordered[int(0.95 * len(ordered))]


def _milliseconds(http: httpx.Client, path: str) -> float:
    start = time.perf_counter()
    http.get(path).raise_for_status()
    return 1e3 * (time.perf_counter() - start)
