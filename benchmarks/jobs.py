"""Finding jobs again among 100,000: ``client.jobs`` with each filter on PostgreSQL, and ``pubworks list``."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.measure import Figure
from pubworks.client import Client
from pubworks.store.store import Store
from pubworks.testing.history import START_S, STEP_S, fill
from pubworks.testing.servers import private_postgresql

_JOBS, _ROUNDS = 100_000, 9
_MIDDLE = START_S + STEP_S * _JOBS / 2

#: What ``pubworks list`` imports.
_IMPORTS = (
    "import psycopg, rich.console, rich.table, rich.text, sqlalchemy.dialects.postgresql.psycopg;"
    "import pubworks.cli.main, pubworks.settings, pubworks.store.listing, pubworks.store.store"
)

_FILTERS: dict[str, dict[str, Any]] = {
    "nothing": {},
    "skip=1000": {"skip": 1000},
    "backend": {"backend": "lab.3"},
    "status, common": {"status": "DONE"},
    "status, rare": {"status": ["QUEUED", "RUNNING"]},
    "tag, common": {"tags": ["calibration"]},
    "tag, rare": {"tags": ["thesis"]},
    "two tags": {"tags": ["calibration", "thesis"]},
    "session": {"session": "S73"},
    "name": {"name": "scan 7"},
    "primitive": {"primitive": "estimator"},
    "created_after": {"created_after": _MIDDLE, "descending": False},
    "created_before": {"created_before": _MIDDLE},
    "all at once": {"backend": "lab.3", "status": "DONE", "tags": ["vqe"], "created_after": _MIDDLE},
}


def measure() -> Iterator[Figure]:
    """Yield medians in milliseconds."""
    with private_postgresql() as url:
        store = Store(url)
        store.upgrade()
        with store.write() as connection:
            fill(connection, _JOBS)
        store.close()
        with Client(database=url, works=False) as client:
            for name, filters in _FILTERS.items():
                yield Figure(f"client.jobs, {name}, beside 50 ms", _listing(client, filters), 50, "ms", 1.0)
        yield Figure("pubworks list beyond its imports, beside 500 ms", _beyond_imports(url), 500, "ms", 1.0)


def _listing(client: Client, filters: dict[str, Any]) -> float:
    def once() -> None:
        assert client.jobs(**filters)

    once()  # the first compiles the query
    return statistics.median(_milliseconds(once) for _ in range(_ROUNDS))


def _beyond_imports(url: str) -> float:
    python, command = sys.executable, str(Path(sys.executable).parent / "pubworks")
    env = {**os.environ, "PUBWORKS_DATABASE": url}
    rounds = [[_ended(env, command, "list"), _ended(env, python, "-c", _IMPORTS)] for _ in range(_ROUNDS)]
    return statistics.median(listing for listing, _ in rounds) - statistics.median(imports for _, imports in rounds)


def _ended(env: dict[str, str], *argv: str) -> float:
    return _milliseconds(lambda: subprocess.run(argv, check=True, capture_output=True, env=env))


def _milliseconds(act: Callable[[], object]) -> float:
    start = time.perf_counter()
    act()
    return 1e3 * (time.perf_counter() - start)
