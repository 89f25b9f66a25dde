"""Sessions go first, in their time, and starve nobody; what is closed takes no more jobs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pubworks.errors import SessionClosed, SessionNotFound
from pubworks.policy import Policy
from pubworks.states import JobState, Mode, SessionState
from pubworks.store import ending, fleet, jobs, limits, sessions, waiting
from pubworks.store.records import SessionRecord, Slice
from pubworks.store.store import Store
from pubworks.store.tables import metadata
from pubworks.testing.store import Calls, check, draft, one_each

#: Long, so that it does not matter how fast this machine is.
MAX_S, IDLE_S, STEP_S = 6000.0, 600.0, 60.0


@pytest.fixture
def calls(store: Store) -> Calls:
    return Calls(store)


def open_session(calls: Calls, session_id: str, mode: Mode = Mode.SESSION, max_time_s: float | None = MAX_S) -> None:
    calls.do(sessions.open_session, session_id, mode=mode, backend="aer", max_time_s=max_time_s, idle_s=IDLE_S)


def forget_all(calls: Calls) -> None:
    with calls.store.write(durable=False) as connection:
        for table in reversed(metadata.sorted_tables):
            connection.execute(table.delete())


def submit(calls: Calls, job_id: str, count: int = 1, session: str | None = None) -> None:
    calls.submit(draft(job_id, *one_each(count), session=session))


def claimed(calls: Calls, most: int = 1) -> str:
    """Return the batches of one claim."""
    return " ".join(sorted(claim.batch_id for claim in calls.taken(most=most).claims))


def state(calls: Calls, session_id: str) -> SessionState:
    return found(calls, session_id).state


def found(calls: Calls, session_id: str) -> SessionRecord:
    return calls.do(sessions.get, session_id)


def run(calls: Calls) -> str:
    """Run the next batch to its end."""
    claim = calls.take()
    calls.complete(claim)
    return claim.batch_id


def test_a_session_waits_for_its_first_turn_and_goes_first_from_then_on(calls: Calls) -> None:
    open_session(calls, "s")
    submit(calls, "a", 2)
    submit(calls, "b", 3, "s")
    submit(calls, "c", 2)
    assert state(calls, "s") == SessionState.OPEN
    assert [run(calls) for _ in range(3)] == ["a-0", "a-1", "b-0"]
    assert state(calls, "s") == SessionState.ACTIVE
    submit(calls, "d", 1, "s")
    assert [run(calls) for _ in range(5)] == ["b-1", "b-2", "d-0", "c-0", "c-1"]


def test_what_a_session_has_due_is_claimed_alone(calls: Calls) -> None:
    """What others wait for is not claimed along with it: the session's next may come before that is run."""
    open_session(calls, "s")
    submit(calls, "a", 4, "s")
    submit(calls, "b", 5)
    assert claimed(calls) == "a-0"
    assert claimed(calls, most=5) == "a-1 a-2 a-3"
    assert claimed(calls, most=5) == "b-0 b-1 b-2 b-3 b-4"


def test_a_batch_of_jobs_takes_no_precedence(calls: Calls) -> None:
    open_session(calls, "s", Mode.BATCH)
    submit(calls, "a", 2, "s")
    submit(calls, "b", 1)
    submit(calls, "c", 1, "s")
    assert [run(calls) for _ in range(4)] == ["a-0", "a-1", "b-0", "c-0"]


def test_a_session_ends_after_its_time_but_not_what_runs(calls: Calls) -> None:
    open_session(calls, "s")
    submit(calls, "a", 3, "s")
    submit(calls, "b", 1, "s")
    submit(calls, "c", 1)
    claim = calls.take()
    calls.wait(MAX_S - STEP_S)
    assert run(calls) == "a-1"
    calls.wait(STEP_S)
    assert state(calls, "s") == SessionState.CLOSED
    assert calls.do(fleet.chores, ["aer"], 10, 1, 1).sessions_over
    ending.end_sessions(calls.store)
    assert not calls.do(fleet.chores, ["aer"], 10, 1, 1).sessions_over
    assert (calls.job("a").state, calls.job("b").state) == (JobState.RUNNING, JobState.CANCELLED)
    assert calls.batch("b-0").reason == "its session s reached its max_time of 6000 s"
    assert [run(calls), run(calls)] == ["a-2", "c-0"]
    calls.complete(claim)
    assert calls.job("a").state == JobState.DONE
    check(calls.store)


