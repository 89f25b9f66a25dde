"""A job outlives its submitter, every worker and the broker, killed one after the other in the middle of it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys

import pytest

from pubworks.testing.servers import NotAvailable, eventually, private_redis

pytestmark = pytest.mark.servers

SUBMIT = """
import sys
from qiskit import QuantumCircuit
from pubworks.client import Sampler

circuit = QuantumCircuit(2)
circuit.h(0)
circuit.cx(0, 1)
circuit.measure_all()
job = Sampler(sys.argv[1]).run([(circuit, None, 10), (circuit, None, 20)])
print(job.job_id(), flush=True)
job.result()
"""

FETCH = """
import sys
from pubworks.client import Client

print(*(sum(pub.data.meas.get_counts().values()) for pub in Client().job(sys.argv[1]).result(60)))
"""


@contextlib.contextmanager
def killed(what: subprocess.Popen[str]):
    """Give a process, which is killed at the end at the latest."""
    try:
        yield what
    finally:
        what.kill()
        what.communicate()


def run(deployment, script: str, *arguments: str) -> subprocess.Popen[str]:
    env = os.environ | deployment.env | {"PUBWORKS_DATA_DIR": str(deployment.folder)}
    return subprocess.Popen([sys.executable, "-c", script, *arguments], env=env, stdout=subprocess.PIPE, text=True)


def test_a_job_outlives_its_submitter_every_worker_and_the_broker(make_deployment, tmp_path):
    with contextlib.ExitStack() as stack:
        try:
            redis = stack.enter_context(contextlib.ExitStack())
            url = redis.enter_context(private_redis())
        except NotAvailable as error:
            (pytest.fail if os.environ.get("CI") else pytest.skip)(str(error))
        deployment = stack.enter_context(make_deployment("postgresql-redis", tmp_path, url))
        backend = deployment.name("remote")
        deployment.open("remote", 10)
        with deployment.worker("remote") as one, deployment.worker("remote") as other:
            eventually(lambda: backend in [facts.name for facts in deployment.client.backends()])
            with killed(run(deployment, SUBMIT, backend)) as submitter:
                job_id = submitter.stdout.readline().strip()
                job = deployment.client.job(job_id)
                eventually(lambda: job.progress().batches == {"DONE": 1, "IN_FLIGHT": 1}, what="half of the job")
                submitter.send_signal(signal.SIGKILL)
                submitter.wait()
            one.kill()
            other.kill()
        redis.close()  # it kept nothing on the disk
        deployment.open("remote", 20)
        redis.enter_context(private_redis(url))
        with deployment.worker("remote"), killed(run(deployment, FETCH, job_id)) as fetcher:
            shots, _ = fetcher.communicate(timeout=90)
        assert shots.split() == ["10", "20"]
        assert [len(deployment.calls("remote", number)) for number in (10, 20)] == [1, 1], "nothing was paid twice"
