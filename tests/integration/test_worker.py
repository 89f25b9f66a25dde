"""One worker process, as ``celery -A pubworks.worker.app worker`` starts it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from qiskit import QuantumCircuit

from pubworks.testing.servers import eventually

ON_SQLITE = pytest.mark.parametrize("deployment", ["sqlite"], indirect=True)


@ON_SQLITE
@pytest.mark.parametrize("pool", ["threads", "solo"])
def test_a_pool_without_processes_hands_back_what_takes_too_long(deployment, pool):
    circuit = QuantumCircuit(1)
    circuit.h(0)
    circuit.measure_all()
    with deployment.worker("gated", pool=pool, shutdown_grace_s=0.2) as worker:
        job = deployment.submit("gated", [circuit] * 3, default_shots=10)
        eventually(lambda: deployment.calls("gated", 10), what="a call of run")
        assert worker.stop() == 0
        assert not worker.signed_in()
    assert [(batch.state, batch.lease_owner) for batch in deployment.batches(job)] == [("PENDING", None)] * 2


@ON_SQLITE
def test_a_database_without_tables_is_refused_with_the_command_to_run(deployment):
    env = {**os.environ, **deployment.env, "PUBWORKS_DATABASE": f"sqlite:///{deployment.folder / 'other.db'}"}
    command = [sys.executable, "-m", "celery", "-A", "pubworks.worker.app", "worker"]
    refused = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert refused.returncode == 1
    assert refused.stderr.endswith("The database has no pubworks tables yet. Run: pubworks db upgrade\n")
