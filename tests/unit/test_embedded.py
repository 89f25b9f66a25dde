"""The embedded mode: broker, worker and keeper inside this process."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from qiskit import QuantumCircuit
from qiskit_aer import AerSimulator

from pubworks.client import Client, Sampler
from pubworks.errors import ConfigError, JobTimeout
from pubworks.states import JobState


@pytest.fixture
def bell() -> QuantumCircuit:
    circuit = QuantumCircuit(2)
    circuit.h(0)
    circuit.cx(0, 1)
    circuit.measure_all()
    return circuit


class Gated(AerSimulator):
    """Aer whose runs do not end before some number of them has begun."""

    def __init__(self, runs: int) -> None:
        super().__init__()
        self.barrier = threading.Barrier(runs)
        self.begun: list[int] = []

    def run(self, circuits: Any, **options: Any) -> Any:
        from concurrent.futures import ThreadPoolExecutor

        self.begun.append(options["shots"])
        run = super().run

        def work() -> Any:
            self.barrier.wait(30)
            return run(circuits, **options).result()

        return _Promise(ThreadPoolExecutor(1).submit(work))


class _Promise:
    def __init__(self, future: Any) -> None:
        self.future = future

    def status(self) -> Any:
        from qiskit.providers import JobStatus

        return JobStatus.DONE if self.future.done() else JobStatus.RUNNING

    def result(self) -> Any:
        return self.future.result()


def test_all_shot_groups_are_in_flight_together(tmp_path: Path, bell: QuantumCircuit) -> None:
    """Qiskit's wrapper would wait for ever here: it submits a group when the one before is done."""
    backend = Gated(runs=3)
    with Client(data_dir=tmp_path) as client:
        job = Sampler(backend, client=client).run([(bell, None, 10), (bell, None, 20), (bell, None, 30)])
        result = job.result(timeout=60)
    assert backend.begun == [10, 20, 30]
    assert [pub.data.meas.num_shots for pub in result] == [10, 20, 30]


def test_clients_of_one_process_keep_apart(tmp_path: Path, bell: QuantumCircuit) -> None:
    with Client(data_dir=tmp_path / "a") as one, Client(data_dir=tmp_path / "b") as other:
        jobs = [Sampler("aer", client=client).run([bell], shots=10) for client in (one, other, one, other)]
        for job in jobs:
            assert job.result(timeout=60)[0].data.meas.num_shots == 10
        assert len(one.jobs()) == len(other.jobs()) == 2


def test_a_job_that_a_client_left_goes_on_in_the_next(tmp_path: Path, bell: QuantumCircuit) -> None:
    backend = Gated(runs=2)  # the one run of the first client never ends by itself
    client = Client(data_dir=tmp_path)
    job = Sampler(backend, client=client).run([bell], shots=10)
    with pytest.raises(JobTimeout, match=job.job_id()):
        job.result(timeout=1)
    client.close()
    backend.barrier.abort()
    with Client(data_dir=tmp_path) as following:
        again = following.job(job.job_id()[-8:])
        backend.barrier = threading.Barrier(1)
        assert again.result(timeout=60)[0].data.meas.num_shots == 10
        assert [run["state"] for run in again.provider_jobs()] == ["LOST", "DONE"]


def test_failed_batches_leave_the_others_readable(tmp_path: Path, bell: QuantumCircuit) -> None:
    from pubworks.errors import JobFailed

    class Picky(AerSimulator):
        def run(self, circuits: Any, **options: Any) -> Any:
            if options["shots"] == 20:
                raise RuntimeError("not 20")
            return super().run(circuits, **options)

    with Client(data_dir=tmp_path) as client:
        job = Sampler(Picky(), client=client).run([(bell, None, 10), (bell, None, 20)])
        assert job.wait_for_final_state(60) is JobState.PARTIAL
        with pytest.raises(JobFailed, match=r"1 PUB failed\. PUB 1: .*not 20 \(attempt 3 of 3\)\. result"):
            job.result()
        rest = job.result(partial=True)
        assert (rest.metadata["pubs"], rest.metadata["missing"]) == ([0], [1])
        assert rest[0].data.meas.num_shots == 10


def test_a_job_of_many_batches_does_not_wait_for_the_keeper(tmp_path: Path, bell: QuantumCircuit) -> None:
    """One ring for all batches of a job lasts to the end of it, also where some are given back in between."""

    class Slow(AerSimulator):
        max_circuits = 1

        def run(self, circuits: Any, **options: Any) -> Any:
            threading.Event().wait(0.12)  # longer than what a process takes on in groups
            return super().run(circuits, **options)

    with Client(data_dir=tmp_path, keeper_interval_s=120.0) as client:
        job = Sampler(Slow(), client=client).run([bell] * 24)
        assert len(job.result(30)) == 24


def test_an_object_needs_the_embedded_broker(tmp_path: Path) -> None:
    client = Client(database=f"sqlite:///{tmp_path}/x.db", broker="redis://127.0.0.1:1/0")
    with pytest.raises(ConfigError, match="Register it by name"):
        Sampler(AerSimulator(), client=client)


def test_no_thread_is_left_behind(tmp_path: Path, bell: QuantumCircuit) -> None:
    before = set(threading.enumerate())
    with Client(data_dir=tmp_path) as client:
        Sampler("aer", client=client).run([bell]).result(timeout=60)
    left = [thread for thread in threading.enumerate() if thread not in before and thread.name.startswith("pubworks")]
    assert left == []
