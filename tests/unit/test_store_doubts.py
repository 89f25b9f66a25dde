"""Batches of which nobody knows whether the provider took them: looked up, held, decided; never quietly run twice."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest

from pubworks.errors import BatchNotHeld
from pubworks.states import BatchState, JobState
from pubworks.store import doubts
from pubworks.store.records import Claim
from pubworks.store.store import Store
from pubworks.store.tables import batches as batch_table
from pubworks.store.tables import events, provider_jobs
from pubworks.testing.store import Calls, check, draft, one_each


class Doubted(Calls):
    """A job of one batch, and what is decided about it."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.submit(draft("j1", *one_each(1)))

    def doubted(self) -> Claim:
        claim = self.take()
        assert self.begin_call(claim)
        assert self.doubt(claim)
        return claim

    def held(self) -> Claim:
        claim = self.doubted()
        assert self.hold(claim)
        return claim

    def adopt(self, claim: Claim, provider_job_id: str = "p7", **options: Any) -> bool:
        return self.do(doubts.adopt, claim.batch_id, claim.fence, provider_job_id, **options)

    def run_again(self, claim: Claim) -> bool:
        return self.do(doubts.run_again, claim.batch_id, claim.fence, "the provider does not know it")

    def hold(self, claim: Claim) -> bool:
        return self.do(doubts.hold, claim.batch_id, claim.fence, "cannot be looked up")

    def resolve(self, batch_id: str, decision: str, provider_job_id: str | None = None) -> str:
        return self.do(doubts.resolve, batch_id, decision, provider_job_id)


@pytest.fixture
def calls(store: Store) -> Doubted:
    return Doubted(store)


def test_a_batch_in_doubt_waits_for_a_look_up_and_is_not_run(calls: Doubted) -> None:
    calls.doubted()
    assert (calls.states(), calls.runs()) == (["UNCERTAIN"], [(1, "UNCERTAIN", None)])
    assert calls.batch().reason == "reset"
    assert calls.claim() is None
    (look,) = calls.doubts()
    assert (look.batch_id, look.job_id, look.fence, look.provider_job_id) == ("j1-0", "j1", 1, None)
    assert calls.claim() is None


def test_look_ups_become_rarer_up_to_a_limit(calls: Doubted) -> None:
    calls.doubted()
    age = 0.0
    for passed, wait in ((0, 0.5), (1, 0.5), (7, 2), (32, 10), (60, 10), (900, 10)):
        calls.wait(passed)
        age += passed
        (look,) = calls.doubts()
        assert (look.age_s, look.due_in_s) == (pytest.approx(age, abs=0.5), pytest.approx(wait, abs=0.15))
        assert calls.doubts() == []  # another worker has nothing to look up


def test_a_run_that_is_found_goes_on(calls: Doubted) -> None:
    claim = calls.doubted()
    assert calls.adopt(claim, "ibm-7")
    assert (calls.states(), calls.runs()) == (["IN_FLIGHT"], [(1, "ACCEPTED", "ibm-7")])
    calls.wait(1)
    (taken_up,) = calls.take_up(calls.looks())
    assert (taken_up.provider_job_id, taken_up.by_hand, taken_up.failing_s) == ("ibm-7", False, 0.0)
    calls.complete(taken_up)
    assert calls.job().state == JobState.DONE


def test_a_run_that_is_surely_not_there_is_run_again(calls: Doubted) -> None:
    claim = calls.doubted()
    assert calls.run_again(claim)
    assert (calls.states(), calls.runs()) == (["PENDING"], [(1, "LOST", None)])
    assert calls.take().fence == 2


def test_one_that_cannot_be_looked_up_is_held(calls: Doubted) -> None:
    claim = calls.doubted()
    assert calls.hold(claim)
    assert (calls.states(), calls.runs()) == (["HELD"], [(1, "UNCERTAIN", None)])
    assert calls.batch().reason == "reset; cannot be looked up"
    assert (calls.claim(), calls.doubts(), calls.looks()) == (None, [], [])
    assert calls.end_leases() == 0
    assert not calls.hold(claim)
    assert calls.batch().reason == "reset; cannot be looked up"
    assert calls.happened("held") == 1


DECISIONS = ["adopt", "run_again", "hold"]


TOO_LATE = ["CLAIMED", "SUBMITTING", "IN_FLIGHT", "DONE", "FAILED", "CANCELLED", "other fence"]


@pytest.mark.parametrize(
    ("decision", "state"),
    sorted(
        {*itertools.product(DECISIONS, TOO_LATE)} - {("adopt", "other fence")}
    ),  # an old run that is paid for will do
)
def test_a_decision_that_comes_too_late_changes_nothing(calls: Doubted, decision: str, state: str) -> None:
    claim = calls.doubted()
    calls.run_again(claim)
    if state == "CANCELLED":
        calls.cancel()
    else:
        new = calls.take("w/2")
        if state in ("SUBMITTING", "IN_FLIGHT", "other fence"):
            calls.begin_call(new)
        match state:
            case "IN_FLIGHT":
                calls.accept(new)
            case "DONE":
                calls.complete(new)
            case "FAILED":
                calls.fail(new)
            case "other fence":
                calls.doubt(new)
    before = [calls.rows(table) for table in (batch_table, provider_jobs, events)]
    assert not getattr(calls, decision)(claim)
    assert [calls.rows(table) for table in (batch_table, provider_jobs, events)] == before


