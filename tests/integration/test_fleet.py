"""Two workers on one database and one broker: what their users see, whatever happens to messages and processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.primitives import BackendSamplerV2
from qiskit_aer import AerSimulator

from pubworks import queue
from pubworks.client import Client, Sampler
from pubworks.errors import SubmissionError
from pubworks.settings import BackendEntry
from pubworks.store.fleet import drain
from pubworks.testing.servers import eventually, free_port

WITH_BROKER = pytest.mark.parametrize("fleet", ["postgresql-redis", "postgresql-rabbitmq"], indirect=True)


class InThrees(AerSimulator):
    """What the deployments' backend ``threes`` is."""

    max_circuits = 3


@pytest.fixture(autouse=True)
def no_run_goes_on(fleet):
    """Let the runs of a test end with it, so that one that fails does not hold up the others."""
    yield
    for ledger in fleet.gate("gated").glob("calls-*"):
        fleet.open("gated", int(ledger.name.removeprefix("calls-")))


def scan(points: int, shots: int | None = None) -> tuple:
    """Return a parameterised PUB of some points."""
    theta = Parameter("theta")
    circuit = QuantumCircuit(2)
    circuit.ry(theta, 0)
    circuit.cx(0, 1)
    circuit.measure_all()
    return circuit, np.linspace(0, 3, points), shots


def bell() -> QuantumCircuit:
    circuit = QuantumCircuit(2, 2)
    circuit.h(0)
    circuit.cx(0, 1)
    circuit.measure([0, 1], [1, 0])
    return circuit


def assert_equal(ours, theirs) -> None:
    for pub, expected in zip(ours, theirs, strict=True):
        for name in expected.data:
            np.testing.assert_array_equal(pub.data[name].array, expected.data[name].array)


def assert_stored_once(fleet, job, batches: int) -> None:
    assert [batch.state for batch in fleet.batches(job)] == ["DONE"] * batches
    chunks = fleet.chunks(job)
    assert len(chunks) == len(set(chunks)) == batches
    assert not [batch for batch in fleet.batches(job) if batch.lease_owner or batch.due_at]


def test_equals_the_reference_bit_for_bit_over_many_batches(fleet):
    pubs = [scan(7, 100), (bell(), None, 37), scan(2, 100), bell()]
    options = {"default_shots": 64, "seed_simulator": 11}
    job = fleet.submit("threes", pubs, **options)
    result = job.result(60)
    assert job.record().num_batches == 5
    assert_equal(result, BackendSamplerV2(backend=InThrees(), options=options).run(pubs).result())


def test_another_process_fetches_the_result_of_a_backend_by_entry_point(fleet):
    options = {"default_shots": 50, "seed_simulator": 5}
    job = fleet.submit("aer", [scan(4)], **options)
    job.wait_for_final_state(60)
    script = (
        "import json, sys; from pubworks.client import Client; client = Client(); "
        "print(json.dumps(client.job(sys.argv[1]).result(5)[0].data.meas.array.tolist())); client.close()"
    )
    command = [sys.executable, "-c", script, job.job_id()]
    fetched = subprocess.run(command, env={**os.environ, **fleet.env}, capture_output=True, check=True, timeout=60)
    reference = BackendSamplerV2(backend=AerSimulator(), options=options).run([scan(4)]).result()
    assert json.loads(fetched.stdout) == reference[0].data.meas.array.tolist()


def test_workers_share_a_job(fleet):
    job = fleet.submit("gated", [scan(8, 10)])
    eventually(lambda: all(worker.holds() for worker in fleet.workers), what="both workers hold a batch")
    fleet.open("gated", 10)
    job.result(60)
    workers = {run["worker"].partition("/")[0] for run in job.provider_jobs()}
    assert workers == {worker.id for worker in fleet.workers}
    assert_stored_once(fleet, job, 4)


def test_a_finished_pub_is_readable_before_the_job_ends(fleet):
    job = fleet.submit("gated", [scan(1, 20), scan(1, 21)])
    fleet.open("gated", 21)
    assert next(job.as_completed(60))[0] == 1
    assert job.result(partial=True).metadata["missing"] == [0]
    assert job.running()
    fleet.open("gated", 20)
    assert len(job.result(60)) == 2


def test_a_killed_child_costs_its_batch_nothing_but_time(fleet):
    job = fleet.submit("gated", [scan(8, 30)])
    victim = eventually(lambda: fleet.calls("gated", 30), what="a call of run")[0]
    os.kill(victim, signal.SIGKILL)
    fleet.open("gated", 30)
    job.result(60)
    assert "LOST" in [run["state"] for run in job.provider_jobs()]
    assert_stored_once(fleet, job, 4)


def test_a_killed_worker_costs_its_batches_nothing_but_time(fleet):
    with fleet.worker("gated", concurrency=2) as victim:
        job = fleet.submit("gated", [scan(12, 40)])
        eventually(lambda: len(victim.holds()) == 2, what="the victim holds two batches")
        victim.kill()
        fleet.open("gated", 40)
        job.result(60)
    lost = [run for run in job.provider_jobs() if run["state"] == "LOST"]
    assert {run["worker"].partition("/")[0] for run in lost} == {victim.id}
    assert_stored_once(fleet, job, 6)


