"""``Client(url, token=…)`` is the client of a database, with the same results, over connections that break."""

from __future__ import annotations

import asyncio
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.providers.basic_provider import BasicSimulator
from tests.acceptance.api.breaking import breaking
from tests.acceptance.api.conftest import Served, serving
from tests.unit.test_estimator_equals_reference import pubs as estimator_pubs
from tests.unit.test_sampler_equals_reference import pubs as sampler_pubs

from pubworks import errors
from pubworks.client import Batch, Client, Estimator, Sampler, Session
from pubworks.ledger.stored import StoredLedger
from pubworks.policy import Policy
from pubworks.states import Scope
from pubworks.store import fleet, jobs, limits
from pubworks.store.records import BackendFacts

SEED = {"seed_simulator": 7}

#: Another process opens a handle: without a token, and with one.
ELSEWHERE = """
import os, pickle, sys
pickled = sys.stdin.buffer.read()
try:
    pickle.loads(pickled)
except Exception as error:
    print(error)
os.environ["PUBWORKS_URL"], os.environ["PUBWORKS_TOKEN"] = sys.argv[1:]
print(pickle.loads(pickled).status().name)
"""


@contextmanager
def working(folder: Path, database: str) -> Iterator[None]:
    """Run a worker on a database."""
    said = {"DATABASE": database, "DATA_DIR": str(folder), "KEEPER_INTERVAL_S": "0.05"}
    env = {**os.environ, **{f"PUBWORKS_{name}": value for name, value in said.items()}}
    command = [sys.executable, "-m", "pubworks.cli.main", "worker", "--backend", "aer"]
    process = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server with a worker."""
    folder = tmp_path_factory.mktemp("lab")
    database = f"sqlite:///{folder / 'pubworks.db'}"
    with (
        serving(folder, database, api_rate="500/s burst 500", api_max_upload_bytes=5_000_000) as served,
        working(folder, database),
    ):
        yield served


@pytest.fixture(scope="module")
def ann(lab: Served) -> Iterator[Client]:
    with Client(lab.url, token=lab.token("ann", Scope.SUBMIT)) as client:
        yield client


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A client of its own in this process."""
    with Client(data_dir=tmp_path_factory.mktemp("here"), keeper_interval_s=0.05) as client:
        yield client


def bell() -> QuantumCircuit:
    circuit = QuantumCircuit(2, metadata={"of": ["ann", None]})
    circuit.h(0)
    circuit.cx(0, 1)
    circuit.measure_all()
    return circuit


def turned() -> QuantumCircuit:
    circuit = QuantumCircuit(1)
    circuit.rx(Parameter("a"), 0)
    circuit.measure_all()
    return circuit


def stored(client: Client, job: Any) -> dict[int, bytes]:
    return dict(client.ledger.results(job.job_id()))


def test_a_sampler_has_the_same_results(lab: Served, ann: Client, here: Client) -> None:
    values = np.linspace(0, 3, 200).reshape(2, 100, 1)
    workload = [bell(), (turned(), values, 30), (turned(), [[0.5]], 7), (bell(), None, 11)]
    theirs, ours = (
        Sampler("aer", options={**SEED, "default_shots": 20}, client=client).run(workload, tags=["b", "a"], name="n")
        for client in (ann, here)
    )
    assert theirs.result(60)[1].data.meas.array.shape == (2, 100, 30, 1)
    assert ours.result(60).metadata == theirs.result().metadata
    assert stored(ann, theirs) == stored(here, ours)
    same_handles(theirs, lab.client.job(theirs.job_id()))
    assert [pub.circuit for pub in theirs.inputs] == [pub.circuit for pub in ours.inputs]
    plans = [Sampler("aer", options=SEED, client=client).plan(workload) for client in (ann, here)]
    assert plans[0].batches == plans[1].batches
    assert str(plans[0]).splitlines()[:6] == str(plans[1]).splitlines()[:6]


def same_handles(over: Any, straight: Any) -> None:
    """Check that a handle over the server tells what one of the database tells of the same job."""
    for name in ("name", "primitive", "backend_name", "session_id", "options", "tags", "state"):
        assert getattr(over, name) == getattr(straight, name), name
    told = ("status", "error", "done", "running", "cancelled", "in_final_state", "progress", "wait_for_final_state")
    for name in (*told, "usage", "metrics", "provider_jobs", "__repr__"):
        assert getattr(over, name)() == getattr(straight, name)(), name
    assert [str(event) for event in over.timeline()] == [str(event) for event in straight.timeline()]
    assert over.pub(-1).state == straight.pub(-1).state
    assert over._repr_html_().count("<tr") == straight._repr_html_().count("<tr")
    assert over.draw()._repr_html_().count("<rect") == straight.draw()._repr_html_().count("<rect")
    assert abs(over.creation_date - straight.creation_date).total_seconds() < 0.001
    with pytest.raises(IndexError):
        over.pub(99)


