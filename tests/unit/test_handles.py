"""What a handle tells of its job, waits for it without blocking, and survives pickling."""

from __future__ import annotations

import asyncio
import copy
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.primitives.containers.estimator_pub import EstimatorPub
from qiskit.primitives.containers.sampler_pub import SamplerPub
from qiskit_aer import AerSimulator

from pubworks.client import Client, Estimator, Job, Sampler, reattach
from pubworks.errors import ConfigError, JobCancelled, JobFailed, JobNotFound, JobTimeout
from pubworks.store.place import has_secrets, place_of


def turned(num_qubits: int = 2, *, measured: bool = True) -> QuantumCircuit:
    circuit = QuantumCircuit(num_qubits, metadata={"kind": "turned"})
    for qubit in range(num_qubits):
        circuit.ry(Parameter(f"p{qubit}"), qubit)
    if measured:
        circuit.measure_all()
    return circuit


class Refusing(AerSimulator):
    """Refuses circuits of one qubit."""

    max_circuits = 1

    def run(self, circuits: Any, **options: Any) -> Any:
        if circuits.num_qubits == 1:  # alone, as it takes one only
            raise RuntimeError("one qubit is too few")
        return super().run(circuits, **options)


@pytest.fixture
def idle(tmp_path: Path) -> Client:
    """A client whose jobs nobody runs."""
    with Client(data_dir=tmp_path, works=False) as client:
        yield client


def test_inputs_are_the_pubs_of_a_sampler_again(idle: Client) -> None:
    circuit, bare = turned(), QuantumCircuit(1, 1)
    pubs: list[Any] = [
        (circuit, np.linspace(0, 1, 12).reshape(2, 3, 2), 7),
        (circuit, {"p1": [1, 2], "p0": [3, 4]}),
        (circuit, np.zeros((0, 2))),
        bare,
        (bare, np.zeros((4, 0))),
    ]
    job = Sampler("aer", client=idle).run(pubs, shots=99)
    again = job.inputs
    for ours, theirs in zip(again, (SamplerPub.coerce(pub, 99) for pub in pubs), strict=True):
        assert (ours.circuit, ours.shape, ours.shots) == (theirs.circuit, theirs.shape, theirs.shots)
        assert ours.circuit.metadata == theirs.circuit.metadata
        parameters = theirs.circuit.parameters
        np.testing.assert_array_equal(
            ours.parameter_values.as_array(parameters), theirs.parameter_values.as_array(parameters)
        )
    assert again[0].circuit is again[1].circuit
    assert [pub.shape for pub in Sampler("aer", client=idle).run(again).inputs] == [pub.shape for pub in again]


def test_inputs_are_the_pubs_of_an_estimator_again(idle: Client) -> None:
    circuit = turned(measured=False)
    many = [["ZZ", {"XX": 0.5, "II": 2.0, "01": -1.0}], ["YI", {"ZZ": 3.0}], ["+l", {"ZI": 0.0, "XX": 1.0}]]
    pubs: list[Any] = [
        (circuit, "ZZ", [0.1, 0.2]),
        (circuit, many, np.linspace(0, 1, 4).reshape(2, 2), 0.3),
        (circuit, [[row[0]] for row in many], np.linspace(0, 1, 4).reshape(2, 2)),
        (circuit, many[:1], np.linspace(0, 1, 20).reshape(5, 2, 2)),
        (circuit, ["ZZ", "XX"], np.zeros((0, 1, 2))),
    ]
    for options in ({}, {"abelian_grouping": False}):
        job = Estimator("aer", client=idle, options=options).run(pubs, precision=0.2)
        for ours, theirs in zip(job.inputs, (EstimatorPub.coerce(pub, 0.2) for pub in pubs), strict=True):
            assert (ours.circuit, ours.shape, ours.precision) == (theirs.circuit, theirs.shape, theirs.precision)
            parameters = theirs.circuit.parameters
            np.testing.assert_array_equal(
                ours.parameter_values.as_array(parameters), theirs.parameter_values.as_array(parameters)
            )
            if theirs.shape.count(0) == 0:
                assert ours.observables.equivalent(theirs.observables)
            assert ours.observables.shape == theirs.observables.shape
        assert job.options["abelian_grouping"] is (not options)


