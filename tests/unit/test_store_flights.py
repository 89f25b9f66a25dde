"""Runs in flight: looked at by whoever finds them due, taken up by one."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pubworks.policy import Policy
from pubworks.store import flights
from pubworks.store.records import Claim
from pubworks.store.store import Store
from pubworks.testing.store import Calls, check, draft, one_each

_numbers = itertools.count()


@pytest.fixture
def calls(store: Store) -> Calls:
    return Calls(store)


def fly(calls: Calls, count: int) -> list[Claim]:
    """Return the claims of a job's runs, which are in flight as p0, p1 and so on."""
    calls.submit(draft("j1", *one_each(count)))
    claims = calls.taken(most=count).claims
    for number, claim in enumerate(claims):
        calls.fly(claim, f"p{number}")
    return claims


@given(longest=st.sampled_from([5.0, 30.0]), waits=st.lists(st.floats(0.2, 90.0), min_size=1, max_size=6))
def test_looks_become_rarer_with_the_time_waited(store: Store, longest: float, waits: list[float]) -> None:
    calls = Calls(store)
    for row in calls.looks(calls=100):  # of the example before
        calls.complete(calls.take_up([row])[0])
    calls.submit(draft(f"j{next(_numbers)}", *one_each(1)))
    calls.fly(calls.take())
    policy, age = Policy(poll_longest_s=longest), 0.0
    for wait in waits:
        before = calls.now()
        calls.wait(wait)
        looks = calls.looks(policy=policy)
        age += wait + calls.now() - before
        if not looks:  # a tenth of the time waited until the last look was more than the wait
            assert wait < max(flights.FIRST_LOOK_S, 0.1 * age) + 1
            continue
        assert looks[0].due_in_s == pytest.approx(min(longest, max(flights.FIRST_LOOK_S, 0.1 * age)), abs=0.2)
        assert looks[0].age_s == pytest.approx(age, abs=1)
        assert calls.looks(policy=policy) == []  # nobody else looks now
    calls.wait(1000)


def test_a_look_shows_what_to_ask_for(calls: Calls) -> None:
    fly(calls, 2)
    looks = calls.looks()
    assert [(look.batch_id, look.job_id, look.fence, look.provider_job_id) for look in looks] == [
        ("j1-0", "j1", 1, "p0"), ("j1-1", "j1", 1, "p1"),
    ]  # fmt: skip
    assert calls.looks() == []
    calls.wait(1)
    assert len(calls.looks()) == 2


@pytest.mark.parametrize(("count", "per_call", "found"), [(1, 1, 1), (2, 3, 6), (4, 3, 7)])
def test_no_more_runs_than_the_requests_can_ask_for(calls: Calls, count: int, per_call: int, found: int) -> None:
    fly(calls, 7)
    assert len(calls.looks(calls=count, per_call=per_call)) == found
    assert len(calls.looks(calls=9, per_call=9)) == 7 - found


def test_runs_of_other_backends_are_left_alone(calls: Calls) -> None:
    fly(calls, 1)
    assert Calls(calls.store, "other").looks() == []


def test_of_two_who_saw_the_end_of_a_run_one_takes_it_up(calls: Calls) -> None:
    fly(calls, 3)
    looks = calls.looks()
    first = calls.take_up(looks[:2], "w/1")
    second = calls.take_up(looks, "w/2")
    assert [claim.batch_id for claim in first] == ["j1-0", "j1-1"]
    assert [claim.batch_id for claim in second] == ["j1-2"]
    assert [(claim.fence, claim.attempt) for claim in first] == [(2, 1), (2, 1)]
    assert {calls.batch(f"j1-{number}").lease_owner for number in range(3)} == {"w/1", "w/2"}
    assert calls.take_up([]) == []
    check(calls.store)


def test_one_that_is_taken_up_is_not_due(calls: Calls) -> None:
    fly(calls, 1)
    looks = calls.looks()
    (claim,) = calls.take_up(looks)
    calls.wait(1000)
    assert calls.looks() == []
    assert calls.take_up(looks, "w/2") == []
    assert calls.do(flights.look_again, claim, "read timed out", 20.0)
    assert calls.batch().reason == "read timed out"
    assert calls.looks() == []
    calls.wait(20)
    assert calls.take_up(looks, "w/2") == []  # that look is from before
    (again,) = calls.take_up(calls.looks(), "w/2")
    assert (again.fence, again.attempt, again.provider_job_id, round(again.failing_s)) == (3, 1, "p0", 20)
    assert not calls.do(flights.look_again, claim, "late", 0.0)
    assert calls.complete(again) == []
    assert calls.runs() == [(1, "DONE", "p0")]


def test_who_lost_the_lease_cannot_have_it_looked_at_again(calls: Calls) -> None:
    fly(calls, 1)
    (claim,) = calls.take_up(calls.looks())
    assert calls.end_leases() == 1
    calls.wait(1)
    (look,) = calls.looks()
    assert look.fence == claim.fence
    (other,) = calls.take_up([look], "w/2")
    assert not calls.do(flights.look_again, claim, "late", 0.0)
    assert calls.batch().lease_owner == "w/2"
    calls.complete(other)
    assert not calls.do(flights.look_again, other, "late", 0.0)


def test_a_run_whose_result_was_lost_is_run_again(calls: Calls) -> None:
    fly(calls, 1)
    (claim,) = calls.take_up(calls.looks())
    assert calls.put_back(claim, reason="its result is gone")
    assert calls.runs() == [(1, "FAILED", "p0")]
    new = calls.take()
    assert (new.fence, new.attempts, new.provider_job_id) == (3, 1, None)
    calls.fly(new, "p9")
    (claim,) = calls.take_up(calls.looks())
    assert (claim.attempt, claim.provider_job_id) == (3, "p9")
    calls.complete(claim)
    assert calls.runs() == [(1, "FAILED", "p0"), (3, "DONE", "p9")]
    check(calls.store)