def test_an_estimator_has_the_same_results_and_evaluates_its_counts_again(
    lab: Served, ann: Client, here: Client
) -> None:
    circuit = bell().remove_final_measurements(inplace=False)
    work = [(circuit, [{"ZZ": 0.3, "XX": 0.1}, "ZI"]), (circuit, "0Z", None, 0.1)]
    theirs, ours = (Estimator("aer", options=SEED, client=client).run(work) for client in (ann, here))
    assert dict(theirs.as_completed(60)).keys() == {0, 1}
    ours.result(60)
    assert stored(ann, theirs) == stored(here, ours)
    again = [job.reestimate([["XX", "ZZ"], "ZI"]) for job in (theirs, ours)]
    assert [pub.data.evs.tolist() for pub in again[0]] == [pub.data.evs.tolist() for pub in again[1]]
    same_handles(theirs, lab.client.job(theirs.job_id()))
    with pytest.raises(errors.NotMeasured, match="PUB 1"):
        theirs.reestimate(["ZZ", "YY"])


@given(work=st.lists(sampler_pubs(), max_size=3), seed=st.integers(0, 2**31 - 1))
@settings(max_examples=8, suppress_health_check=[HealthCheck.too_slow])
def test_any_sampler_workload_has_the_same_bits(ann: Client, here: Client, work: list[Any], seed: int) -> None:
    options = {"seed_simulator": seed, "default_shots": 6}
    theirs, ours = (Sampler("aer", options=options, client=client).run(work) for client in (ann, here))
    for job in (theirs, ours):
        job.result(60)
    assert stored(ann, theirs) == stored(here, ours)


@given(work=st.lists(estimator_pubs(), min_size=1, max_size=2), seed=st.integers(0, 2**31 - 1))
@settings(max_examples=6, suppress_health_check=[HealthCheck.too_slow])
def test_any_estimator_workload_has_the_same_bits(ann: Client, here: Client, work: list[Any], seed: int) -> None:
    options = {"seed_simulator": seed, "default_precision": 0.2}
    theirs, ours = (Estimator("aer", options=options, client=client).run(work) for client in (ann, here))
    for job in (theirs, ours):
        job.result(60)
    assert stored(ann, theirs) == stored(here, ours)


def test_wrong_input_is_told_as_by_a_database(ann: Client) -> None:
    sampler = Sampler("aer", client=ann)
    with pytest.raises(TypeError):
        sampler.run([1])
    with pytest.raises(errors.SubmissionError, match="40 qubits"):
        sampler.run([QuantumCircuit(40, 1)])
    with pytest.raises(ValueError, match="precision"):
        Estimator("aer", client=ann).run([(QuantumCircuit(1), "Z")], precision=-1)
    with pytest.raises(errors.ConfigError, match="aerr"):
        Sampler("aerr", client=ann)
    with pytest.raises(errors.ConfigError, match="lives in this process only"):
        Sampler(BasicSimulator(), client=ann)
    with pytest.raises(errors.JobNotFound, match="nothing"):
        ann.job("nothing")
    with pytest.raises(errors.ConfigError, match="database is not for clients"):
        ann.store  # noqa: B018


def test_jobs_are_found_tagged_cancelled_and_retried(lab: Served, ann: Client) -> None:
    with ann.ledger.watch_all() as watch:
        watch.pause(None)  # without an event to begin behind, it begins now
    waiting = [lab.job("ann", name=f"w{number}", tags=("wait",)) for number in range(3)]
    found = ann.jobs(limit=None, tags=["wait"], created_after=0)
    assert [job.job_id() for job in found] == waiting[::-1]
    assert ann.jobs(limit=1, skip=1, tags=["wait"]) == found[1:2]
    job = found[0]
    job.tags = ["c", "wait"]
    assert (job.tags, ann.job(job.job_id()[-8:]) == job) == (["c", "wait"], True)
    job.shared = True
    assert (job.shared, lab.client.job(job.job_id()).shared) == (True, True)
    job.shared = False
    assert not job.shared
    assert (job.cancel(), ann.cancel(tags=["wait"])) == (False, 0)
    with pytest.raises(errors.NothingToRetry):
        job.retry()
    # Nobody works for this backend.
    slow = [Sampler("basic", client=ann).run([bell()], tags=["slow"]) for _ in range(3)]
    assert slow[0].cancel()
    assert (ann.cancel(tags=["slow"]), slow[1].status().name) == (2, "CANCELLED")
    with pytest.raises(errors.JobCancelled, match="retry\\(\\) runs the rest"):
        slow[0].result()
    assert (slow[0].retry(), slow[0].state) == (1, "QUEUED")
    with pytest.raises(errors.JobTimeout, match="goes on"):
        slow[0].result(timeout=0.2)
    assert slow[0].result(partial=True).metadata["missing"] == [0]
    assert (slow[0].pub(0).state, slow[0].cancel()) == ("QUEUED", True)