def test_a_finished_job_tells_what_it_used_and_what_happened(client: Client) -> None:
    before = datetime.now(UTC)
    sampler = Sampler(AerSimulator(), client=client, options={"seed_simulator": 3})
    job = sampler.run([(turned(), np.zeros((3, 2)), 10), (turned(), [0, 0], 20)], name="scan")
    job.result(30)
    used = job.usage()
    assert (used["circuits"], used["shots"], used["provider_jobs"]) == (4, 50, job.progress().num_batches)
    assert list(used["backends"]) == [job.backend_name]
    assert 0 < used["seconds"] == used["backends"][job.backend_name]["seconds"] < 30
    metrics = job.metrics()
    took = sum(metrics[part] for part in ("queue_s", "run_s", "collect_s"))
    created, finished = (datetime.fromisoformat(metrics["timestamps"][name]) for name in ("created", "finished"))
    assert (finished - created).total_seconds() == pytest.approx(took, abs=0.05)
    assert abs((job.creation_date - before).total_seconds()) < 5
    assert (job.error(), job.name, job.primitive, job.options["seed_simulator"]) == (None, "scan", "sampler", 3)
    events = job.timeline()
    assert [event.what for event in events[:1] + events[-1:]] == ["submitted", "finished"]
    assert sorted(events, key=lambda event: event.at) == events
    assert {event.batch for event in events} >= {None, "0"}
    assert str(events[-1]).endswith("ended as DONE")
    assert not [event.text for event in events if "{" in event.text]


def test_a_job_that_waits_has_used_nothing(idle: Client) -> None:
    job = Sampler("aer", client=idle).run([(turned(), [0, 0])])
    assert job.usage() == {"provider_jobs": 0, "circuits": 0, "shots": 0, "seconds": 0, "backends": {}}
    metrics = job.metrics()
    assert [metrics[name] for name in ("queue_s", "run_s", "collect_s")] == [None, None, None]
    assert (job.error(), job.state) == (None, "QUEUED")
    job.cancel()
    assert "was cancelled" in job.error()
    assert [event.text for event in job.timeline()][-1] == "cancelled; batches that were never run: 1"


def test_what_failed_is_explained_with_the_remedy(client: Client) -> None:
    job = Sampler(Refusing(), client=client).run([(turned(1), [0]), (turned(2), [0, 0])])
    with pytest.raises(JobFailed) as caught:
        job.result(60)
    assert str(caught.value) == job.error()
    for part in ("1 PUB failed", "PUB 0", "one qubit is too few", "result(partial=True)", "job.retry()"):
        assert part in str(caught.value)


def test_results_are_awaited_beside_others(client: Client) -> None:
    sampler = Sampler(AerSimulator(), client=client)
    made = [sampler.run([(turned(), np.zeros((2, 2)))] * 3) for _ in range(2)]

    async def gather() -> tuple[list[Any], list[int]]:
        results = await asyncio.gather(*(job.aresult(60) for job in made))
        return results, [index async for index, _ in made[0].as_completed(60)]

    results, indices = asyncio.run(gather())
    assert [len(result) for result in results] == [3, 3]
    assert sorted(indices) == sorted(index for index, _ in made[0].as_completed()) == [0, 1, 2]
    first = made[0].as_completed()
    assert next(first)[0] in (0, 1, 2)


def test_awaiting_ends_as_waiting_does(idle: Client) -> None:
    job = Sampler("aer", client=idle).run([(turned(), [0, 0])])

    async def all_of(completed: Any) -> list[Any]:
        return [item async for item in completed]

    with pytest.raises(JobTimeout, match="It goes on"):
        asyncio.run(job.aresult(0.05))
    with pytest.raises(JobTimeout, match="It goes on"):
        asyncio.run(all_of(job.as_completed(0.05)))
    with pytest.raises(TimeoutError):
        asyncio.run(asyncio.wait_for(job.aresult(), 0.1))  # and no thread stays behind that asyncio.run would wait for
    job.cancel()
    with pytest.raises(JobCancelled):
        asyncio.run(job.aresult())
    with pytest.raises(JobCancelled):
        asyncio.run(all_of(job.as_completed()))