def test_two_who_look_the_same_batch_up_do_not_undo_each_other(calls: Doubted) -> None:
    claim = calls.doubted()
    assert calls.adopt(claim, "p7")
    assert calls.adopt(claim, "p7")  # it is the batch's, and must not be cancelled
    assert not calls.adopt(claim, "p8")
    assert not calls.run_again(claim)
    assert not calls.hold(claim)
    assert calls.runs() == [(1, "ACCEPTED", "p7")]
    calls.wait(1)
    (taken_up,) = calls.take_up(calls.looks())
    calls.complete(taken_up)
    assert calls.adopt(claim, "p7")
    assert not calls.adopt(claim, "p8")


@pytest.mark.parametrize("before", ["SUBMITTING", "UNCERTAIN", "HELD", "PENDING"])
def test_who_called_may_tell_late_that_it_was_taken(calls: Doubted, before: str) -> None:
    claim = calls.take()
    calls.begin_call(claim)
    if before != "SUBMITTING":
        calls.end_leases()
    if before == "HELD":
        calls.hold(claim)
    if before == "PENDING":
        calls.run_again(claim)
    assert calls.states() == [before]
    assert calls.adopt(claim, "p7")
    assert (calls.states(), calls.runs()) == (["IN_FLIGHT"], [(1, "ACCEPTED", "p7")])
    assert not calls.accept(claim, "p7")
    check(calls.store)


@pytest.mark.parametrize("state", ["PENDING", "UNCERTAIN", "HELD"])
def test_a_paid_run_of_an_older_claim_will_do_where_no_newer_one_is_known(calls: Doubted, state: str) -> None:
    old = calls.doubted()
    calls.run_again(old)
    if state == "PENDING":
        calls.give_back(calls.take("w/2"))
    else:
        new = calls.doubted()
        assert state == "UNCERTAIN" or calls.hold(new)
    assert calls.states() == [state]
    assert calls.adopt(old, "p1")
    others = [] if state == "PENDING" else [(2, "LOST", None)]
    assert (calls.states(), calls.runs()) == (["IN_FLIGHT"], [(1, "ACCEPTED", "p1"), *others])
    check(calls.store)


def test_a_late_id_is_adopted_after_a_person_named_no_job(calls: Doubted) -> None:
    old = calls.held()
    calls.resolve("j1-0", "adopt", "typo")
    calls.wait(1)
    (claim,) = calls.take_up(calls.looks())
    assert calls.do(doubts.hold_again, claim, "no such job")
    assert calls.adopt(old, "p1")
    assert (calls.states(), calls.runs()) == (["IN_FLIGHT"], [(1, "ACCEPTED", "p1")])
    check(calls.store)


@pytest.mark.parametrize("cancelled", [True, False])
def test_the_id_of_a_run_that_came_too_late_is_kept(calls: Doubted, cancelled: bool) -> None:
    old = calls.doubted()
    calls.run_again(old)
    calls.fly(calls.take(), "p2")
    assert not calls.adopt(old, "p1")
    calls.do(doubts.keep_id, "j1-0", 1, "p1", cancelled=cancelled)
    calls.do(doubts.keep_id, "j1-0", 2, "p3")  # that of the batch's run stays
    assert calls.runs() == [(1, "LOST", "p1"), (2, "ACCEPTED", "p2")]
    assert calls.do(doubts.unseen, "j1-0", ["p1", "p2"]) == ([] if cancelled else ["p1"])  # it would do, if 2 is lost
    check(calls.store)


@pytest.mark.parametrize("cancelled", [True, False])
def test_a_run_of_which_the_id_came_after_its_job_was_cancelled_can_be_adopted_after_a_retry(
    calls: Doubted, cancelled: bool
) -> None:
    old = calls.held()
    calls.cancel()
    assert not calls.adopt(old, "p1")
    calls.do(doubts.keep_id, "j1-0", 1, "p1", cancelled=cancelled)
    assert calls.retry().held == 1
    assert calls.resolve("j1-0", "adopt", "p1") == "j1-0"
    assert (calls.states()[0], calls.runs()) == ("IN_FLIGHT", [(1, "ACCEPTED", "p1")])
    check(calls.store)


def test_runs_that_ended_are_not_taken_for_the_one_in_doubt(calls: Doubted) -> None:
    calls.fly(calls.take(), "old")
    (claim,) = calls.take_up(calls.looks())
    assert calls.put_back(claim, reason="it failed at the provider")
    calls.doubted()
    assert calls.do(doubts.unseen, "j1-0", ["old", "new"]) == ["new"]
    assert calls.do(doubts.unseen, "j1-0", ["old"]) == []
    assert calls.do(doubts.unseen, "j1-0", []) == []