def test_sessions_and_batches_are_those_of_a_database(lab: Served, ann: Client) -> None:
    with Session("aer", "1h", client=ann) as session:
        job = Sampler(mode=session).run([bell()])
        job.result(60)
        assert (job.session_id, session.jobs(), session.progress().jobs) == (session.session_id, [job], {"DONE": 1})
        assert session.status().startswith("In progress")
    assert session.usage() > 0
    with pytest.raises(errors.SessionClosed, match="takes no more jobs"):
        Sampler(mode=session).run([bell()])
    stored = Session.from_id(session.session_id, client=lab.client)
    assert stored.details()["state"] == session.details()["state"]
    assert stored.details().keys() == session.details().keys()
    batch = Batch("basic", client=ann)
    Sampler(mode=batch).run([bell()])
    assert (batch.cancel(), batch.status(), ann.sessions(mode="batch")) == (1, "Closed", [batch])
    with Client(lab.url, token=lab.token("ben", Scope.SUBMIT)) as ben:
        assert ben.sessions() == []
        with pytest.raises(errors.AccessError, match="another user"):
            Session.from_id(session.session_id, client=ben)
        with pytest.raises(errors.SessionNotFound):
            Session.from_id(session.session_id[-6:], client=ben)


def test_waiting_is_cancelled_with_its_task_and_ends_with_the_job(ann: Client) -> None:
    async def both() -> tuple[Any, str]:
        slow, quick = (Sampler(name, options=SEED, client=ann).run([bell()]) for name in ("basic", "aer"))
        task = asyncio.create_task(slow.aresult())
        result = await quick.aresult(60)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert [pub async for pub, _ in quick.as_completed()] == [0]
        slow.cancel()
        return result, quick.status().name

    assert asyncio.run(both())[1] == "DONE"


