"""A provider whose jobs outlive the worker: whatever is killed, nothing is submitted twice."""

from __future__ import annotations

import pytest
from qiskit import QuantumCircuit

from pubworks.backends.adapter import Adapter
from pubworks.client import Client, Sampler
from pubworks.store import doubts
from pubworks.testing.qpu.process import running_qpu
from pubworks.testing.servers import eventually

REASON = "its worker fell silent"


@pytest.fixture
def circuit() -> QuantumCircuit:
    circuit = QuantumCircuit(2)
    circuit.h(0)
    circuit.cx(0, 1)
    circuit.measure_all()
    return circuit


def test_kill_9_in_flight_is_taken_up_and_during_the_submission_is_held(deployment, circuit):
    with deployment.worker("remote", "stuck", concurrency=2) as victim:
        flying = deployment.submit("remote", [circuit], default_shots=10)
        stuck = deployment.submit("stuck", [circuit], default_shots=10)
        eventually(lambda: deployment.batches(flying)[0].state == "IN_FLIGHT", what="a run in flight")
        eventually(lambda: deployment.calls("stuck", 10), what="a call of run")
        assert deployment.batches(stuck)[0].state == "SUBMITTING"
        victim.kill()
    for backend in ("remote", "stuck"):
        deployment.open(backend, 10)
        (deployment.gate(backend) / "answer").touch()
    with deployment.worker("remote", "stuck") as rescuer:
        counts = flying.result(60)[0].data.meas.get_counts()
        eventually(lambda: deployment.batches(stuck)[0].state == "HELD", what="the uncertain batch is held")
        assert rescuer.signed_in()
    (run,) = flying.provider_jobs()
    assert run["state"] == "DONE"
    assert sum(counts.values()) == 10
    assert (deployment.gate("remote") / f"{run['provider_job_id']}.job").exists()
    assert len(deployment.calls("remote", 10)) == len(deployment.calls("stuck", 10)) == 1
    (held,) = deployment.batches(stuck)
    assert (held.due_at, held.lease_owner) == (None, None)
    assert held.reason.startswith(f"{REASON}; nobody knows whether the provider took it")
    assert [run["state"] for run in stuck.provider_jobs()] == ["UNCERTAIN"]


def test_a_run_whose_result_cannot_be_had_is_held_and_not_paid_again(tmp_path, monkeypatch, circuit):
    """The provider says that it is over: its result is paid for, and a retry must not run it again."""
    fetch = Adapter.fetch

    def away(*_):
        raise ConnectionError("the host of the results is away")

    monkeypatch.setattr(Adapter, "fetch", staticmethod(away))
    policy = {"max_total_s": 1.0, "backoff_s": 0.01}
    with running_qpu() as qpu:
        vendor = {"factory": "pubworks.testing.qpu:backend", "arguments": {"url": qpu.url}, "policy": policy}
        with Client(data_dir=tmp_path, keeper_interval_s=0.1, backends={"vendor": vendor}) as client:
            job = Sampler("vendor", client=client).run([circuit], shots=10)
            eventually(lambda: job.progress().batches == {"HELD": 1}, what="the batch is held")
            (run,) = qpu.ledger()["jobs"]
            assert run["id"] in job.progress().reasons[0]
            monkeypatch.setattr(Adapter, "fetch", staticmethod(fetch))
            with client.store.write() as connection:
                doubts.resolve(connection, job.job_id(), "adopt", run["id"])
            assert job.result(60)[0].data.meas.num_shots == 10
            assert len(qpu.ledger()["jobs"]) == 1
