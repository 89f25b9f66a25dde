"""200 who watch events at one server: its processor, and its database."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

from benchmarks.measure import Figure
from benchmarks.server import Served, served
from pubworks.states import Scope
from pubworks.store import jobs
from pubworks.store.records import JobDraft

_WATCHERS, _JOBS, _PER_S = 200, 200, 10

#: Seconds until PostgreSQL has told of all that came before, and of looking at a server at which nothing happens.
_SETTLE_S, _QUIET_S = 15.0, 15.0

#: Seconds in which every event must have reached everybody.
_REACH_S = 60.0


def measure() -> Iterator[Figure]:
    """Yield the figures."""
    with served() as server:
        headers = server.headers("olga", Scope.OPERATE)
        alone, _, _ = asyncio.run(_watched(server, headers, 1))
        queries, cores, told = asyncio.run(_watched(server, headers, _WATCHERS))
    yield Figure(f"queries of {_WATCHERS} watchers, beside those of one", queries, alone, "1/s", 1.5)
    yield Figure(f"cores for {_WATCHERS} watchers of {_PER_S} jobs/s, beside one", cores, 1.0, "", 1.0)
    yield Figure(
        "events that reached each of them, beside those there were", min(told), max(told), "", 1.0, at_least=True
    )


async def _watched(server: Served, headers: dict[str, str], number: int) -> tuple[float, float, list[int]]:
    """Return queries per second while nothing happens, cores while jobs come, and the events that each was told."""
    told = [0] * number
    here = [asyncio.Event() for _ in range(number)]
    watching = [asyncio.create_task(_watch(server.url, headers, told, place, here[place])) for place in range(number)]
    await asyncio.gather(*(event.wait() for event in here))
    await asyncio.sleep(_SETTLE_S)
    before = server.transactions()
    await asyncio.sleep(_QUIET_S)
    queries = (server.transactions() - before) / _QUIET_S
    cores = await asyncio.to_thread(_cores, server)
    until = time.monotonic() + _REACH_S
    while min(told) < server.events() and time.monotonic() < until:
        await asyncio.sleep(0.1)
    for task in watching:
        task.cancel()
    await asyncio.gather(*watching, return_exceptions=True)
    return queries, cores, told


async def _watch(url: str, headers: dict[str, str], told: list[int], place: int, here: asyncio.Event) -> None:
    """Count the events of a stream, without a library: 200 of them must cost little beside what is measured."""
    address = urlsplit(url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    lines = ["GET /v1/events HTTP/1.1", "Host: here", "Last-Event-ID: 0", *map(": ".join, headers.items()), "", ""]
    writer.write("\r\n".join(lines).encode())
    while line := await reader.readline():
        here.set()
        told[place] += line.startswith(b"id:")
    writer.close()


def _cores(server: Served) -> float:
    """Return how many processors the server keeps busy while jobs come at a rate."""
    began, used = time.perf_counter(), server.cpu_s()
    for number in range(_JOBS):
        with server.store.write() as connection:
            job_id = f"W{time.time_ns()}-{number}"
            jobs.submit(connection, JobDraft(job_id, None, "sampler", "basic", {}, {}, (), (), owner="ann"))
        time.sleep(max(0.0, began + (number + 1) / _PER_S - time.perf_counter()))
    return (server.cpu_s() - used) / (time.perf_counter() - began)
