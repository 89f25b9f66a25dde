"""One worker process, as ``celery -A pubworks.worker.app worker`` starts it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import urllib.request

import pytest
from prometheus_client.parser import text_string_to_metric_families
from qiskit import QuantumCircuit

from pubworks.store.batches import BESIDE, DIED
from pubworks.testing.servers import eventually, free_port

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


@ON_SQLITE
def test_a_run_that_lets_no_other_thread_move_is_not_run_again_when_its_lease_would_end(deployment):
    circuit = QuantumCircuit(1)
    circuit.measure_all()
    deployment.open("gripping", 10)
    with deployment.worker("gripping", concurrency=2):
        job = deployment.submit("gripping", [circuit], default_shots=10)
        assert job.result(timeout=60)[0].data.meas.num_shots == 10
    assert len(deployment.calls("gripping", 10)) == 1
    assert [event.what for event in job.timeline()] == ["submitted", "claimed", "done", "finished"]


@ON_SQLITE
def test_a_crash_of_a_child_costs_one_attempt_of_one_batch_and_names_the_likely_cause(deployment):
    circuits = [QuantumCircuit(2 if number == 30 else 3 if number == 60 else 1) for number in range(90)]
    for circuit in circuits:
        circuit.measure_all()
    for num_qubits, name in ((2, "SIGSEGV"), (3, "SIGKILL")):
        (deployment.gate("mortal") / f"die-{num_qubits}").write_text(name)
    with deployment.worker("mortal", keeper_interval_s=3):  # time for a child to be born and die unseen
        job = deployment.submit("mortal", circuits, default_shots=10)
        assert len(job.result(timeout=120)) == 90
    lost = [(run["batch_id"], run["error"]) for run in job.provider_jobs() if run["state"] == "LOST"]
    assert sorted(one for one in lost if one[1] != BESIDE) == [
        (f"{job.job_id()}-30", f"{DIED} of SIGSEGV: a crash of native code that it ran"),
        (f"{job.job_id()}-60", f"{DIED} of SIGKILL: most likely the machine had no memory left"),
    ]


@ON_SQLITE
def test_children_draw_samples_of_their_own(deployment):
    """A fork copies the generator of random numbers, and with it every sample that follows."""
    coins = QuantumCircuit(10)
    coins.h(range(10))
    coins.measure_all()
    with deployment.worker("gated", concurrency=2):
        job = deployment.submit("gated", [coins] * 4, default_shots=20)
        eventually(lambda: len(set(deployment.calls("gated", 20))) == 2, what="a run of each child")
        deployment.open("gated", 20)
        samples = [tuple(pub.data.meas.get_bitstrings()) for pub in job.result(timeout=60)]
    assert len(set(samples)) == 4


def scraped(port: int) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Return the samples that a worker shows."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        families = list(text_string_to_metric_families(answer.read().decode()))
    return {(one.name, frozenset(one.labels.items())): one.value for family in families for one in family.samples}


@pytest.mark.servers
@pytest.mark.parametrize("deployment", ["postgresql-redis"], indirect=True)
def test_metrics_add_up_over_the_processes_of_a_worker(deployment, monkeypatch, tmp_path):
    circuit = QuantumCircuit(1)
    circuit.measure_all()
    gated, port = deployment.name("gated"), free_port()
    deployment.open("gated", 10)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with deployment.worker("gated", metrics_port=port, log_format="json") as worker:
        deployment.submit("gated", [circuit], default_shots=10).result(timeout=30)
        os.kill(deployment.calls("gated", 10)[0], signal.SIGKILL)
        deployment.submit("gated", [circuit], default_shots=10).result(timeout=60)
        found = eventually(
            lambda: (now := scraped(port)) and now.get(("pubworks_shots_total", frozenset({("backend", gated)}))) == 20
            and now, what="the shots of a process that died, and of the next",
        )  # fmt: skip
        assert found["pubworks_attempts_total", frozenset({("backend", gated), ("cause", "OK")})] == 2
        assert found["pubworks_actions_total", frozenset({("action", "batch.done")})] == 2
        assert found["pubworks_workers", frozenset({("backend", gated)})] == 1
        assert found["pubworks_due_batches", frozenset({("backend", gated)})] == 0
        assert worker.stop() == 0
    assert not list(tmp_path.glob("pubworks-metrics-*"))


def test_a_port_that_is_taken_is_refused_with_what_to_change(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        env = {**os.environ, "PUBWORKS_DATABASE": f"sqlite:///{tmp_path / 'lab.db'}"}
        command = [sys.executable, "-m", "pubworks.cli.main", "worker", "--metrics-port", str(port)]
        refused = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert refused.returncode == 1
    assert f"Metrics cannot be shown at 127.0.0.1:{port}: Address already in use." in refused.stderr
