"""A cancel reaches the provider, as the provider's own ledger tells; what it completes all the same is kept."""

from __future__ import annotations

import threading
from collections import Counter

import pytest
from qiskit import QuantumCircuit
from qiskit_aer import AerSimulator

from pubworks.client import Client, Sampler
from pubworks.states import JobState
from pubworks.store import jobs
from pubworks.testing.qpu.process import running_qpu
from pubworks.testing.servers import eventually


@pytest.fixture(scope="module")
def server():
    with running_qpu() as running:
        yield running


@pytest.fixture
def qpu(server):
    server.reset()
    return server


@pytest.fixture
def client(qpu, tmp_path):
    vendor = {"factory": "pubworks.testing.qpu:backend", "arguments": {"url": qpu.url}, "max_circuits": 1}
    few = vendor | {"limits": {"in_flight": 2}}
    slow = vendor | {"limits": {"requests": "20/s burst 2"}}
    backends = {"vendor": vendor, "few": few, "slow": slow}
    with Client(data_dir=tmp_path, keeper_interval_s=0.1, backends=backends) as client:
        yield client


def bell() -> QuantumCircuit:
    circuit = QuantumCircuit(2)
    circuit.h(0)
    circuit.cx(0, 1)
    circuit.measure_all()
    return circuit


def submit(client, backend: str, count: int):
    return Sampler(backend, client=client).run([bell()] * count, shots=10)


def in_flight(job, count: int) -> None:
    eventually(lambda: job.progress().batches.get("IN_FLIGHT") == count, what=f"{count} runs in flight")


def over(job) -> Counter[str]:
    """Wait until nothing of a job is left; return how many batches are in which state."""
    eventually(lambda: job.record().batches_left == 0, what="nothing is left of the job")
    return Counter(job.progress().batches)


def at_the_qpu(qpu) -> Counter[str]:
    return Counter(run["state"] for run in qpu.ledger()["jobs"])


def test_what_is_at_the_provider_is_cancelled_there_and_what_waits_never_comes(client, qpu):
    qpu.set(paused=True)
    job = submit(client, "few", 5)
    in_flight(job, 2)
    assert job.cancel()
    assert over(job) == {"CANCELLED": 5}
    assert at_the_qpu(qpu) == {"cancelled": 2}
    assert qpu.counts()["by_kind"]["cancel"] == 2
    assert [run["state"] for run in job.provider_jobs()] == ["CANCELLED"] * 2
    assert (job.state, job.usage()["provider_jobs"]) == (JobState.CANCELLED, 0)
    assert "was cancelled at the provider" in "\n".join(map(str, job.timeline()))


def test_what_a_provider_that_cannot_cancel_completes_is_kept(client, qpu):
    qpu.set(paused=True, cancel=False)
    job = submit(client, "few", 3)
    in_flight(job, 2)
    job.cancel()
    eventually(lambda: qpu.counts()["by_code"].get("not_supported") == 2, what="both were asked to be cancelled")
    eventually(lambda: [run["state"] for run in job.provider_jobs()] == ["CANCELLING"] * 2)
    qpu.set(paused=False)
    assert over(job) == {"CANCELLED": 1, "DONE": 2}
    assert qpu.counts()["by_kind"]["cancel"] == 2
    some = job.result(partial=True)
    assert (some.metadata["pubs"], some.metadata["missing"]) == ([0, 1], [2])
    assert job.usage()["shots"] == 20
    assert job.retry() == 1
    assert len(job.result(60)) == len(qpu.ledger()["jobs"]) == 3


def test_any_process_cancels_and_any_worker_carries_it_out(client, qpu):
    """Nobody is rung for: the keeper finds what is to be done in the database."""
    qpu.set(paused=True)
    job = submit(client, "vendor", 2)
    in_flight(job, 2)
    with client.store.write() as connection:
        assert jobs.cancel(connection, job.job_id())
    assert over(job) == {"CANCELLED": 2}
    assert at_the_qpu(qpu) == {"cancelled": 2}


def test_a_run_whose_answer_was_lost_is_found_and_cancelled(client, qpu):
    qpu.set(paused=True, drop_after_next=1, listing_delay_s=1.5)
    job = submit(client, "vendor", 1)
    eventually(lambda: job.progress().batches.get("UNCERTAIN"), what="a run in doubt")
    job.cancel()
    assert over(job) == {"CANCELLED": 1}
    assert at_the_qpu(qpu) == {"cancelled": 1}
    assert [event.what for event in job.timeline()].count("adopted") == 1


def test_what_was_claimed_with_others_is_not_submitted_after_the_cancel(client, qpu):
    """Several batches are claimed together and submitted one after the other; the first answer takes long."""
    qpu.set(paused=True, slow_next=1, slow_s=2.0)
    job = submit(client, "vendor", 6)
    eventually(lambda: qpu.counts()["by_kind"].get("submit"), what="the first submission")
    job.cancel()
    assert over(job) == {"CANCELLED": 6}
    assert at_the_qpu(qpu) == {"cancelled": 1}


def test_requests_to_cancel_count_against_the_limit(client, qpu):
    job = submit(client, "slow", 8)
    qpu.set(paused=True, requests_per_second=25)
    in_flight(job, 8)
    job.cancel()
    assert over(job) == {"CANCELLED": 8}
    counts = qpu.counts()
    assert (counts["by_kind"]["cancel"], counts["over_rate"], counts["by_code"]) == (8, 0, {})
    assert at_the_qpu(qpu) == {"cancelled": 8}


def test_trouble_with_a_cancel_passes(client, qpu):
    qpu.set(paused=True)
    job = submit(client, "vendor", 2)
    in_flight(job, 2)
    qpu.set(too_many_next=1, retry_after_s=1)
    job.cancel()
    assert over(job) == {"CANCELLED": 2}
    assert at_the_qpu(qpu) == {"cancelled": 2}


class Gated(AerSimulator):
    """A local simulator whose runs wait for a gate."""

    gate = threading.Event()

    def _execute_circuits_job(self, *args, **options):
        self.gate.wait(60)
        return super()._execute_circuits_job(*args, **options)

    @property
    def max_circuits(self) -> int:
        return 1


def test_a_local_run_that_has_not_begun_is_cancelled_and_one_that_has_is_kept(client):
    """Aer runs one job after the other; those behind the first can be cancelled."""
    Gated.gate.clear()
    job = Sampler(Gated(), client=client).run([bell()] * 4, shots=10)
    try:
        eventually(lambda: job.progress().batches.get("CLAIMED") == 4, what="all runs are begun")
        job.cancel()
        eventually(lambda: job.progress().batches.get("CANCELLED") == 3, what="those behind the first are cancelled")
    finally:
        Gated.gate.set()
    assert over(job) == {"CANCELLED": 3, "DONE": 1}
    assert job.result(partial=True).metadata["pubs"] == [0]
