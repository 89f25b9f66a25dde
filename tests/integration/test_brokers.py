"""A broker that goes away and comes back empty."""

from __future__ import annotations

import contextlib

import pytest
from qiskit import QuantumCircuit

from pubworks.testing.servers import eventually, private_redis


@pytest.mark.servers
def test_redis_restarted_empty_costs_time_only(make_deployment, tmp_path):
    circuit = QuantumCircuit(1)
    circuit.h(0)
    circuit.measure_all()
    with contextlib.ExitStack() as redis:
        broker = redis.enter_context(private_redis())
        with (
            make_deployment("postgresql-redis", tmp_path, broker=broker) as deployment,
            deployment.worker("gated") as worker,
        ):
            before = deployment.submit("gated", [circuit] * 6, default_shots=10)
            eventually(lambda: deployment.calls("gated", 10), what="a call of run")
            redis.close()
            during = deployment.submit("gated", [circuit], default_shots=10)
            deployment.open("gated", 10)
            redis.enter_context(private_redis(broker))
            assert len(before.result(60)) == 6
            assert len(during.result(60)) == 1
            assert worker.process.poll() is None


@pytest.mark.servers
@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_a_fleet_carries_on_without_its_broker(make_deployment, tmp_path, pool):
    circuit = QuantumCircuit(1)
    circuit.h(0)
    circuit.measure_all()
    with contextlib.ExitStack() as redis:
        broker = redis.enter_context(private_redis())
        with (
            make_deployment("postgresql-redis", tmp_path, broker=broker) as deployment,
            deployment.worker("aer", pool=pool) as worker,
        ):
            deployment.submit("aer", [circuit], default_shots=10).result(60)
            redis.close()
            alone = deployment.submit("aer", [circuit] * 3, default_shots=10)
            assert len(alone.result(60)) == 3
            redis.enter_context(private_redis(broker))
            assert len(deployment.submit("aer", [circuit], default_shots=20).result(60)) == 1
            assert worker.process.poll() is None
