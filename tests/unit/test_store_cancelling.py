"""What a cancel leaves at the provider: whoever looks at it next asks the provider to cancel it, once."""

from __future__ import annotations

import pytest

from pubworks.policy import Policy, Rate
from pubworks.states import JobState
from pubworks.store import cancelling, doubts, flights, jobs, limits
from pubworks.store.records import Look
from pubworks.store.store import Store
from pubworks.testing.store import Calls, check, draft, one_each


class Flown(Calls):
    """Jobs with runs in flight."""

    def flying(self, count: int = 1, *, waiting: int = 0) -> None:
        """Submit job j1, with so many batches in flight and so many that wait."""
        self.submit(draft("j1", *one_each(count + waiting)))
        for number in range(count):
            self.fly(self.take(), f"p{number}")

    def cancelled_looks(self) -> list[Look]:
        """Return what is to be cancelled at the provider."""
        return [look for look in self.looks() if look.cancel]

    def asked(self, refusal: str | None = None) -> Look:
        """Have the provider asked to cancel the only run."""
        (look,) = self.cancelled_looks()
        self.do(cancelling.asked, look, refusal)
        return look


@pytest.fixture
def calls(store: Store) -> Flown:
    return Flown(store)


def test_a_run_of_an_open_job_is_not_to_be_cancelled(calls: Flown) -> None:
    calls.flying(2)
    assert [look.cancel for look in calls.looks()] == [False, False]


def test_every_worker_sees_at_once_what_is_to_be_cancelled_however_long_it_flies(calls: Flown) -> None:
    calls.flying(2, waiting=1)
    calls.wait(3600.0)
    calls.looks()
    assert calls.looks() == []
    calls.cancel()
    assert {look.provider_job_id for look in calls.cancelled_looks()} == {"p0", "p1"}
    assert calls.states() == ["IN_FLIGHT", "IN_FLIGHT", "CANCELLED"]


def test_it_is_asked_once_and_looked_at_soon_after(calls: Flown) -> None:
    calls.flying()
    calls.cancel()
    look = calls.asked()
    assert calls.runs() == [(1, "CANCELLING", "p0")]
    calls.do(cancelling.asked, look, None)
    calls.wait(1.0)
    assert [look.cancel for look in calls.looks()] == [False]
    assert calls.happened("asked to cancel") == 1
    check(calls.store)


def test_one_that_could_not_be_asked_is_asked_again_once_the_provider_answers(calls: Flown) -> None:
    calls.flying()
    calls.cancel()
    (look,) = calls.cancelled_looks()
    calls.do(cancelling.not_asked, look, "503", 5.0)
    assert calls.looks() == []
    calls.wait(6.0)
    (look,) = calls.looks()
    assert not look.cancel
    calls.do(flights.note_silence, [look], None)
    calls.wait(60.0)
    calls.asked("not supported")
    assert calls.happened("cancel refused") == 1


@pytest.mark.parametrize(("per_call", "cancels", "requests"), [(1, 1, 4), (3, 2, 3), (100, 2, 3)])
def test_a_request_to_cancel_counts_as_one_and_leaves_half_of_them_to_questions(
    calls: Flown, per_call: int, cancels: int, requests: int
) -> None:
    calls.flying(3)
    calls.submit(draft("j2", *one_each(3)))
    for number in range(3):
        calls.fly(calls.take(), f"q{number}")
    calls.do(limits.set_quota, "aer", requests=Rate(1.0, 50))
    calls.cancel()
    looks = calls.looks(calls=4, per_call=per_call)
    assert [look.cancel for look in looks].count(True) == cancels
    assert len(looks) == cancels + 3
    standing = calls.do(limits.standing)["aer"]
    assert round(standing.request_at - standing.now) == requests
    assert [look.cancel for look in calls.looks(calls=1, per_call=per_call)] == [True]


