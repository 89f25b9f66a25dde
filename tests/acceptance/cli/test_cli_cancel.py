"""Cancelling from the command line reaches the provider, and says what is kept."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pubworks.testing.qpu.process import RunningQpu, running_qpu
from pubworks.testing.servers import eventually

VENDOR = """
[backends.vendor]
factory = "pubworks.testing.qpu:backend"
arguments = {{ url = "{url}" }}
max_circuits = 1
limits = {{ in_flight = 2 }}
"""


@pytest.fixture
def qpu(place: Any) -> Iterator[RunningQpu]:
    with running_qpu() as running:
        with Path("pubworks.toml").open("a") as config:
            config.write(VENDOR.format(url=running.url))
        yield running


def batches(place: Any, job_id: str) -> dict[str, int]:
    return dict(place.run("status", job_id, "--json").json["batches"])


def interrupted(place: Any, finish: Any, job_id: str, until: Any) -> None:
    """Watch a job, which runs it here, until something is true of its batches; then nobody works on it."""
    watching = place.start("watch", job_id)
    eventually(lambda: until(batches(place, job_id)), 60)
    watching.send_signal(signal.SIGINT)
    assert finish(watching).code == 130


def test_cancel_asks_the_provider_and_says_what_is_kept(place: Any, qpu: RunningQpu, finish: Any) -> None:
    qpu.set(queue_s=[1.0, 1.0])
    job_id = place.submit("ghz.qasm", *["bell.qpy"] * 11, "--backend", "vendor")
    interrupted(place, finish, job_id, lambda states: states.get("DONE"))
    qpu.set(paused=True)
    ran = place.run("cancel", job_id, "--yes")
    assert (ran.code, ran.out) == (0, "")
    states = batches(place, job_id)
    assert set(states) <= {"DONE", "CANCELLED", "IN_FLIGHT"}
    assert f"kept: pubworks result {job_id} --partial" in ran.err
    assert {run["state"] for run in qpu.ledger()["jobs"]} <= {"done", "cancelled"}
    assert qpu.counts()["by_kind"]["cancel"] >= 1


def test_cancel_says_what_is_still_under_way(place: Any, qpu: RunningQpu, finish: Any) -> None:
    qpu.set(paused=True, cancel=False)
    job_id = place.submit("ghz.qasm", "bell.qpy", "bell.qpy", "--backend", "vendor")
    interrupted(place, finish, job_id, lambda states: states.get("IN_FLIGHT") == 2)
    ran = place.run("cancel", job_id, "--yes")
    assert "2 runs are under way" in ran.err
    assert batches(place, job_id) == {"CANCELLED": 1, "IN_FLIGHT": 2}
    assert qpu.counts()["by_code"] == {"not_supported": 2}
    assert "does not cancel" in place.run("timeline", job_id).out