def test_a_handle_of_a_listing_is_worked_on_when_it_is_waited_for(tmp_path: Path) -> None:
    with Client(data_dir=tmp_path, works=False) as idle:
        Sampler("basic", client=idle).run([(turned(), [0, 0])])
    with Client(data_dir=tmp_path) as client:
        assert client.jobs()[0].result(60)[0].data.meas.num_shots == 1024


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda job: pickle.loads(pickle.dumps(job))])
def test_a_handle_is_copied_in_its_process(client: Client, copied: Callable[[Job], Job]) -> None:
    job = Sampler(AerSimulator(), client=client).run([(turned(), [0, 0])])
    threads = threading.active_count()
    again = copied(job)
    assert (again, again._ledger is client.ledger) == (job, True)
    assert again.result(30) is not None
    assert threading.active_count() <= threads + 1, "no second worker"


UNPICKLE = "import pickle, sys; job = pickle.load(sys.stdin.buffer); print(job.name, len(job.result(60)))"


def test_a_pickled_handle_finds_its_file_and_goes_on_in_a_new_process(idle: Client, tmp_path: Path) -> None:
    job = Sampler("basic", client=idle).run([(turned(), [0, 0])], name="scan")
    data = pickle.dumps(job)
    assert len(data) < 300
    command = [sys.executable, "-c", UNPICKLE]
    ran = subprocess.run(command, input=data, capture_output=True, check=False, timeout=60, cwd=tmp_path)
    assert ran.stdout == b"scan 1\n", ran.stderr
    assert job.done()


def test_a_handle_whose_database_is_elsewhere_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"in the file .*gone.db, which is not there"):
        reattach("01ABC", f"sqlite:///{tmp_path}/gone.db", False)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setenv("PUBWORKS_DATABASE", f"sqlite:///{tmp_path}/other.db")
    with pytest.raises(
        ConfigError, match=r"postgresql://lab@db/pubworks, which needs a password .*uses sqlite:.*other"
    ):
        reattach("01ABC", "postgresql://lab@db/pubworks", True)
    with Client() as client, pytest.raises(JobNotFound, match="01ABC"):
        reattach("01ABC", place_of(client.store.url), False)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg://lab:s3cret@db.lab:5432/pubworks",
        "postgresql://lab@db.lab/pubworks?password=s3cret&sslmode=require",
        "postgresql://lab@db.lab/pubworks?passfile=s3cret",
        "postgresql://lab:s3cret%40x@db.lab/pubworks",
    ],
)
def test_no_secret_is_in_a_place(url: str) -> None:
    assert "s3cret" not in place_of(url)
    assert (has_secrets(url), has_secrets(place_of(url)), place_of(place_of(url))) == (True, False, place_of(url))


@pytest.mark.parametrize("call", ["usage", "metrics", "timeline", "provider_jobs", "progress", "error", "cancel"])
def test_a_handle_of_no_job_says_so(idle: Client, call: str) -> None:
    with pytest.raises(JobNotFound, match="No job lost in this database"):
        getattr(Job("lost", idle.ledger), call)()


def test_a_client_says_of_where_it_is_and_no_password(idle: Client) -> None:
    assert repr(idle) == f"<Client of {idle.settings.database_url}>"
    assert (
        repr(Client(database="postgresql://lab:s3cret@db.lab/jobs")) == "<Client of postgresql://lab:***@db.lab/jobs>"
    )
    assert repr(Client("https://pubworks.lab", token="pw_x_s3cret")) == "<Client of https://pubworks.lab>"
    assert repr(Client.local()) == "<Client of local>"


def test_an_id_that_is_no_text(idle: Client) -> None:
    with pytest.raises(TypeError, match="A job's id is a text, not int"):
        idle.job(5)  # type: ignore[arg-type]