def test_a_stopping_worker_finishes_what_it_runs(fleet):
    with fleet.worker("gated") as leaving:
        job = fleet.submit("gated", [scan(8, 50)])
        eventually(leaving.holds, what="the leaving worker holds a batch")
        leaving.process.terminate()
        fleet.open("gated", 50)
        assert leaving.process.wait(30) == 0
        assert not leaving.signed_in()
        job.result(60)
    assert {run["state"] for run in job.provider_jobs()} == {"DONE"}


def test_a_drained_worker_finishes_what_it_runs_and_ends(fleet):
    with fleet.worker("gated") as leaving:
        job = fleet.submit("gated", [scan(8, 51)])
        eventually(leaving.holds, what="the drained worker holds a batch")
        with fleet.store.write() as connection:
            assert drain(connection, leaving.id, silent_s=60).draining
        eventually(lambda: "worker.drains" in leaving.log.read_text(), what="it was told")
        fleet.open("gated", 51)
        assert leaving.process.wait(30) == 0
        assert not leaving.signed_in()
        job.result(60)
    assert {run["state"] for run in job.provider_jobs()} == {"DONE"}


def test_a_stopping_worker_hands_back_what_takes_too_long(fleet):
    with fleet.worker("gated", shutdown_grace_s=0.5) as leaving:
        job = fleet.submit("gated", [scan(6, 60)])  # three workers, three batches: nobody has room for what comes back
        eventually(lambda: len(fleet.calls("gated", 60)) == 3, what="every worker runs a batch")
        (held,) = leaving.holds()
        assert leaving.stop() == 0
        (left,) = [batch for batch in fleet.batches(job) if batch.id == held.id]
        assert (left.state, left.lease_owner, left.reason) == ("PENDING", None, "its worker stopped")
        assert not leaving.signed_in()
    fleet.open("gated", 60)
    job.result(60)
    assert_stored_once(fleet, job, 3)


def test_doubled_messages_find_nothing_to_do(fleet):
    job = fleet.submit("gated", [scan(4, 70)])
    queue.ring(fleet.app, fleet.name("gated"), 20)
    fleet.open("gated", 70)
    job.result(60)
    assert len(fleet.calls("gated", 70)) == len(job.provider_jobs()) == 2


def test_lost_messages_cost_time_only(fleet):
    job = fleet.submit("gated", [scan(12, 80)])
    eventually(lambda: len(fleet.calls("gated", 80)) == 2, what="both workers run a batch")
    fleet.lose_messages()
    fleet.open("gated", 80)
    job.result(60)
    assert_stored_once(fleet, job, 6)


def test_a_backend_that_cannot_be_built_is_reported_and_its_batches_wait(fleet):
    broken = fleet.gate("fragile") / "broken"
    facts = lambda: next(f for f in fleet.client.backends() if f.name == fleet.name("fragile"))  # noqa: E731
    job = None
    try:
        job = fleet.submit("fragile", [])
        broken.touch()
        job = fleet.submit("fragile", [bell()])
        eventually(lambda: facts().error, what="the error is in the table")
        assert "PermissionError: token expired" in facts().error
        assert [batch.state for batch in fleet.batches(job)] == ["PENDING"]
        assert job.provider_jobs() == []
        if fleet.kind != "sqlite":  # there the client would build it itself
            with pytest.raises(SubmissionError, match="token expired"):
                fleet.submit("fragile", [bell()])
    finally:
        broken.unlink()
        job.cancel()
    eventually(lambda: facts().error is None, what="the error is gone")
    assert all(worker.process.poll() is None for worker in fleet.workers)


@WITH_BROKER
def test_a_backend_that_no_worker_has_built_is_refused(fleet):
    known = {**fleet.settings.backends, "nobody": BackendEntry(factory="qiskit_aer:AerSimulator")}
    with (
        Client(fleet.settings.model_copy(update={"backends": known})) as client,
        pytest.raises(SubmissionError, match=r"no worker .* pubworks worker --backend nobody"),
    ):
        Sampler("nobody", client=client).run([bell()])


@WITH_BROKER
def test_a_job_submitted_without_broker_runs_once_a_keeper_sees_it(fleet):
    fleet.submit("threes", []).result(60)
    broker = f"{fleet.settings.broker.partition(':')[0]}://guest:secret@127.0.0.1:{free_port()}//"
    with Client(fleet.settings.model_copy(update={"broker": broker})) as client:
        job = Sampler(fleet.name("threes"), client=client).run([bell()])
        assert len(job.result(60)) == 1


@WITH_BROKER
def test_the_depth_of_a_queue(fleet):
    name = fleet.name("unserved")
    assert queue.depth(fleet.app, name) == 0
    queue.ring(fleet.app, name, 3)
    assert queue.depth(fleet.app, name) == 3
    fleet.lose_messages("unserved")
    assert queue.depth(fleet.app, name) == 0
