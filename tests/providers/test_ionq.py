"""The real code of qiskit-ionq, talking to a service on 127.0.0.1 that fails as a network does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from qiskit import QuantumCircuit
from tests.providers import backends
from tests.providers.ionq_service import DROP, IonQService

from pubworks.backends.adapter import adapt
from pubworks.client import Client, Job, Sampler

pytest.importorskip("qiskit_ionq", reason="make test-providers has it")
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[IonQService]:
    service = IonQService()
    monkeypatch.setenv("IONQ_API_URL", service.url)
    yield service
    service.close()


@pytest.fixture
def client(service: IonQService, tmp_path: Path) -> Iterator[Client]:
    adapter = "pubworks.backends.ionq:IonQAdapter"
    entry = {"factory": "tests.providers.backends:ionq", "adapter": adapter, "policy": {"backoff_s": 0.05}}
    with Client(data_dir=tmp_path, keeper_interval_s=0.05, backends={"ionq": entry}) as client:
        yield client


def bell() -> QuantumCircuit:
    circuit = QuantumCircuit(2)
    circuit.h(0)
    circuit.cx(0, 1)
    circuit.measure_all()
    return circuit


def submit(client: Client) -> Job:
    return Sampler("ionq", client=client).run([bell()], shots=100)


def is_bell(job: Job) -> bool:
    counts = job.result(60)[0].data.meas.get_counts()
    return set(counts) == {"00", "11"} and sum(counts.values()) == 100


@pytest.mark.parametrize(("faults", "runs"), [([], 1), ([429], 1), ([503, 429], 1), ([429] * 6, 2)])
def test_refusals_cost_time_and_nothing_else(
    client: Client, service: IonQService, faults: list[Any], runs: int
) -> None:
    service.faults.extend(faults)
    job = submit(client)
    assert is_bell(job)
    assert len(job.provider_jobs()) == runs
    assert [taken["name"] for taken in service.taken] == [f"{job.job_id()}-0"]  # by which a person finds it


@pytest.mark.parametrize("faults", [[429], [503, 503], [DROP], [500, DROP]])
def test_questions_without_an_answer_cost_time_and_nothing_else(
    client: Client, service: IonQService, faults: list[Any]
) -> None:
    service.faults_of_reading.extend(faults)
    job = submit(client)
    assert is_bell(job)
    assert not service.faults_of_reading
    assert len(service.taken) == len(job.provider_jobs()) == 1


@pytest.mark.parametrize(("fault", "taken"), [(500, 0), (DROP, 1)])
def test_a_run_in_doubt_is_held_until_a_person_decides(
    client: Client, service: IonQService, fault: Any, taken: int
) -> None:
    """The service lists no jobs by name: nobody but a person can find out, and it is not paid for twice."""
    service.faults.append(fault)
    job = submit(client)
    while job.progress().batches != {"HELD": 1}:
        pass
    assert len(service.taken) == taken


def test_a_job_is_found_again_by_its_id(service: IonQService) -> None:
    one, other = adapt(backends.ionq()), adapt(backends.ionq())
    provider_job_id = one.job_id(one.run([bell()] * 2, 300, 7, {}, tag="j-0"))
    assert provider_job_id is not None
    (status,) = other.statuses([provider_job_id]).values()
    assert status.name == "DONE"
    for data in other.fetch(other.retrieve(provider_job_id), 2):
        assert sum(data.counts.values()) == 300