def test_after_its_time_a_session_waits_like_others(calls: Calls) -> None:
    open_session(calls, "s")
    submit(calls, "a", 1, "s")
    run(calls)
    submit(calls, "b", 1)
    submit(calls, "c", 1, "s")
    calls.wait(MAX_S)
    assert [run(calls), run(calls)] == ["b-0", "c-0"]


@pytest.mark.parametrize(
    ("idle_s", "order", "after"), [(IDLE_S - STEP_S, "c b", "active"), (IDLE_S + STEP_S, "b c", "inactive")]
)
def test_a_session_that_is_idle_for_too_long_queues_again(calls: Calls, idle_s: float, order: str, after: str) -> None:
    open_session(calls, "s")
    submit(calls, "a", 1, "s")
    claim = calls.take()
    calls.wait(2 * IDLE_S)
    assert state(calls, "s") == SessionState.ACTIVE, "its job runs"
    calls.complete(claim)
    calls.wait(idle_s)
    assert state(calls, "s") == after
    submit(calls, "b", 1)
    submit(calls, "c", 1, "s")
    assert state(calls, "s") == after
    assert [f"{name}-0" for name in order.split()] == [run(calls), run(calls)]
    assert state(calls, "s") == SessionState.ACTIVE


def test_a_session_is_not_idle_while_it_has_a_job(calls: Calls) -> None:
    open_session(calls, "s")
    submit(calls, "a", 1, "s")
    claim = calls.take()
    calls.wait(2 * IDLE_S)
    submit(calls, "b", 1)
    submit(calls, "c", 1, "s")
    assert [run(calls), run(calls)] == ["c-0", "b-0"]
    calls.complete(claim)


def test_the_session_that_is_active_longest_goes_first(calls: Calls) -> None:
    for session in ("s", "t"):
        open_session(calls, session)
    submit(calls, "a", 1, "t")
    submit(calls, "b", 1, "s")
    assert claimed(calls, most=2) == "a-0 b-0"
    calls.wait(1)  # both were begun at one moment: their names decide
    submit(calls, "c", 2, "t")
    submit(calls, "d", 2, "s")
    assert [run(calls) for _ in range(4)] in (["c-0", "c-1", "d-0", "d-1"], ["d-0", "d-1", "c-0", "c-1"])


def test_sessions_of_other_backends_do_not_matter(calls: Calls) -> None:
    open_session(calls, "s")
    submit(calls, "a", 2, "s")
    calls.submit(draft("b", *one_each(1), backend="other"))
    run(calls)
    assert calls.taken(backend="other").claims[0].batch_id == "b-0"


def test_a_session_keeps_its_precedence_within_limits(calls: Calls) -> None:
    calls.do(limits.set_quota, "aer", in_flight=2)
    open_session(calls, "s")
    submit(calls, "a", 1, "s")
    submit(calls, "b", 3)
    first = calls.take()
    submit(calls, "c", 3, "s")
    assert claimed(calls, most=5) == "c-0"
    assert claimed(calls) == ""
    calls.complete(first)
    assert claimed(calls, most=5) == "c-1"


def test_what_a_worker_holds_of_a_session_keeps_nobody_else_from_work(calls: Calls) -> None:
    open_session(calls, "s")
    submit(calls, "a", 2, "s")
    submit(calls, "b", 1)
    assert claimed(calls, most=9) == "a-0 a-1 b-0"
    calls.end_leases()
    assert claimed(calls, most=9) == "a-0 a-1"
    assert claimed(calls, most=9) == "b-0"


def test_nobody_starves(calls: Calls) -> None:
    """Whoever waits is overtaken for the time of the sessions that began before, whatever they and others submit."""
    open_session(calls, "s")
    submit(calls, "s0", 1, "s")
    run(calls)
    submit(calls, "patient", 1)
    open_session(calls, "late")
    order = []
    for number in range(1, 20):
        for session in ("late", "s"):
            if found(calls, session).takes_jobs:
                submit(calls, f"{session}{number}", 1, session)
        calls.wait(IDLE_S)
        order.append(run(calls))
    assert order[:11] == [*(f"s{number}-0" for number in range(1, 10)), "patient-0", "late1-0"]


