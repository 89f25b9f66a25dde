"""What one process of a worker finds out about backends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from qiskit.providers.basic_provider import BasicSimulator

from pubworks.policy import Policy, Quota, Rate
from pubworks.settings import load_settings, with_backends
from pubworks.store import limits
from pubworks.store.store import Store
from pubworks.worker.station import Station

made: list[BasicSimulator] = []


def factory() -> BasicSimulator:
    """Build a backend, as with a request to its provider."""
    made.append(BasicSimulator())
    return made[-1]


@contextmanager
def station(store: Store, folder: Path) -> Iterator[Station]:
    made.clear()
    settings = with_backends(load_settings(data_dir=folder), {"lab": {"factory": f"{__name__}:factory"}})
    one = Station(settings, store, "w")
    try:
        yield one
    finally:
        one.stop(10)


def test_a_backend_is_built_once_however_many_workers_ask(store: Store, tmp_path: Path) -> None:
    with station(store, tmp_path) as one, station(store, tmp_path) as other:
        one.describe("lab")
        other.describe("lab")
    assert len(made) == 1


@pytest.mark.parametrize("left", [1, 0])
def test_building_is_a_request_that_counts(store: Store, tmp_path: Path, left: int) -> None:
    with store.write() as connection:
        limits.configure(connection, "lab", Quota(requests=Rate.parse("1/min")))
        limits.use_requests(connection, "lab", 1 - left, Policy())
    with station(store, tmp_path) as one:
        one.describe("lab")
    assert len(made) == left
    with store.write() as connection:
        assert limits.take_request(connection, "lab", Policy()) > 50
