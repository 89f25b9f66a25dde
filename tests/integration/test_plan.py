"""A plan against the ledger of the simulated QPU."""

from __future__ import annotations

import pytest
from qiskit import QuantumCircuit

from pubworks.client import Client, Sampler
from pubworks.testing.qpu.process import running_qpu

PRICE = 0.0025


@pytest.fixture(scope="module")
def qpu():
    with running_qpu(queue_s=0.2, max_circuits=3, max_shots=40, price_per_shot=PRICE) as server:
        yield server


@pytest.fixture
def circuit() -> QuantumCircuit:
    circuit = QuantumCircuit(1)
    circuit.h(0)
    circuit.measure_all()
    return circuit


def test_the_plan_costs_what_the_provider_asks_for(qpu, circuit):
    """The adapter brings the price; a price of the settings goes before it."""
    qpu.reset()
    table = {"factory": "pubworks.testing.qpu:backend", "arguments": {"url": qpu.url}, "max_shots": 40}
    backends = {"sim": table, "dear": {**table, "price": {"per_run": 100.0, "currency": "EUR"}}}
    with Client.local(backends=backends) as client:
        sampler = Sampler("sim", options={"seed_simulator": 1}, client=client)
        pubs = [*[(circuit, None, 100)] * 4, (circuit, None, 7)]
        plan = sampler.plan(pubs)
        assert plan.seconds is None
        job = sampler.run(pubs)
        job.result(timeout=60)
        ledger = qpu.ledger()
        assert len(ledger["jobs"]) == len(plan.batches) == len(job.provider_jobs())
        assert plan.cost.currency == "USD"
        assert plan.cost.amount == pytest.approx(ledger["cost"]) == pytest.approx(407 * PRICE)
        assert job.usage()["cost"]["amount"] == pytest.approx(ledger["cost"])
        assert job.usage()["backends"]["sim"]["cost"]["is_estimate"]
        after = sampler.plan(pubs)
        assert after.seconds >= 0.2
        assert after.known_from == len(plan.batches)
        assert Sampler("dear", client=client).plan(pubs).cost.amount == 100 * len(plan.batches)


def test_the_plan_knows_how_many_runs_go_at_once(qpu, circuit):
    qpu.reset()
    table = {"factory": "pubworks.testing.qpu:backend", "arguments": {"url": qpu.url}, "limits": {"in_flight": 2}}
    with Client.local(backends={"sim": table}) as client:
        sampler = Sampler("sim", client=client)
        sampler.run([circuit], shots=10).result(timeout=60)
        one = sampler.plan([circuit]).seconds
        assert sampler.plan([(circuit, None, shots) for shots in range(1, 8)]).seconds == pytest.approx(4 * one)