def test_who_waits_is_told_of_the_session_that_goes_first(calls: Calls) -> None:
    open_session(calls, "s")
    submit(calls, "a", 2, "s")
    submit(calls, "b", 1)
    first = [calls.do(waiting.waits, job_id, Policy())[0].reason for job_id in "ab"]
    run(calls)
    then = [calls.do(waiting.waits, job_id, Policy())[0].reason for job_id in "ab"]
    assert (first, then) == ([None, None], [None, "the jobs of others go first: of a session, s"])


def test_halves_belong_to_the_session_of_their_whole(calls: Calls) -> None:
    open_session(calls, "s")
    calls.submit(draft("a", [Slice(0, 0, 4, 0)], session="s"))
    submit(calls, "b", 1)
    calls.split(calls.take())
    assert [claimed(calls), claimed(calls), claimed(calls)] == ["a-0.0", "a-0.1", "b-0"]


def test_what_is_closed_takes_no_more_jobs_and_goes_on(calls: Calls) -> None:
    open_session(calls, "s")
    submit(calls, "a", 2, "s")
    run(calls)
    submit(calls, "b", 1)
    assert calls.do(sessions.close, "s")
    assert not calls.do(sessions.close, "s")
    with pytest.raises(SessionClosed, match=r"Session s takes no more jobs: it was closed. Open a new one .*'aer'"):
        submit(calls, "c", 1, "s")
    assert [row.id for row in calls.rows(metadata.tables["jobs"])] == ["a", "b"], "nothing of it is stored"
    assert (state(calls, "s"), found(calls, "s").takes_jobs) == (SessionState.ACTIVE, False)
    assert run(calls) == "a-1"
    assert state(calls, "s") == SessionState.CLOSED
    ending.end_sessions(calls.store)
    assert found(calls, "s").ended_at is not None


def test_what_is_closed_before_its_first_turn_begins_all_the_same(calls: Calls) -> None:
    open_session(calls, "s")
    submit(calls, "a", 2, "s")
    calls.do(sessions.close, "s")
    submit(calls, "b", 1)
    ending.end_sessions(calls.store)
    assert [run(calls) for _ in range(3)] == ["a-0", "a-1", "b-0"]


@pytest.mark.parametrize("ended", [False, True])
def test_after_its_time_a_session_takes_no_more_jobs(calls: Calls, ended: bool) -> None:
    open_session(calls, "s", Mode.BATCH, max_time_s=7)
    submit(calls, "a", 1, "s")
    run(calls)
    calls.wait(7)
    if ended:
        ending.end_sessions(calls.store)
    with pytest.raises(SessionClosed, match=r"Batch s takes no more jobs: its max_time of 7 s is over.*Batch\('aer'\)"):
        submit(calls, "b", 1, "s")
    assert not calls.do(sessions.close, "s")


def test_the_job_of_a_key_is_found_again_in_a_closed_session(calls: Calls) -> None:
    open_session(calls, "s")
    job = replace(draft("a", *one_each(1), session="s"), idempotency_key="k", content="c")
    calls.submit(job)
    calls.do(sessions.close, "s")
    assert calls.do(jobs.submit, replace(job, id="b")) == "a"


def test_an_unknown_session_is_refused(calls: Calls) -> None:
    for ask in (lambda: submit(calls, "a", 1, "nope"), lambda: calls.do(sessions.close, "nope")):
        with pytest.raises(SessionNotFound, match="No session or batch nope in this database"):
            ask()


@pytest.mark.parametrize(("part", "whole"), [("01A", "01AB"), ("AB", "01AB"), ("2X", "2X"), ("2X2", "2X2X")])
def test_ids_may_be_shortened(calls: Calls, part: str, whole: str) -> None:
    for session in ("01AB", "2X", "2X2X"):
        open_session(calls, session)
    assert calls.do(sessions.find, part) == whole
    for wrong in ("", "nope", "2"):
        with pytest.raises(SessionNotFound):
            calls.do(sessions.find, wrong)


