"""kill -9, a freeze and an absent database at each step of a run that the code names."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator

import pytest
from tests.chaos.checks import check
from tests.chaos.driver import undisturbed
from tests.chaos.faults import STEPS
from tests.chaos.stage import LEASE_S, Stage
from tests.chaos.workload import KINDS

from pubworks import queue
from pubworks.client import Job
from pubworks.errors import PubworksError, StoreUnreachable
from pubworks.testing.servers import Server, eventually

pytestmark = [pytest.mark.servers, pytest.mark.long]

#: Seconds that a job may take to end after a blow.
_END_S = 40.0


@pytest.fixture(scope="module")
def scene(make_stage):
    """Two workers, the results that jobs must have, and the tags of runs that are cancelled before others."""
    stage = make_stage("postgresql-redis", queue_s=0.3, slow_s=3.0)
    return stage, undisturbed(stage), set()


@pytest.fixture
def stage(scene, request) -> Iterator[Stage]:
    """A stage on which all must be well at the end of a test."""
    stage, expected, cancelled = scene
    yield stage
    stage.disarm()
    stage.qpu.set(queue_s=0.3, **{name: 0 for name in stage.qpu.settings() if name.endswith("_next")})
    with contextlib.suppress(TimeoutError):
        eventually(lambda: _all_over(stage), _END_S)
    time.sleep(0.5)
    eventually(lambda: _answers(stage), _END_S, what="the database answers")
    problems = check(stage, expected, resolved=cancelled).problems
    if problems:
        print(stage.logs()[-60_000:])
    assert not problems


def _all_over(stage: Stage) -> bool:
    stage.supervise()
    try:
        return all(job.state.is_final for job in stage.client.jobs(limit=1000))
    except PubworksError:
        return False


def _answers(stage: Stage) -> bool:
    """Return whether the database answers; over a connection from before it was away, it does not."""
    try:
        stage.store.check_schema()
    except StoreUnreachable:
        return False
    return True


def submit(stage: Stage, kind: str = "mixture") -> Job:
    return KINDS[kind].run(stage.client, stage.backend, f"{kind}-step")


def strike(stage: Stage, action: str, effect: str, kind: str = "mixture") -> int:
    """Submit a job; return the process that met the effect at the step."""
    stage.arm(action, effect)
    submit(stage, kind)
    return wait_for(stage, action, effect)


def wait_for(stage: Stage, action: str, effect: str) -> int:
    def struck() -> int | None:
        stage.supervise()
        return stage.struck(action, effect)

    pid = eventually(struck, 30, what=f"{effect} at {action}")
    assert pid is not None
    return pid


def thaw(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)


def sleep(stage: Stage, seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        stage.supervise()
        time.sleep(0.05)


@pytest.mark.parametrize("action", STEPS)
def test_a_child_killed(stage, action):
    strike(stage, action, "kill")


@pytest.mark.parametrize("action", ["batch.claimed", "run.calling", "run.called", "run.fetching", "batch.done"])
def test_a_worker_killed(stage, action):
    strike(stage, action, "kill_worker")


@pytest.mark.parametrize(
    "action", ["batch.claimed", "run.calling", "run.called", "run.over", "run.fetching", "run.fetched"]
)
def test_a_child_frozen_past_its_lease(stage, action):
    stage.qpu.set(queue_s=LEASE_S + 5.0)
    pid = strike(stage, action, "freeze", "seedless")
    sleep(stage, LEASE_S + 3.0)
    thaw(pid)


@pytest.mark.parametrize(
    "action", ["batch.claimed", "run.calling", "run.called", "run.fetching", "run.fetched", "batch.done"]
)
def test_the_database_is_away(stage, action):
    assert isinstance(stage.database, Server)
    pid = strike(stage, action, "wait")
    stage.database.stop()
    (stage.steps / f"{action}.wait.{pid}").unlink()
    sleep(stage, 1.5)
    stage.database.start()


@pytest.mark.parametrize("action", ["batch.trouble", "run.looked_up", "run.adopted"])
def test_killed_after_a_dropped_reply(stage, action):
    stage.qpu.set(drop_after_next=1)
    strike(stage, action, "kill")


@pytest.mark.parametrize("action", ["spool.kept", "spool.replayed"])
def test_killed_with_a_spooled_id(stage, action):
    assert isinstance(stage.database, Server)
    pid = strike(stage, "run.called", "wait")
    stage.database.stop()
    stage.arm(action, "kill")
    (stage.steps / f"run.called.wait.{pid}").unlink()
    if action == "spool.kept":
        wait_for(stage, action, "kill")
    else:
        sleep(stage, 1.0)
    stage.database.start()
    wait_for(stage, action, "kill")


@pytest.mark.parametrize("action", ["worker.child_died", "batch.released"])
def test_a_keeper_killed(stage, action):
    stage.arm(action, "kill")
    strike(stage, "run.calling", "kill")
    if action == "batch.released":
        strike(stage, "run.fetching", "kill_worker")
    wait_for(stage, action, "kill")


def test_a_keeper_killed_that_rang_for_a_job_whose_own_ring_was_lost(stage, monkeypatch):
    monkeypatch.setattr(queue, "ring", lambda *_: None)
    strike(stage, "keeper.rang", "kill")


def test_a_failed_run_is_not_taken_for_the_one_in_doubt(stage):
    stage.qpu.set(fail_next=1)
    stage.arm("batch.trouble", "wait")
    submit(stage, "seedless")
    pid = wait_for(stage, "batch.trouble", "wait")
    stage.qpu.set(drop_after_next=1, queue_s=2.0)
    (stage.steps / f"batch.trouble.wait.{pid}").unlink()


def test_killed_after_the_provider_was_asked_to_cancel(stage, scene):
    """All is cancelled all the same, and a retry gives what an undisturbed run does."""
    _, _, cancelled = scene
    stage.qpu.set(queue_s=60.0)
    job = submit(stage, "seedless")
    eventually(lambda: set(job.progress().batches) == {"IN_FLIGHT"}, what="all runs are in flight")
    stage.arm("run.asked_to_cancel", "kill")
    job.cancel()
    wait_for(stage, "run.asked_to_cancel", "kill")

    def is_over() -> bool:
        stage.supervise()
        return set(job.progress().batches) == {"CANCELLED"}

    eventually(is_over, 30, what="all runs are cancelled")
    runs = job.provider_jobs()
    assert {run["state"] for run in runs} == {"CANCELLED"}
    cancelled.update(run["batch_id"] for run in runs)
    stage.qpu.set(queue_s=0.3)
    job.retry()
