"""What a job has is there at once, and one retry completes it: bit for bit what an undisturbed run gives."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from qiskit import QuantumCircuit

from pubworks.client import Client, Estimator, Job, Sampler
from pubworks.errors import JobFailed, NothingToRetry
from pubworks.states import JobState
from pubworks.store import results
from pubworks.testing.qpu.process import RunningQpu, running_qpu


@pytest.fixture(scope="module")
def qpu() -> Iterator[RunningQpu]:
    with running_qpu(fail_text="It broke.") as running:
        yield running


@pytest.fixture
def client(qpu: RunningQpu, tmp_path: Path) -> Iterator[Client]:
    qpu.reset()
    vendor = {
        "factory": "pubworks.testing.qpu:backend", "arguments": {"url": qpu.url}, "max_circuits": 1,
        "policy": {"max_attempts": 1},
    }  # fmt: skip
    with Client(data_dir=tmp_path, keeper_interval_s=0.1, backends={"vendor": vendor}) as client:
        yield client


def bell(name: str, *, measured: bool = True) -> QuantumCircuit:
    circuit = QuantumCircuit(2, name=name)
    circuit.h(0)
    circuit.cx(0, 1)
    if measured:
        circuit.measure_all()
    return circuit


def stored(client: Client, job: Job) -> dict[int, bytes]:
    with client.store.read() as connection:
        return results.load_results(connection, job.job_id())


@pytest.mark.parametrize("primitive", ["sampler", "estimator"])
def test_three_quarters_are_readable_at_once_and_one_retry_completes(
    client: Client, qpu: RunningQpu, primitive: str
) -> None:
    names = ("first", "second", "third", "fourth")
    if primitive == "sampler":
        run = Sampler("vendor", options={"seed_simulator": 7}, client=client).run
        pubs = [(bell(name), None, 50) for name in names]
    else:
        run = Estimator("vendor", options={"seed_simulator": 7}, client=client).run
        pubs = [(bell(name, measured=False), "ZZ", None, 0.1) for name in names]
    qpu.set(fail_circuits=["third"])
    job = run(pubs)
    with pytest.raises(JobFailed, match=r"PUB 2: .*It broke"):
        job.result(60)
    some = job.result(partial=True)
    assert (job.state, some.metadata["pubs"], some.metadata["missing"]) == (JobState.PARTIAL, [0, 1, 3], [2])
    kept = stored(client, job)
    assert (job.pub(2).state, job.pub(2).result, job.pub(-1).state) == (JobState.FAILED, None, JobState.DONE)
    assert "It broke" in str(job.pub(2).reason)

    qpu.set(fail_circuits=[])
    accepted = len(qpu.ledger()["jobs"])
    assert job.retry() == 1
    job.result(60)
    assert len(qpu.ledger()["jobs"]) == accepted + 1
    undisturbed = run(pubs)
    undisturbed.result(60)
    whole = stored(client, job)
    assert {pub: whole[pub] for pub in kept} == kept
    assert whole == stored(client, undisturbed)
    assert [row["state"] for row in job.provider_jobs()] == ["DONE", "DONE", "FAILED", "DONE", "DONE"]
    with pytest.raises(NothingToRetry):
        job.retry()