def test_cancelling_a_session_closes_it_and_cancels_its_open_jobs(calls: Calls) -> None:
    open_session(calls, "s")
    for job_id in ("a", "b", "c"):
        submit(calls, job_id, 2, "s")
    submit(calls, "d", 1)
    run(calls)
    run(calls)
    assert ending.cancel_session(calls.store, "s") == 2
    assert [calls.job(job_id).state for job_id in "abcd"] == ["DONE", "CANCELLED", "CANCELLED", "QUEUED"]
    assert state(calls, "s") == SessionState.CLOSED
    assert ending.cancel_session(calls.store, "s") == 0
    progress = calls.do(sessions.progress, "s")
    assert (progress.jobs, progress.batches) == ({"DONE": 1, "CANCELLED": 2}, {"DONE": 2, "CANCELLED": 4})
    assert (progress.num_jobs, progress.jobs_ended, progress.num_batches, progress.batches_done) == (3, 3, 6, 2)


#: What happens: (what, which session or how much).
_EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("submit"), st.sampled_from([None, "s0", "s1", "s2"])),
        st.tuples(st.just("claim"), st.integers(1, 4)),
        st.tuples(st.just("end_one"), st.none()),
        st.tuples(st.just("wait"), st.sampled_from([STEP_S, IDLE_S, MAX_S / 2])),
    ),
    max_size=40,
)


class Model:
    """Who should be next, told by the rules as people read them."""

    def __init__(self, calls: Calls) -> None:
        self.calls, self.time, self.submitted = calls, 0.0, 0
        self.waiting: list[tuple[str, str | None]] = []
        self.held: list[Any] = []
        self.open: dict[str, int] = dict.fromkeys(("s0", "s1", "s2"), 0)
        self.started: dict[str, float] = {}
        self.active: dict[str, float] = {}
        self.busy_until: dict[str, float] = {}
        for session in self.open:
            open_session(calls, session)

    def in_time(self, session: str) -> bool:
        return session not in self.started or self.time < self.started[session] + MAX_S

    def submit(self, session: str | None) -> None:
        name = f"j{self.submitted:03}"
        self.submitted += 1
        if session and not self.in_time(session):
            with pytest.raises(SessionClosed):
                submit(self.calls, name, 2, session)
            return
        submit(self.calls, name, 2, session)
        self.waiting += [(f"{name}-{number}", session) for number in (0, 1)]
        if session:
            idle = not self.open[session] and self.time >= self.busy_until.get(session, 0.0) + IDLE_S
            if idle:
                self.active.pop(session, None)
            self.open[session] += 1

    def claim(self, most: int) -> None:
        turns = [one for one in self.active if self.in_time(one) and one in {session for _, session in self.waiting}]
        turn = min(turns, key=lambda one: (self.active[one], one), default=None)
        expected = [one for one in self.waiting if turn is None or one[1] == turn][:most]
        claims = self.calls.taken(most=most).claims
        assert [claim.batch_id for claim in claims] == sorted(batch for batch, _ in expected)
        self.held += [(claim, dict(expected)[claim.batch_id]) for claim in claims]
        self.waiting = [one for one in self.waiting if one not in expected]
        for session in sorted({session for _, session in expected if session and self.in_time(session)}):
            self.started.setdefault(session, self.time)
            self.active.setdefault(session, self.time)
        self.wait(STEP_S)  # no two claims are at one moment

    def end_one(self, _: None) -> None:
        if not self.held:
            return
        claim, session = self.held.pop(0)
        self.calls.complete(claim)
        if session and self.calls.job(claim.job_id).state.is_final:
            self.open[session] -= 1
            self.busy_until[session] = self.time

    def wait(self, seconds: float) -> None:
        self.calls.wait(seconds)
        self.time += seconds


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(happens=_EVENTS)
def test_whoever_is_next_is_next_by_the_rules(calls: Calls, happens: list[tuple[str, Any]]) -> None:
    forget_all(calls)
    model = Model(calls)
    for what, how in happens:
        getattr(model, what)(how)
    check(calls.store)
