"""The runner of one backend: what it does when the backend cannot be built, or breaks down before a call."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from qiskit import QuantumCircuit
from qiskit.providers.basic_provider import BasicSimulator

from pubworks.backends.adapter import Adapter
from pubworks.client import Client, Sampler
from pubworks.errors import ConfigError, RateLimited
from pubworks.policy import Policy
from pubworks.states import JobState
from pubworks.store import claiming, fleet, limits
from pubworks.store.records import BackendFacts
from pubworks.store.store import Store
from pubworks.testing.servers import eventually
from pubworks.worker import launch, runner, trouble
from pubworks.worker.desk import Desk
from pubworks.worker.spool import Spool


class Maker:
    """Makes a backend, after errors."""

    def __init__(self, store: Store, *errors: Exception) -> None:
        self.store, self.errors, self.made = store, list(errors), threading.Event()

    def __call__(self) -> Desk:
        if self.errors:
            raise ConfigError("cannot be built") from self.errors.pop(0)
        self.made.set()
        return Desk(self.store, "aer", Adapter(BasicSimulator()), Policy(), "w/1", 60.0)


@contextmanager
def running(make: Callable[[], Desk], store: Store, folder: Path) -> Iterator[runner.Runner]:
    with store.write() as connection:
        fleet.describe_backend(connection, BackendFacts("aer", "spec", 2, None, None))
    made = runner.Runner(make, store, "aer", Spool(folder), room=1)
    try:
        made.ring(1)
        yield made
    finally:
        made.stop(30)


def test_a_provider_that_does_not_answer_is_soon_asked_again(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trouble, "backoff", lambda *_: 0.01)
    make = Maker(store, *[ConnectionRefusedError("refused")] * 7, RateLimited("slow down", 0.01))
    with closing(store), running(make, store, tmp_path) as one:
        one.wait_for_room()  # its process can see to other backends meanwhile
        assert make.made.wait(30)
        eventually(lambda: not limits_of(store).failures, what="the breaker is closed")
        with store.read() as connection:
            assert fleet.get_backend(connection, "aer").error is None  # type: ignore[union-attr]


def test_a_provider_in_maintenance_is_asked_again_when_somebody_knows_that_it_is_back(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "_WAIT_LONGEST_S", 0.01)
    monkeypatch.setattr(runner, "_STORE_AWAY_S", 0.01)
    make = Maker(store, RateLimited("back in an hour", 3600.0))
    with closing(store), running(make, store, tmp_path) as one:
        one.wait_for_room()
        assert not make.made.is_set()
        with store.write() as connection:
            assert limits.resume(connection, "aer").pause
        assert make.made.wait(30)


@pytest.mark.parametrize("error", [TypeError("unknown argument"), PermissionError(13, "key.json")])
def test_a_wrong_configuration_is_noted(store: Store, tmp_path: Path, error: Exception) -> None:
    make = Maker(store, error)
    with closing(store), running(make, store, tmp_path) as one:
        one.wait_for_room()
        with store.read() as connection:
            assert fleet.get_backend(connection, "aer").error == "cannot be built"  # type: ignore[union-attr]
    assert not make.made.is_set()


def limits_of(store: Store):  # type: ignore[no-untyped-def]
    """Return the row of the backend's limits."""
    with store.read() as connection:
        return limits.standing(connection, ["aer"])["aer"]


class Breaking(Adapter):
    """Breaks down over circuits, as a compiler may."""

    def prepare(self, circuits: Sequence[QuantumCircuit]) -> list[QuantumCircuit]:
        raise KeyError("no such gate")


def test_who_breaks_down_before_the_call_leaves_no_run_in_doubt(store: Store, tmp_path: Path) -> None:
    with store.write() as connection:
        fleet.describe_backend(connection, BackendFacts("basic", "spec", 2, None, None))
    circuit = QuantumCircuit(1)
    circuit.measure_all()
    with closing(store), Client(database=store.url, works=False) as client:
        job = Sampler("basic", client=client).run([circuit])
        with store.write() as connection:
            (claim,) = claiming.claim(connection, "basic", "w/1", 60.0).claims
        desk = Desk(store, "basic", Breaking(BasicSimulator()), Policy(), "w/1", 60.0)
        assert not launch.submit(desk, Spool(tmp_path), claim)
        assert (job.state, [run["state"] for run in job.provider_jobs()]) == (JobState.FAILED, ["FAILED"])
        assert "no such gate" in str(job.error())
