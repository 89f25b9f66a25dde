"""Session and Batch as their users hold them; IBM's names and words."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from qiskit import QuantumCircuit
from qiskit.providers.basic_provider import BasicSimulator

from pubworks.client import Batch, Client, Estimator, Sampler, Session
from pubworks.errors import ConfigError, JobCancelled, SessionClosed, SessionNotFound, SubmissionError
from pubworks.spans import seconds_of
from pubworks.states import JobState
from pubworks.store import ending
from pubworks.testing.store import Calls

#: What the ``details()`` of IBM's runtime has.
DETAILS = {
    "id", "backend_name", "interactive_timeout", "max_time", "active_timeout", "state", "accepting_jobs",
    "last_job_started", "last_job_completed", "started_at", "closed_at", "activated_at", "mode", "usage_time",
    "timestamps",
}  # fmt: skip


@pytest.fixture
def local() -> Iterator[Client]:
    """A client that runs jobs at once, in memory."""
    with Client.local() as client:
        yield client


@pytest.fixture
def idle(tmp_path: Path) -> Iterator[Client]:
    """A client whose jobs nobody runs."""
    with Client(data_dir=tmp_path, works=False) as client:
        yield client


@pytest.fixture
def circuit() -> QuantumCircuit:
    made = QuantumCircuit(1, name="one")
    made.x(0)
    made.measure_all()
    return made


@pytest.mark.parametrize(("kind", "mode"), [(Session, "dedicated"), (Batch, "batch")])
def test_a_with_block_runs_jobs_and_closes(local: Client, circuit: Any, kind: Any, mode: str) -> None:
    with kind(backend="basic", client=local) as group:
        assert group.status() == "Pending"
        sampler, estimator = Sampler(), Estimator()
        first, second = sampler.run([circuit], shots=7), estimator.run([(QuantumCircuit(1), "Z")])
        assert first.result(60)[0].data.meas.get_counts() == {"1": 7}
        assert group.status() == "In progress, accepting new jobs"
    assert second.result(60)[0].data.evs == 1.0
    assert group.status() == "Closed"
    assert [job.session_id for job in (first, second)] == [group.session_id] * 2
    details = group.details()
    assert details.keys() == DETAILS
    assert (details["mode"], details["backend_name"], details["accepting_jobs"]) == (mode, "basic", False)
    assert [step["status"] for step in details["timestamps"]][:2] == ["open", "active"]
    assert 0 < group.usage() == details["usage_time"] < 60
    assert group.progress().jobs == {"DONE": 2}
    assert group.progress().num_batches == group.progress().batches_done == 2


@pytest.mark.parametrize("aim", [lambda group: {"mode": group}, lambda group: {"backend": group}])
def test_a_primitive_takes_a_group_by_either_name(idle: Client, circuit: Any, aim: Any) -> None:
    batch = Batch("basic", client=idle)
    for primitive, pub in ((Sampler, circuit), (Estimator, (QuantumCircuit(1), "Z"))):
        made = primitive(**aim(batch))
        assert made.backend == "basic"
        assert made.run([pub]).session_id == batch.session_id
    assert Sampler(batch).run([circuit]).session_id == batch.session_id
    assert Sampler("basic", client=idle).run([circuit]).session_id is None


def test_a_backend_object_has_sessions_too(tmp_path: Path, circuit: Any) -> None:
    with Client(data_dir=tmp_path) as client, Session(BasicSimulator(), client=client):
        assert Sampler().run([circuit], shots=3).result(60)[0].data.meas.get_counts() == {"1": 3}


def test_any_process_goes_on_with_it_by_its_id(idle: Client, circuit: Any) -> None:
    batch = Batch("basic", "2h", client=idle)
    with Client(data_dir=idle.settings.data_dir, works=False) as other:
        again = Batch.from_id(batch.session_id, other)
        assert (again, again.backend(), again.service, hash(again)) == (batch, "basic", other, hash(batch))
        assert Batch.from_id(batch.session_id[-6:], client=other) == batch != "batch"
        job = Sampler(mode=again).run([circuit])
        assert batch.jobs() == [job]
        again.close()
    with pytest.raises(SessionClosed, match=f"Batch {batch.session_id} takes no more jobs: it was closed"):
        Sampler(mode=batch).run([circuit])
    assert batch.status() == "In progress, not accepting new jobs"
    assert issubclass(SessionClosed, SubmissionError)


def test_wrong_ids_are_told(idle: Client) -> None:
    batch = Batch("basic", client=idle)
    with pytest.raises(SessionNotFound, match=f"is a batch, no session: Batch.from_id\\('{batch.session_id}'\\)"):
        Session.from_id(batch.session_id, idle)
    with pytest.raises(SessionNotFound, match="`pubworks session list`"):
        Session.from_id("nope", idle)
    with pytest.raises(ConfigError, match="Unknown backend"):
        Session("nope", client=idle)
    assert idle.sessions() == [batch]


def test_closing_keeps_jobs_and_cancelling_ends_them(idle: Client, circuit: Any) -> None:
    session = Session("basic", client=idle)
    job = Sampler(mode=session).run([circuit])
    session.close()
    session.close()
    assert job.state == JobState.QUEUED
    assert session.cancel() == 1
    assert (job.state, session.status(), session.cancel()) == (JobState.CANCELLED, "Closed", 0)


def test_jobs_are_found_and_cancelled_by_group_and_tag(idle: Client, circuit: Any) -> None:
    batch = Batch("basic", client=idle)
    grouped, alone = Sampler(batch), Sampler("basic", client=idle)
    a, b, c = (one.run([circuit], tags=tags) for one, tags in ((grouped, ["x"]), (grouped, []), (alone, ["x", "y"])))
    assert idle.jobs(session=batch) == idle.jobs(session=batch.session_id) == batch.jobs() == [b, a]
    assert batch.jobs(limit=1, tags=["x"]) == [a]
    assert idle.cancel(tags=["x", "y"]) == 1
    assert idle.cancel(tags=["x"], session=batch) == 1
    assert [job.state for job in (a, b, c)] == ["CANCELLED", "QUEUED", "CANCELLED"]
    assert idle.cancel(tags=["x"]) == 0
    for wrong in ({}, {"tags": []}, {"tags": "x"}):
        with pytest.raises(TypeError):
            idle.cancel(**wrong)
    with pytest.raises(SessionNotFound, match="No session 'lost'"):
        idle.cancel(session="lost")
    assert b.state == "QUEUED"
    assert idle.cancel(session=batch.session_id[-8:]) == 1


def test_groups_are_listed(idle: Client) -> None:
    made = [kind(backend, client=idle) for kind in (Batch, Session) for backend in ("basic", "aer")]
    assert idle.sessions() == made[::-1]
    assert [type(one) for one in idle.sessions(limit=1, skip=1, mode="session")] == [Session]
    assert idle.sessions(mode="batch", backend="aer") == [made[1]]
    assert [one.backend() for one in idle.sessions(None, backend="basic")] == ["basic", "basic"]
    with pytest.raises(ValueError, match="pool"):
        idle.sessions(mode="pool")
    assert repr(made[0]) == f"<Batch {made[0].session_id} 'Pending' on basic>"


@pytest.mark.parametrize(
    ("span", "seconds"), [(5, 5), (0.5, 0.5), ("25m", 1500), ("2h 30m 40s", 9040), ("1d2h", 93600), (" 1.5h ", 5400)]
)
def test_times_are_written_as_ibm_writes_them(idle: Client, span: Any, seconds: float) -> None:
    session = Session("basic", max_time=span, interactive_timeout=span, client=idle)
    assert (session.details()["max_time"], session.details()["interactive_timeout"]) == (seconds, seconds)


@pytest.mark.parametrize("span", [0, -1, "", "2 hours", "h", "1h x", "-1h", float("nan"), float("inf"), "5"])
def test_times_that_are_none_are_refused(span: Any) -> None:
    with pytest.raises(ValueError, match="max_time is .* Give seconds above 0, or .* '2h 30m'"):
        seconds_of(span, "max_time")


@pytest.mark.parametrize("span", [True, [1], None])
def test_times_of_a_wrong_type_are_refused(span: Any) -> None:
    with pytest.raises(TypeError, match="max_time must be seconds"):
        seconds_of(span, "max_time")


def test_without_a_word_a_session_ends_after_hours_and_a_batch_never(idle: Client) -> None:
    assert Session("basic", client=idle).details()["max_time"] == 8 * 3600
    assert Batch("basic", client=idle).details()["max_time"] is None
    assert Batch("basic", client=idle).details()["interactive_timeout"] == 60


def test_a_block_counts_for_its_backend_only(idle: Client, circuit: Any) -> None:
    with Batch("basic", client=idle) as batch:
        with pytest.warns(UserWarning, match=f"Jobs of this backend run in {batch.session_id}"):
            inside = Sampler(mode="basic", client=idle)
        assert inside.run([circuit]).session_id == batch.session_id
        with pytest.raises(ValueError, match="The with block is of backend 'basic', and this is for 'aer'"):
            Sampler("aer", client=idle)
        with Client(data_dir=idle.settings.data_dir, works=False) as other:
            assert Sampler("aer", client=other).run([circuit]).session_id is None
            with pytest.raises(TypeError, match="was opened by another client"):
                Sampler(client=other)


def test_the_inner_block_counts(idle: Client, circuit: Any) -> None:
    with Batch("basic", client=idle) as outer:
        with Session("basic", client=idle) as inner:
            assert Sampler().run([circuit]).session_id == inner.session_id
        assert Sampler().run([circuit]).session_id == outer.session_id
        missed: list[BaseException] = []

        def elsewhere() -> None:
            try:
                Sampler()
            except TypeError as error:
                missed.append(error)

        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
        assert missed, "a block is of its own thread"


def test_no_backend_and_two_are_type_errors(idle: Client) -> None:
    for make in (Sampler, Estimator):
        with pytest.raises(TypeError, match="There is no backend"):
            make(client=idle)
        with pytest.raises(TypeError, match="once: as the first argument, or as mode"):
            make("basic", mode="basic", client=idle)


def test_a_block_that_fails_is_closed(idle: Client) -> None:
    with pytest.raises(ZeroDivisionError), Batch("basic", client=idle) as batch:
        raise ZeroDivisionError
    assert batch.status() == "Closed"
    with pytest.raises(TypeError, match="There is no backend"):
        Sampler(client=idle)


def test_a_session_ends_in_its_time(local: Client, circuit: Any) -> None:
    session = Session("basic", max_time="2h", client=local)
    assert Sampler(mode=session).run([circuit]).result(60)
    Calls(local.store).wait(7200)
    assert session.status() == "Closed"
    with pytest.raises(SessionClosed, match="its max_time of 7200 s is over"):
        Sampler(mode=session).run([circuit])


def test_who_came_too_late_is_told_so(idle: Client, circuit: Any) -> None:
    session = Session("basic", max_time="2h", client=idle)
    calls = Calls(idle.store, "basic")
    first, late = (Sampler(mode=session).run([circuit]) for _ in range(2))
    calls.take()
    calls.wait(7200)
    ending.end_sessions(idle.store)
    assert (first.state, late.state) == (JobState.RUNNING, JobState.CANCELLED)
    with pytest.raises(JobCancelled, match=f"its session {session.session_id} reached its max_time of 7200 s"):
        late.result()
    assert late.retry() == 1
