"""A provider whose jobs outlive the worker: whatever is killed, nothing is submitted twice."""

from __future__ import annotations

import pytest
from qiskit import QuantumCircuit

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
