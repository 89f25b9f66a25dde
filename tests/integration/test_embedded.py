"""The embedded mode over several processes: a killed one's jobs go on in the next."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from pubworks.client import Client
from pubworks.testing.servers import eventually

SUBMIT = """
import sys, time
from qiskit import QuantumCircuit
from pubworks.client import Sampler
circuit = QuantumCircuit(1)
circuit.h(0)
circuit.measure_all()
print(Sampler(sys.argv[1]).run([circuit] * 4, shots=10).job_id(), flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("deployment", ["sqlite"], indirect=True)
def test_the_next_process_continues_the_job_of_a_killed_one(deployment, monkeypatch):
    command = [sys.executable, "-c", SUBMIT, deployment.name("gated")]
    env = {**os.environ, **deployment.env}
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) as first:
        job_id = first.stdout.readline().strip()
        eventually(lambda: deployment.calls("gated", 10), what="a call of run")
        first.send_signal(signal.SIGKILL)
    deployment.open("gated", 10)
    monkeypatch.syspath_prepend(deployment.env["PYTHONPATH"])
    with Client(deployment.settings) as second:
        job = second.job(job_id)
        assert len(job.result(60)) == 4
    assert len(set(deployment.chunks(job))) == len(deployment.chunks(job)) == 4
