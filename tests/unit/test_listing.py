"""Jobs are found again by everything that is known of them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from qiskit import QuantumCircuit
from qiskit.providers import JobStatus
from sqlalchemy import update

from pubworks.client import Client, Estimator, Sampler
from pubworks.errors import JobNotFound, SubmissionError
from pubworks.states import JobState
from pubworks.store import listing
from pubworks.store.tables import jobs

#: Seconds since 1970 of the first job; each next one is a second later.
START = 1_000_000.0


@pytest.fixture(scope="module")
def five(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """Five jobs, one a second, that nobody runs."""
    circuit = QuantumCircuit(1, 1)
    circuit.measure(0, 0)
    with Client(data_dir=tmp_path_factory.mktemp("data"), works=False) as client:
        basic, aer = (Sampler(name, client=client) for name in ("basic", "aer"))
        made = [
            basic.run([circuit], name="0"),
            basic.run([circuit], name="1", tags=["vqe", "h2"]),
            aer.run([circuit], name="2", tags=["vqe"]),
            Estimator("aer", client=client).run([(QuantumCircuit(1), "Z")], name="3", tags=["h2"]),
            aer.run([circuit], name="twin", tags=["vqe", "h2", "lih"]),
        ]
        states = (JobState.DONE, JobState.PARTIAL, JobState.FAILED, JobState.QUEUED, JobState.QUEUED)
        with client.store.write() as connection:
            for number, (job, state) in enumerate(zip(made, states, strict=True)):
                values = {"created_at": START + number, "state": state}
                connection.execute(update(jobs).where(jobs.c.id == job.job_id()).values(**values))
        yield client


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ({}, "4 3 2 1 0"),
        ({"descending": False}, "0 1 2 3 4"),
        ({"limit": 2}, "4 3"),
        ({"limit": 2, "skip": 2}, "2 1"),
        ({"limit": None, "skip": 3}, "1 0"),
        ({"limit": 0}, ""),
        ({"skip": 9}, ""),
        ({"backend": "basic"}, "1 0"),
        ({"backend": "bas"}, ""),
        ({"name": "2"}, "2"),
        ({"primitive": "estimator"}, "3"),
        ({"tags": ["vqe"]}, "4 2 1"),
        ({"tags": ["vqe", "h2"]}, "4 1"),
        ({"tags": ("h2", "h2")}, "4 3 1"),
        ({"tags": ["VQE"]}, ""),
        ({"tags": []}, "4 3 2 1 0"),
        ({"status": "DONE"}, "0"),
        ({"status": "done"}, "0"),
        ({"status": JobState.PARTIAL}, "1"),
        ({"status": JobStatus.ERROR}, "2 1"),
        ({"status": "error"}, "2 1"),
        ({"status": ["DONE", JobStatus.QUEUED]}, "4 3 0"),
        ({"status": []}, ""),
        ({"status": JobStatus.VALIDATING}, ""),
        ({"created_after": START + 3}, "4 3"),
        ({"created_before": START + 3}, "2 1 0"),
        ({"created_after": datetime.fromtimestamp(START + 1, UTC), "created_before": START + 2}, "1"),
        ({"created_after": datetime.fromtimestamp(START + 4)}, "4"),
        ({"created_after": datetime.now(UTC) + timedelta(days=1)}, ""),
        ({"backend": "aer", "tags": ["h2"], "status": "QUEUED", "primitive": "sampler"}, "4"),
    ],
)
def test_every_filter_is_exact(five: Client, filters: dict[str, Any], found: str) -> None:
    names = [job.name for job in five.jobs(**filters)]
    assert " ".join(names).replace("twin", "4") == found


@pytest.mark.parametrize(
    ("filters", "error", "told"),
    [
        ({"status": "FINE"}, ValueError, "no status 'FINE'. Give one of CANCELLED, DONE, ERROR, FAILED"),
        ({"primitive": "guess"}, ValueError, "must be 'sampler' or 'estimator'"),
        ({"limit": -1}, ValueError, "must not be negative"),
        ({"skip": -1}, ValueError, "must not be negative"),
        ({"limit": "all"}, TypeError, "integer"),
        ({"tags": "vqe"}, TypeError, r"tags=\['vqe'\], not tags='vqe'"),
        ({"tags": [1]}, TypeError, "A tag must be a text, not int"),
        ({"created_after": "yesterday"}, TypeError, "a datetime or seconds since 1970, not str"),
        ({"created_before": True}, TypeError, "not bool"),
        ({"backend": 3}, TypeError, "backend must be a text, not int"),
        ({"name": ["scan"]}, TypeError, "name must be a text, not list"),
        ({"session": 3}, TypeError, "session must be a text, not int"),
    ],
)
def test_wrong_filters_are_told(five: Client, filters: dict[str, Any], error: type[Exception], told: str) -> None:
    with pytest.raises(error, match=told):
        five.jobs(**filters)


def test_handles_of_a_listing_know_what_never_changes(five: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    job = five.jobs(name="twin")[0]
    with monkeypatch.context() as patch:
        patch.setattr(job, "_ledger", None)  # nothing more is read
        assert (job.name, job.primitive, job.backend_name) == ("twin", "sampler", "aer")
        assert job.creation_date == datetime.fromtimestamp(START + 4, UTC)
    assert (job.state, job.tags, job == five.job(job.job_id())) == ("QUEUED", ["h2", "lih", "vqe"], True)
    assert len({*five.jobs(), *five.jobs()}) == 5


def test_tags_are_replaced_as_a_whole(five: Client) -> None:
    job = five.jobs(name="0")[0]
    assert job.tags == []
    job.tags = ["b", "a", "b"]
    assert (job.tags, five.jobs(tags=["b"])) == (["a", "b"], [job])
    assert job.update_tags(["c"]) == job.tags == ["c"]
    for wrong, error in (
        ("c", TypeError),
        ([""], SubmissionError),
        (["x" * 201], SubmissionError),
        ([None], TypeError),
    ):
        with pytest.raises(error):
            job.update_tags(wrong)
    assert job.tags == ["c"]
    job.tags = []
    assert five.jobs(tags=["c"]) == []
    with five.store.write() as connection, pytest.raises(JobNotFound):
        listing.set_tags(connection, "nope", ["a"])


def test_a_job_is_shared_and_kept_to_its_owner_again(five: Client) -> None:
    job = five.jobs(name="0")[0]
    assert not job.shared
    for shared in (True, True, False, False, True):
        job.shared = shared
        assert job.shared == five.job(job.job_id()).shared == shared
    assert [event.what for event in job.timeline()][-3:] == ["shared", "unshared", "shared"]
    assert job.timeline()[-1].text == "shared with all users"
    with pytest.raises(TypeError, match="True or False"):
        job.shared = "no"
    with five.store.write() as connection, pytest.raises(JobNotFound):
        listing.set_shared(connection, "nope", True)


@pytest.mark.parametrize("labels", [{"name": "x" * 201}, {"idempotency_key": " "}, {"tags": ["a\0b"]}])
def test_labels_that_cannot_be_stored_are_refused(five: Client, labels: dict[str, Any]) -> None:
    with pytest.raises(SubmissionError, match="1 to 200 characters"):
        Sampler("aer", client=five).run([], **labels)
    assert len(five.jobs()) == 5
