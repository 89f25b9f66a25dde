"""Limits of the whole fleet: rates, runs in flight, pauses and the breaker, by the database's clock."""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, event

from pubworks.policy import Policy, Quota, Rate
from pubworks.store import doubts, flights, limits
from pubworks.store.records import Resumed, Taken
from pubworks.store.store import Store
from pubworks.store.tables import limits as limit_table
from pubworks.testing.store import Calls, draft, one_each

POLICY = Policy(breaker_failures=3, breaker_s=10.0)

#: Examples of a property; each is a dozen transactions.
FEW = settings(max_examples=25)

_backends = itertools.count()


@pytest.fixture
def store(store: Store) -> Iterator[Store]:
    """A database whose clock stands still, but for what a test skips: however slow the machine is."""
    day = Calls(store).now() / 86400.0 + 2440587.5

    def stop_clock(connection: sqlite3.Connection, _: Any) -> None:
        connection.create_function("julianday", 1, lambda _: day)

    store.close()  # connections that are open have a clock that goes
    event.listen(Engine, "connect", stop_clock)
    yield store
    event.remove(Engine, "connect", stop_clock)


class Limited(Calls):
    """The workers of one backend, which has a number of batches, and the time since it was made."""

    def __init__(self, store: Store, batches: int, **quota: Any) -> None:
        super().__init__(store, f"b{next(_backends)}")
        self.passed = 0.0
        self.start = self.now()
        self.submit(draft(f"job-of-{self.backend}", *one_each(batches), backend=self.backend))
        self.set(**quota)

    def set(self, **quota: Any) -> None:
        self.do(limits.set_quota, self.backend, **quota)

    def wait(self, seconds: float) -> None:
        super().wait(seconds)
        self.passed += seconds

    def time(self) -> float:
        """Return the seconds since this was made: those that were skipped, and those that really passed."""
        return self.passed + self.now() - self.start

    def grant(self, most: int = 1) -> Taken:
        return self.taken(most=most, policy=POLICY)

    def is_granted(self) -> bool:
        return bool(self.grant().claims)

    def fails(self, **options: Any) -> None:
        self.do(limits.failed, self.backend, "503", POLICY, **options)

    def row(self) -> Any:
        return self.do(limits.standing, [self.backend])[self.backend]


rates = st.builds(Rate, interval_s=st.floats(0.5, 60.0), burst=st.integers(1, 5))
#: Waits in units of the interval, and how many are asked for then.
asks = st.lists(st.tuples(st.floats(0.0, 3.0), st.integers(1, 6)), min_size=2, max_size=12)


def assert_within(rate: Rate, grants: list[tuple[float, int]]) -> None:
    """See that no window of time has more than the burst and what its length gives."""
    for first in range(len(grants)):
        for last in range(first, len(grants)):
            length = grants[last][0] - grants[first][0]
            assert sum(count for _, count in grants[first : last + 1]) <= rate.burst + length / rate.interval_s + 0.01


@FEW
@given(rate=rates, asked=asks)
def test_no_window_has_more_submissions_than_its_rate_gives(store: Store, rate: Rate, asked: Any) -> None:
    limited = Limited(store, 72, submit=rate)
    grants = []
    for wait, most in asked:
        limited.wait(wait * rate.interval_s)
        taken = limited.grant(most)
        grants.append((limited.time(), len(taken.claims)))
        assert (taken.wait_s is None) == (len(taken.claims) == most)
    assert_within(rate, grants)


@FEW
@given(rate=rates, asked=asks)
def test_who_waits_as_told_is_granted_the_next_one(store: Store, rate: Rate, asked: Any) -> None:
    limited = Limited(store, 72, submit=rate)
    for wait, most in asked:
        limited.wait(wait * rate.interval_s)
        taken = limited.grant(most)
        if taken.wait_s is not None:
            assert taken.wait_s <= rate.interval_s * 1.001
            assert taken.claims or "submissions" in (taken.why or "")
            limited.wait(taken.wait_s + 0.002)  # SQLite's clock has milliseconds
            assert limited.is_granted()