def test_handles_go_to_other_processes_without_the_token(
    lab: Served, ann: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = ann.job(lab.job("ann"))
    pickled = pickle.dumps(job)
    assert b"pw_" not in pickled
    assert "pw_" not in repr(ann.settings) + repr(ann.ledger._wire)  # type: ignore[attr-defined]
    assert pickle.loads(pickled) == job
    env = {name: value for name, value in os.environ.items() if not name.startswith("PUBWORKS_")}
    known = [lab.url, lab.token("ann", Scope.READ)]
    command = [sys.executable, "-c", ELSEWHERE, *known]
    done = subprocess.run(command, input=pickled, capture_output=True, env=env, check=True)
    assert "needs a token that the handle does not hold" in done.stdout.decode()
    assert done.stdout.decode().splitlines()[-1] == "DONE"


def test_a_submission_whose_answer_is_lost_is_one_job(lab: Served) -> None:
    token = lab.token("lost", Scope.SUBMIT)
    with breaking(lab.url) as way, Client(way.url, token=token) as client:
        sampler = Sampler("aer", options=SEED, client=client)
        client.ledger.close()
        way.breaks.extend([("request", 1500), ("answer", 0), ("answer", 20)])
        job = sampler.run([bell()])
        assert len(way.broken) == 3
        assert client.jobs(limit=None) == [job]
        assert job.result(60)[0].data.meas.num_shots == 1024


def test_a_download_that_breaks_off_goes_on_where_it_was(lab: Served, ann: Client) -> None:
    job = Sampler("aer", options=SEED, client=ann).run([(bell(), None, 20_000 + number) for number in range(12)])
    whole = job.result(60)
    again = Estimator("aer", options=SEED, client=ann).run([(bell().remove_final_measurements(inplace=False), "ZZ")])
    again.result(60)
    with breaking(lab.url) as way, Client(way.url, token=lab.token("ann", Scope.READ)) as client:
        handle, counts = client.job(job.job_id()), client.job(again.job_id())
        handle.in_final_state()
        client.ledger.close()
        way.breaks.extend([("answer", 1200), ("answer", 900), ("answer", 3_000)])
        assert dict(client.ledger.results(job.job_id())) == stored(ann, job)
        assert len(way.broken) == 3
        client.ledger.close()
        way.breaks.append(("answer", 1000))
        assert counts.reestimate(["ZZ"])[0].data.evs == again.result()[0].data.evs
        assert [pub.data.meas for pub in handle.result()] == [pub.data.meas for pub in whole]


def test_who_waits_outlives_the_server(tmp_path: Path) -> None:
    database = f"sqlite:///{tmp_path / 'pubworks.db'}"
    with serving(tmp_path, database) as first:
        token = first.token("ann", Scope.SUBMIT)
        with breaking(first.url) as way, Client(way.url, token=token) as client:
            job = Sampler("basic", client=client).run([bell()])
            found: list[Any] = []
            waiting = threading.Thread(target=lambda: found.append(job.wait_for_final_state(60)))
            waiting.start()
            first.process.terminate()
            first.process.wait(20)
            with serving(tmp_path, database) as second:
                way.target = ("127.0.0.1", int(second.url.rpartition(":")[2]))
                with second.client.store.write() as connection:
                    jobs.cancel(connection, job.job_id())
                waiting.join(60)
                assert found == ["CANCELLED"]


def test_tokens_that_are_missing_revoked_or_too_weak_are_told_with_the_remedy(lab: Served) -> None:
    with Client(lab.url) as client, pytest.raises(errors.NotAuthenticated, match="PUBWORKS_TOKEN"):
        client.jobs()
    token = lab.token("eve", Scope.READ)
    with Client(lab.url, token=token) as client:
        assert client.jobs() == []
        with pytest.raises(errors.NotAllowed, match="scope submit"):
            client.cancel(tags=["a"])
        with pytest.raises(errors.NotAllowed, match="scope operate"):
            client.ledger.held()
        job = client.job(lab.job("eve"))
        with lab.user("root", Scope.ADMIN) as root:
            root.delete(f"/v1/tokens/{token.split('_')[1]}")
        with pytest.raises(errors.NotAuthenticated, match="was revoked.*PUBWORKS_TOKEN"):
            job.result()


def test_what_is_too_large_is_refused(lab: Served, ann: Client) -> None:
    with pytest.raises(errors.TooLarge, match="over the limit of 5000000 bytes"):
        Sampler("basic", client=ann).run([(turned(), np.zeros((700_000, 1)))], name="large")
    assert ann.jobs(name="large") == []


def test_nobody_at_the_url_is_told(lab: Served) -> None:
    with breaking(lab.url) as way:
        url = way.url
    with Client(url, token="pw_x_y") as client, pytest.raises(errors.ServerUnreachable, match="does not answer"):
        client.jobs()


def test_a_token_does_not_go_unencrypted_to_another_machine() -> None:
    with pytest.raises(errors.ConfigError, match="unencrypted to pubworks.lab.*plain_http"):
        Client("http://pubworks.lab", token="pw_x_y").jobs()
    assert Client("http://pubworks.lab", token="pw_x_y", plain_http=True).ledger.place == "http://pubworks.lab"
    assert Client("http://pubworks.lab/a/").ledger.place == "http://pubworks.lab/a"
    with pytest.raises(errors.ConfigError, match="'url'"):
        Client("ftp://pubworks.lab")


def test_a_backend_is_resumed_by_who_operates(lab: Served, ann: Client) -> None:
    with pytest.raises(errors.AccessError, match="operate"):
        ann.resume("aer")
    with Client(lab.url, token=lab.token("olga", Scope.OPERATE)) as olga:
        for client in (olga, lab.client):
            with lab.client.store.write() as connection:
                limits.failed(connection, "aer", "502 bad gateway", Policy(), surely=True)
            assert client.resume("aer")[:2] == (True, False)
            assert client.resume("aer")[:2] == (False, False)
            with pytest.raises(errors.ConfigError, match="Unknown backend 'nothing'"):
                client.resume("nothing")


def test_backends_are_told_without_what_makes_them(lab: Served, ann: Client) -> None:
    with lab.client.store.write() as connection:
        fleet.describe_backend(connection, BackendFacts("aer", "spec", 29, None, None))
    (known,) = [facts for facts in ann.backends() if facts.name == "aer"]
    assert known.num_qubits == next(facts for facts in lab.client.backends() if facts.name == "aer").num_qubits
    assert {one["factory"] for one in ann.ledger.backends()} == {None}
    assert isinstance(lab.client.ledger, StoredLedger)