def test_held_batches_are_listed_longest_first(calls: Doubted) -> None:
    calls.submit(draft("j2", *one_each(2)))
    for _ in range(3):
        calls.held()
        calls.wait(10)
    found = calls.do(doubts.held)
    assert [row.id for row in found] == ["j1-0", "j2-0", "j2-1"]
    assert [round(row.held_s) for row in found] == [30, 20, 10]
    assert [row.id for row in calls.do(doubts.held, "j2")] == ["j2-0", "j2-1"]
    assert calls.do(doubts.held, "%") == []


def test_one_whose_worker_died_in_the_call_is_held_as_long_as_others(calls: Doubted) -> None:
    claim = calls.take()
    calls.begin_call(claim)
    calls.end_leases()
    calls.wait(10)
    calls.hold(claim)
    assert [round(row.held_s) for row in calls.do(doubts.held)] == [10]


def test_a_person_adopts_a_run(calls: Doubted) -> None:
    calls.held()
    assert calls.resolve("j1-0", "adopt", "ibm-7") == "j1-0"
    assert (calls.states(), calls.runs()) == (["IN_FLIGHT"], [(1, "ACCEPTED", "ibm-7")])
    calls.wait(1)
    (claim,) = calls.take_up(calls.looks())
    assert claim.by_hand


def test_a_person_who_named_no_job_of_the_provider_decides_again(calls: Doubted) -> None:
    old = calls.held()
    calls.resolve("j1-0", "adopt", "typo")
    calls.wait(1)
    (claim,) = calls.take_up(calls.looks())
    assert calls.do(doubts.hold_again, claim, "no such job")
    assert not calls.do(doubts.hold_again, claim, "no such job")
    assert (calls.states(), calls.runs()) == (["HELD"], [(1, "UNCERTAIN", None)])
    check(calls.store)
    assert not calls.run_again(old)  # a look-up from before
    calls.resolve("j1-0", "resubmit")
    assert calls.runs() == [(1, "LOST", None)]
    calls.complete(calls.take())
    assert calls.job().state == JobState.DONE


def test_a_person_has_it_run_again(calls: Doubted) -> None:
    calls.held()
    calls.resolve("j1", "resubmit")
    assert (calls.states(), calls.runs()) == (["PENDING"], [(1, "LOST", None)])
    assert calls.batch().reason == "a person decided to run it again"
    assert calls.take().attempt == 2


def test_a_person_gives_it_up(calls: Doubted) -> None:
    calls.held()
    calls.resolve("j1-0", "fail")
    assert (calls.states(), calls.runs()) == (["FAILED"], [(1, "UNCERTAIN", None)])
    assert calls.batch().reason == "a person gave it up; reset; cannot be looked up"
    assert (calls.job().state, calls.happened("finished")) == (JobState.FAILED, 1)
    check(calls.store)


@pytest.mark.parametrize("decision", ["adopt", "resubmit", "fail"])
@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda calls: calls.take(), "No held batch has the id 'j1-0'"),
        (lambda calls: calls.doubted(), "No held batch has the id 'j1-0'"),
        (lambda calls: calls.complete(calls.held()), "No held batch has the id 'j1-0'"),
        (lambda calls: (calls.held(), calls.cancel()), "No held batch has the id 'j1-0'"),
    ],
)
def test_only_what_is_held_is_decided(calls: Doubted, decision: str, make: Callable[[Doubted], Any], told: str) -> None:
    make(calls)
    before = calls.rows(batch_table)
    with pytest.raises(BatchNotHeld, match=told):
        calls.resolve("j1-0", decision, "p1")
    assert calls.rows(batch_table) == before


def test_an_id_may_be_shortened_when_it_is_clear(calls: Doubted) -> None:
    calls.submit(draft("j2", *one_each(11)))
    calls.held()
    claims = [calls.held() for _ in range(11)]
    assert claims[10].batch_id == "j2-10"
    with pytest.raises(BatchNotHeld, match="Several held batches fit 'j2'. `pubworks held` shows"):
        calls.resolve("j2", "fail")
    with pytest.raises(BatchNotHeld, match="Several held batches fit ''"):
        calls.resolve("", "fail")
    assert calls.resolve("j2-1", "fail") == "j2-1"  # whole, though j2-10 starts so
    assert calls.resolve("j2-1", "fail") == "j2-10"
    assert calls.resolve("j1", "fail") == "j1-0"


@pytest.mark.parametrize("decision", ["adopt", "resubmit", "fail"])
def test_of_two_people_one_decides(calls: Doubted, monkeypatch: pytest.MonkeyPatch, decision: str) -> None:
    calls.held()
    seen = calls.do(doubts.held, "j1-0")
    calls.resolve("j1-0", "resubmit")
    monkeypatch.setattr(doubts, "held", lambda *_: seen)  # the other one looked before
    calls.take()
    before = calls.rows(batch_table)
    with pytest.raises(BatchNotHeld, match="j1-0 is held no more"):
        calls.resolve("j1-0", decision, "p1")
    assert calls.rows(batch_table) == before
    assert calls.batch().state == BatchState.CLAIMED