@FEW
@given(
    rate=rates, asked=st.lists(st.tuples(st.floats(0.0, 2.0), st.sampled_from("sfrd"), st.integers(1, 4)), max_size=12)
)
def test_every_kind_of_request_counts(store: Store, rate: Rate, asked: Any) -> None:
    limited = Limited(store, 60)
    for claim in limited.grant(20).claims[:10]:
        limited.fly(claim)
    for claim in limited.grant(10).claims:
        limited.begin_call(claim)
        limited.doubt(claim)
    limited.wait(1000)
    looks = limited.looks(calls=10)
    limited.set(requests=rate)
    grants = []
    for wait, kind, most in asked:
        limited.wait(wait * rate.interval_s)
        match kind:
            case "s":
                count = len(limited.grant(most).claims)
            case "f":
                found, _ = limited.do(flights.due, limited.backend, calls=most, per_call=2, policy=POLICY)
                count = -(-len(found) // 2)
            case "r":
                count = len(limited.take_up(looks[:most]))
            case _:
                count = len(limited.doubts(most))
        grants.append((limited.time(), count))
    assert_within(rate, grants)


def test_a_rate_that_is_used_up_says_when_to_look_again(store: Store) -> None:
    limited = Limited(store, 10)
    for claim in limited.grant(3).claims:
        limited.fly(claim)
    limited.set(requests=Rate(60.0))
    (look,) = limited.looks(calls=3)
    for query, options in ((flights.due, {"calls": 3, "per_call": 1}), (doubts.due, {"most": 3})):
        found, wait = limited.do(query, limited.backend, policy=POLICY, **options)
        assert (found, round(wait)) == ([], 60)
    claims, wait = limited.do(flights.take_up, limited.backend, [look], owner="w", lease_s=60, policy=POLICY)
    assert (claims, round(wait)) == ([], 60)


@FEW
@given(
    cap=st.integers(1, 4),
    steps=st.lists(
        st.sampled_from(["claim", "fly", "doubt", "hold", "take up", "complete", "fail", "back"]), max_size=20
    ),
    most=st.integers(1, 3),
)
def test_no_more_runs_than_the_cap_and_no_fewer(store: Store, cap: int, steps: list[str], most: int) -> None:
    limited = Limited(store, 60, in_flight=cap)
    held, flying, unsure = [], 0, []
    for step in steps:
        if step == "claim":
            room = cap - len(held) - flying - len(unsure)
            taken = limited.grant(most)
            assert len(taken.claims) == min(most, room)
            assert (taken.wait_s is None) == (room >= most)
            held += taken.claims
        elif step == "hold" and unsure:
            claim = unsure.pop()
            assert limited.do(doubts.hold, claim.batch_id, claim.fence, "unknown")
        elif step == "take up" and flying:
            limited.wait(100)
            limited.take_up(limited.looks(calls=1))  # it is over at the provider
            flying -= 1
        elif held and step in ("fly", "doubt", "complete", "fail", "back"):
            claim = held.pop()
            match step:
                case "fly":
                    limited.fly(claim)
                    flying += 1
                case "doubt":
                    limited.begin_call(claim)
                    limited.doubt(claim)
                    unsure.append(claim)
                case "back":
                    assert limited.put_back(claim)
                case _:
                    getattr(limited, step)(claim)


def test_the_strictest_limit_says_what_is_waited_for(store: Store) -> None:
    limited = Limited(store, 10, submit=Rate(10.0, 4), requests=Rate(30.0, 3), in_flight=2)
    claims = [*limited.grant(9).claims, *limited.grant(9).claims]  # one at a time, where a rate says when
    assert len(claims) == 2
    assert "no more than 2 may be" in (limited.grant(9).why or "")
    for claim in claims:
        limited.complete(claim)
    assert len(limited.grant(9).claims) == 1
    taken = limited.grant(9)
    assert (taken.claims, round(taken.wait_s or 0)) == ([], 30)
    assert taken.why == "no more than 2/min burst 3 requests"


def test_only_batches_that_are_due_use_a_limit_up(store: Store) -> None:
    limited = Limited(store, 2, submit=Rate(60.0, 4))
    assert [limited.is_granted() for _ in range(2)] == [True, True]
    assert limited.grant() == Taken([])
    limited.submit(draft(f"more-{limited.backend}", *one_each(3), backend=limited.backend))
    assert [limited.is_granted() for _ in range(3)] == [True, True, False]


def test_a_provider_that_refuses_for_the_number_bears_half_and_then_more_again(store: Store) -> None:
    limited = Limited(store, 100)
    claims = limited.grant(9).claims
    for claim in claims[:8]:
        limited.fly(claim)
    limited.begin_call(claims[8])
    limited.do(limits.shrink, limited.backend)  # the ninth was refused
    limited.do(limits.shrink, limited.backend)  # and what was submitted with it, because of the same eight
    limited.put_back(claims[8])
    assert limited.row().window == 4.0
    assert not limited.is_granted()
    limited.wait(1000)
    for claim in limited.take_up(limited.looks(calls=5)):
        limited.complete(claim)
    window, taken = 4.0, 0
    for _ in range(12):
        before = window
        limited.do(limits.succeeded, limited.backend)
        window = limited.row().window
        assert window == pytest.approx(before + 1 / before)
        taken += len(limited.grant(20).claims)
        assert taken + 3 == int(window)
    assert window > 6  # one more for each windowful


def test_results_that_others_fetch_do_not_stand_in_front_of_those_that_wait_for_a_limit(store: Store) -> None:
    limited = Limited(store, 10)
    for claim in limited.grant(10).claims:
        limited.fly(claim)
    limited.wait(100)
    looks = limited.looks(calls=10)
    assert len(limited.take_up(looks[:8])) == 8
    limited.set(requests=Rate(1.0, burst=2))
    mine = {"owner": "w/2", "lease_s": 60.0, "policy": POLICY}
    claims, wait = limited.do(flights.take_up, limited.backend, looks, **mine)
    assert sorted(claim.batch_id for claim in claims) == sorted(look.batch_id for look in looks[8:])
    assert wait is None  # nothing is left to wait for
    assert limited.do(flights.take_up, limited.backend, looks, **mine) == ([], None)


@FEW
@given(flying=st.integers(0, 12), times=st.integers(1, 5))
def test_however_often_it_refuses_one_run_may_try(store: Store, flying: int, times: int) -> None:
    limited = Limited(store, 20, in_flight=15)
    for claim in limited.grant(flying).claims:
        limited.fly(claim)
    (refused,) = limited.grant(1).claims
    limited.begin_call(refused)
    for _ in range(times):
        limited.do(limits.shrink, limited.backend)
    limited.put_back(refused)
    assert 1.0 <= limited.row().window <= max(1.0, flying / 2)
    limited.wait(1000)
    for claim in limited.take_up(limited.looks(calls=20)):
        limited.complete(claim)
    assert limited.is_granted()


def test_a_provider_that_names_a_time_is_left_alone_until_then(store: Store) -> None:
    limited = Limited(store, 3)
    limited.fly(limited.grant().claims[0])
    assert limited.do(limits.snooze, limited.backend, "429 too many", 30.0) == 30.0
    assert limited.do(limits.snooze, limited.backend, "429", 5.0) == 5.0  # an earlier time changes nothing
    taken = limited.grant()
    assert (taken.claims, round(taken.wait_s or 0)) == ([], 30)
    assert taken.why == "the provider asked to slow down: 429"
    found, wait = limited.do(flights.due, limited.backend, calls=1, per_call=1, policy=POLICY)
    assert (found, round(wait)) == ([], 30)
    limited.wait(29.5)
    assert not limited.is_granted()
    limited.wait(0.5)
    assert limited.is_granted()
    assert len(limited.looks()) == 1


def test_a_provider_that_names_none_is_left_alone_twice_as_long_each_time(store: Store) -> None:
    limited = Limited(store, 3)
    waits = [limited.do(limits.snooze, limited.backend, "429", None) for _ in range(9)]
    assert waits == [0.5, 1, 2, 4, 8, 16, 32, 60, 60]
    limited.do(limits.succeeded, limited.backend)
    assert limited.do(limits.snooze, limited.backend, "429", None) == 0.5
    limited.wait(60)
    assert limited.is_granted()


def test_the_breaker_opens_after_failures_in_a_row(store: Store) -> None:
    limited = Limited(store, 9)
    for _ in range(POLICY.breaker_failures - 1):
        limited.fails()
    assert limited.is_granted()
    limited.do(limits.succeeded, limited.backend)  # not in a row
    for _ in range(POLICY.breaker_failures - 1):
        limited.fails()
    assert limited.is_granted()
    limited.fails()
    taken = limited.grant()
    assert (taken.claims, round(taken.wait_s or 0)) == ([], 10)
    assert taken.why == "the backend fails again and again, last: 503"


def test_one_run_at_a_time_tries_whether_it_works_again(store: Store) -> None:
    limited = Limited(store, 9)
    limited.fails(surely=True)  # one that is sure is enough
    wait = POLICY.breaker_s
    for doubled in (1, 2, 4, 8, 16, 16, 16):
        assert not limited.is_granted()
        limited.wait(wait * doubled - 0.5)
        assert not limited.is_granted()
        limited.wait(0.5)
        (probe,) = limited.grant(5).claims
        assert probe.probes
        assert not limited.is_granted()  # until that one is judged
        limited.fails(probes=True)
        limited.put_back(probe)
    limited.wait(wait * 16)
    assert len(limited.grant(5).claims) == 1
    limited.do(limits.succeeded, limited.backend)
    assert len(limited.grant(5).claims) == 5


def test_who_knows_that_a_backend_is_back_has_its_work_go_on_at_once(store: Store) -> None:
    limited = Limited(store, 9, in_flight=4)
    assert limited.do(limits.resume, "nobody") == Resumed(False, False, 0)
    limited.fails(surely=True)
    limited.do(limits.snooze, limited.backend, "503 back in an hour", 3600.0)
    assert limited.do(limits.resume, limited.backend) == Resumed(True, True, 9)
    taken = limited.grant(9)
    assert (len(taken.claims), any(claim.probes for claim in taken.claims)) == (4, False)
    assert limited.do(limits.resume, limited.backend) == Resumed(False, False, 5)
    for claim in taken.claims:
        limited.put_back(claim)
    for _ in range(POLICY.breaker_failures):  # it was not back
        assert limited.is_granted()
        limited.fails()
    assert not limited.is_granted()


def test_a_pause_that_was_ended_by_hand_is_longer_when_it_is_asked_for_again(store: Store) -> None:
    limited = Limited(store, 1)
    assert [limited.do(limits.snooze, limited.backend, "429", None) for _ in range(3)] == [0.5, 1, 2]
    assert limited.do(limits.resume, limited.backend).pause
    assert limited.do(limits.snooze, limited.backend, "429", None) == 4
    assert not limited.is_granted()


def test_runs_that_began_before_the_breaker_opened_do_not_keep_it_open(store: Store) -> None:
    limited = Limited(store, 9)
    stragglers = [limited.take() for _ in range(5)]
    assert not any(claim.probes for claim in stragglers)
    limited.fails(surely=True)
    for _ in stragglers:
        limited.fails()
        limited.fails(surely=True)
    limited.wait(POLICY.breaker_s)
    (probe,) = limited.grant(5).claims
    for _ in stragglers:
        limited.fails()
    limited.fails(probes=probe.probes)
    limited.wait(2 * POLICY.breaker_s)
    assert limited.is_granted()


def test_a_probe_that_is_never_judged_is_followed_by_another(store: Store) -> None:
    limited = Limited(store, 9)
    limited.fails(surely=True)
    limited.wait(POLICY.breaker_s)
    assert limited.is_granted()
    limited.wait(59)
    assert not limited.is_granted()
    limited.wait(1)
    assert limited.is_granted()


def test_a_success_of_a_backend_in_no_trouble_changes_nothing(store: Store) -> None:
    limited = Limited(store, 3, in_flight=2)
    assert not limited.grant().troubled
    before = limited.rows(limit_table)
    limited.do(limits.succeeded, limited.backend)
    assert limited.rows(limit_table) == before
    limited.fails()
    assert limited.grant().troubled


def test_a_backend_without_limits_has_no_row(store: Store) -> None:
    calls = Calls(store)
    calls.submit(draft("j1", *one_each(3)))
    assert len(calls.taken(most=9).claims) == 3
    calls.do(limits.configure, "aer", Quota())
    calls.do(limits.succeeded, "aer")
    assert calls.rows(limit_table) == []
    assert calls.do(limits.waits_for, "aer", POLICY) is None


def test_limits_of_a_backend_are_its_own(store: Store) -> None:
    one, other = Limited(store, 5, in_flight=1), Limited(store, 5)
    one.do(limits.snooze, one.backend, "429", 60.0)
    assert not one.is_granted()
    assert len(other.grant(5).claims) == 5


def test_what_is_set_live_stays_until_the_configuration_changes(store: Store) -> None:
    limited = Limited(store, 1)
    first = Quota(submit="5/min", in_flight=3)
    limited.do(limits.configure, limited.backend, first)
    assert quota_of(limited) == ((12.0, 1), (None, None), 3)
    limited.set(in_flight=7, requests=Rate(1.0, 2))
    limited.do(limits.configure, limited.backend, first)  # another worker starts
    assert quota_of(limited) == ((12.0, 1), (1.0, 2), 7)
    limited.do(limits.configure, limited.backend, Quota())  # one that was set up without limits
    assert quota_of(limited) == ((12.0, 1), (1.0, 2), 7)
    limited.do(limits.configure, limited.backend, Quota(submit="10/min burst 2"))
    assert quota_of(limited) == ((6.0, 2), (None, None), None)
    limited.set(submit=None)
    assert quota_of(limited) == ((None, None), (None, None), None)
    limited.do(limits.configure, limited.backend, first)
    assert quota_of(limited) == ((12.0, 1), (None, None), 3)


def quota_of(limited: Limited) -> Any:
    row = limited.row()
    return (row.submit_interval, row.submit_burst), (row.request_interval, row.request_burst), row.max_in_flight


def test_setting_limits_forgets_no_trouble(store: Store) -> None:
    limited = Limited(store, 3, submit=Rate(60.0))
    assert limited.is_granted()
    limited.do(limits.snooze, limited.backend, "429", 30.0)
    limited.set(submit=Rate(50.0))
    assert limited.row().snoozes == 1
    limited.wait(30)
    assert not limited.is_granted()


def test_how_limits_stand(store: Store) -> None:
    limited, other = Limited(store, 5, submit=Rate(12.0)), Limited(store, 1, in_flight=1)
    assert limited.do(limits.waits_for, limited.backend, POLICY) is None
    assert limited.is_granted()
    told = limited.do(limits.waits_for, limited.backend, POLICY)
    assert told.startswith("no more than 5/min submissions; next in 1")
    assert set(limited.do(limits.standing)) == {limited.backend, other.backend}
    assert list(limited.do(limits.standing, [other.backend, "nobody"])) == [other.backend]
    assert limited.row().now == pytest.approx(limited.now(), abs=5)


@given(st.floats(1e-3, 1e5), st.integers(1, 99))
def test_a_rate_is_written_as_it_is_read(count: float, burst: int) -> None:
    for period in ("s", "min", "h", "d"):
        rate = Rate.parse(f"{count:.3f}/{period} burst {burst}" if round(count, 3) else f"1/{period}")
        again = Rate.parse(str(rate))
        assert again.burst == rate.burst
        assert again.interval_s == pytest.approx(rate.interval_s, rel=1e-4)


@pytest.mark.parametrize(
    "text",
    [
        "", "5", "5/week", "0/s", "0.0/min", "-1/s", "5/min burst", "5/min burst 0", "5 / min", "inf/s", "0.0000001/d",
        "9" * 400 + "/s", "1/s burst 1000000001", "1/s burst " + "9" * 5000,
    ],
)  # fmt: skip
def test_what_is_no_rate_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a rate. Write COUNT/PERIOD"):
        Rate.parse(text)