def test_what_the_provider_cancelled_is_over(calls: Flown) -> None:
    calls.flying()
    calls.cancel()
    calls.do(cancelling.carried_out, [calls.asked()])
    assert (calls.states(), calls.runs()) == (["CANCELLED"], [(1, "CANCELLED", "p0")])
    assert (calls.job().state, calls.job().batches_left) == (JobState.CANCELLED, 0)
    check(calls.store)


@pytest.mark.parametrize("refusal", [None, "too late"])
def test_what_the_provider_completes_all_the_same_is_kept(calls: Flown, refusal: str | None) -> None:
    calls.flying()
    calls.cancel()
    calls.asked(refusal)
    calls.wait(1.0)
    (claim,) = calls.take_up(calls.looks())
    assert (claim.provider_job_id, calls.complete(claim)) == ("p0", [])
    assert (calls.states(), calls.runs()) == (["DONE"], [(1, "DONE", "p0")])
    assert calls.job().state == JobState.CANCELLED
    assert calls.do(jobs.progress, "j1").pubs_done == 1
    check(calls.store)


def test_what_the_provider_cancelled_after_a_retry_is_run_again(calls: Flown) -> None:
    calls.flying()
    calls.cancel()
    look = calls.asked()
    calls.retry()
    calls.do(cancelling.carried_out, [look])
    assert (calls.states(), calls.job().state) == (["PENDING"], JobState.RUNNING)
    check(calls.store)
    assert calls.take().attempts == 0


def test_a_retry_takes_the_wish_back_that_nobody_carried_out(calls: Flown) -> None:
    calls.flying()
    calls.cancel()
    calls.retry()
    assert [look.cancel for look in calls.looks()] == [False]


def test_a_run_that_somebody_cancelled_at_the_provider_fails_and_is_not_halved(calls: Flown) -> None:
    calls.flying(1, waiting=1)
    calls.do(cancelling.carried_out, calls.looks())
    assert (calls.states(), calls.runs()) == (["FAILED", "PENDING"], [(1, "CANCELLED", "p0")])
    assert "not by pubworks" in calls.batch().reason
    calls.complete(calls.take())
    assert (calls.job().state, calls.retry()) == (JobState.PARTIAL, (1, 0))
    check(calls.store)


def test_what_others_moved_meanwhile_is_left_alone(calls: Flown) -> None:
    calls.flying()
    calls.cancel()
    look = calls.asked()
    calls.wait(1.0)
    (claim,) = calls.take_up(calls.looks())
    calls.do(cancelling.carried_out, [look])
    assert calls.states() == ["IN_FLIGHT"]
    calls.complete(claim)
    calls.do(cancelling.carried_out, [look])
    assert calls.states() == ["DONE"]
    check(calls.store)


def test_one_in_doubt_is_cancelled_once_it_is_found(calls: Flown) -> None:
    calls.submit(draft("j1", *one_each(1)))
    claim = calls.take()
    calls.begin_call(claim)
    calls.cancel()
    calls.doubt(claim)
    (look,) = calls.doubts()
    assert not look.cancel
    calls.do(doubts.adopt, look.batch_id, look.fence, "p7")
    calls.wait(1.0)
    assert calls.asked().provider_job_id == "p7"


def test_what_was_claimed_and_not_called_is_never_called(calls: Flown) -> None:
    calls.submit(draft("j1", *one_each(1)))
    claim = calls.take()
    calls.cancel()
    assert not calls.begin_call(claim)
    calls.give_back(claim)
    assert (calls.states(), calls.runs()) == (["CANCELLED"], [])
    check(calls.store)


def test_a_look_without_a_cancel_asks_about_the_run_as_ever(calls: Flown) -> None:
    calls.flying()
    (look,) = calls.do(flights.due, "aer", calls=1, per_call=1, policy=Policy())[0]
    assert (look.batch_id, look.provider_job_id, look.cancel) == ("j1-0", "p0", False)
