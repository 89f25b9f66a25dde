"""The processes of the simulated QPU: how they start, what they write, and that they end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest
from qiskit import QuantumCircuit

from pubworks.testing.qpu import backend as qpu_backend
from pubworks.testing.qpu.client import QpuError
from pubworks.testing.qpu.process import running_qpu
from pubworks.testing.servers import NotAvailable, eventually


def bell(name: str = "bell") -> QuantumCircuit:
    circuit = QuantumCircuit(2, name=name)
    circuit.h(0)
    circuit.cx(0, 1)
    circuit.measure_all()
    return circuit


def computing(parent: psutil.Process) -> list[psutil.Process]:
    """Return the simulators under a process."""
    children = parent.children(recursive=True)
    return [child for child in children if "pubworks.testing.qpu.compute" in child.cmdline()]


def running_under(parent: psutil.Process) -> list[psutil.Process]:
    """Return all processes under one, once a simulator is among them."""
    return parent.children(recursive=True) if computing(parent) else []


def test_requests_are_logged(tmp_path) -> None:
    log = tmp_path / "log.jsonl"
    with running_qpu(log=log, max_shots=100) as running:
        there = qpu_backend(running.url)
        job = there.run([bell("a"), bell("b")], shots=10, seed=4, job_name="tag")
        with pytest.raises(QpuError):
            there.run(bell(), shots=101)
        job.cancel()
    submit, refused, cancel = [json.loads(line) for line in log.read_text().splitlines()][1:]
    assert time.time() - 60 < submit.pop("time") < time.time()
    assert submit == {
        "kind": "submit", "status": "201", "tag": "tag", "circuits": ["a", "b"], "shots": 10, "seed": 4,
        "payload_bytes": submit["payload_bytes"], "id": job.job_id(),
    }  # fmt: skip
    assert (refused["status"], refused["code"]) == ("400", "too_many_shots")
    assert (cancel["kind"], cancel["id"]) == ("cancel", job.job_id())


def test_a_crash_of_the_simulator_costs_one_job() -> None:
    with running_qpu() as qpu:
        backend = qpu_backend(qpu.url, poll_s=0.01)
        backend.run(bell()).result()  # the simulator runs
        qpu.set(paused=True)
        job = backend.run(bell())
        (process,) = computing(psutil.Process())
        process.kill()
        qpu.set(paused=False)
        with pytest.raises(QpuError, match="simulator died"):
            job.result()
        assert backend.run(bell()).result().success


def test_300_requests_a_second_take_half_a_core() -> None:
    with running_qpu(paused=True) as qpu:
        backend = qpu_backend(qpu.url)
        (simulator,) = eventually(lambda: computing(psutil.Process()))
        server = simulator.parent()
        before = server.cpu_times()
        for _ in range(150):
            backend.run(bell()).status()
        after = server.cpu_times()
    assert after.user + after.system - before.user - before.system < 0.5


def test_reads_its_settings_from_a_file_and_ends_when_asked(tmp_path) -> None:
    (tmp_path / "settings.json").write_text('{"name": "from_file"}')
    command = [sys.executable, "-m", "pubworks.testing.qpu", "--settings", str(tmp_path / "settings.json")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        url = process.stdout.readline().removeprefix("listening on ").strip()
        assert qpu_backend(url, "from_file").name == "from_file"
        process.terminate()
        assert process.wait(20) == 0


def test_says_why_it_does_not_start() -> None:
    with pytest.raises(NotAvailable, match="no_such"), running_qpu(no_such=1):
        pass


def test_nothing_is_left_when_its_parent_is_killed() -> None:
    code = (
        "import time\nfrom pubworks.testing.qpu.process import running_qpu\n"
        "with running_qpu() as qpu:\n    print(qpu.url, flush=True)\n    time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout.readline().startswith("http")
        children = eventually(lambda: running_under(psutil.Process(parent.pid)))
        os.kill(parent.pid, signal.SIGKILL)
    gone, alive = psutil.wait_procs(children, timeout=10)
    assert not alive, gone


def test_the_simulator_ends_with_its_server() -> None:
    with subprocess.Popen([sys.executable, "-m", "pubworks.testing.qpu"], stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        children = eventually(lambda: psutil.Process(process.pid).children())
        process.kill()
    assert not psutil.wait_procs(children, timeout=10)[1]
