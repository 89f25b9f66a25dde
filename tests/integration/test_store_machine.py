"""The store keeps its promises on PostgreSQL too, step by step and with many at once."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections import Counter

import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from pubworks.errors import BatchNotHeld, NothingToRetry
from pubworks.policy import Policy, Rate
from pubworks.store import batches, doubts, fleet, limits
from pubworks.store.records import Slice
from pubworks.store.store import Store
from pubworks.testing.store import Calls, check, draft, one_each
from pubworks.testing.store.calls import result
from pubworks.testing.store.machine import StoreMachine

pytestmark = pytest.mark.servers

#: Seconds for which many work at once.
WORK_S = 3.0

POLICY = Policy(breaker_failures=1000)


@pytest.fixture
def store(new_postgresql):
    store = Store(new_postgresql)
    store.upgrade()
    yield store
    store.close()


def test_workers_keep_every_promise(store):
    run_state_machine_as_test(
        lambda: StoreMachine(store),
        settings=settings(max_examples=15, stateful_step_count=40, phases=(Phase.explicit, Phase.generate)),
    )


def run_together(works, until_s=WORK_S):
    """Call each function again and again in a thread of its own, and return what they raised."""
    end, errors = time.monotonic() + until_s, []

    def repeat(work):
        try:
            while time.monotonic() < end:
                work()
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=repeat, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return errors


class Crowd(Calls):
    """What many do at once to the batches of one backend, each by chance."""

    def __init__(self, store):
        super().__init__(store)
        self.chance, self.submitted, self.worked = random.Random(1), [], threading.Condition()

    def let_work(self, times: int) -> None:
        """Wait until the workers took something so many times, or have nothing to do."""
        with self.worked:
            for _ in range(times):
                self.worked.wait(0.02)

    def submit_one(self) -> None:
        job_id = f"j{len(self.submitted)}"
        pubs = [0, 1, 2]
        pieces = [[Slice(pub, 2 * at, 2 * at + 2, 0) for pub in (pubs, pubs[::-1])[at % 2]] for at in range(6)]
        self.submit(draft(job_id, *pieces, shots=4))
        self.submitted.append(job_id)
        self.let_work(5)

    def work(self) -> None:
        for claim in self.taken(f"w/{threading.get_ident()}", most=3).claims:
            way = self.chance.choice(["keep", "give back", "done", "done", "call", "call", "call", "call"])
            if way == "give back":
                self.give_back(claim)
            elif way == "done":
                self.complete(claim, merge=False)
            elif way == "call" and self.begin_call(claim):
                self.do(self.call, claim)
        with self.worked:
            self.worked.notify_all()

    def call(self, connection, claim) -> None:
        """Note what came of a call: first what it says of the backend, then of the batch."""
        wide, long = claim.num_circuits > 1, claim.shots > 1
        match self.chance.choice(["accept", "accept", "accept", "doubt", "split", "shots", "fail", "back", "lost"]):
            case "accept":
                limits.succeeded(connection, "aer")
                batches.accept(connection, claim, "p", 0.0)
            case "doubt":
                limits.failed(connection, "aer", "reset", POLICY)
                batches.doubt(connection, claim, "reset")
            case "split" if wide:
                batches.split(connection, claim, "bad", one_is_bad=True)
            case "shots" if long:
                batches.split(connection, claim, "too many", one_is_bad=False, by_shots=True)
            case "fail":
                limits.snooze(connection, "aer", "429", 0.0)
                batches.fail(connection, claim, "bad")
            case "back":
                limits.failed(connection, "aer", "503", POLICY)
                batches.put_back(connection, claim, "later", 0.0, counts=True)

    def watch(self) -> None:
        taken_up = self.take_up(self.looks(calls=5), f"f/{threading.get_ident()}")
        if self.chance.random() < 0.8:
            self.do(batches.complete, [result(claim) for claim in taken_up])
        for look in self.doubts():
            decide = self.chance.choice([doubts.run_again, doubts.hold])
            self.do(decide, look.batch_id, look.fence, "unknown")

    def keep(self) -> None:
        self.end_leases()
        assert self.do(fleet.chores, ["aer"], 5, 1.0, 1.0)
        self.do(limits.succeeded, "aer")
        self.let_work(1)

    def disturb(self) -> None:
        if self.submitted and self.chance.random() < 0.3:
            self.cancel(self.chance.choice(self.submitted))
        if self.submitted and self.chance.random() < 0.3:
            with contextlib.suppress(NothingToRetry):
                self.retry(self.chance.choice(self.submitted))
        for row in self.do(doubts.held)[:1]:
            with contextlib.suppress(BatchNotHeld):
                self.do(doubts.resolve, row.id, self.chance.choice(["adopt", "resubmit", "fail"]), "p")
        self.let_work(1)


def test_many_at_once_keep_every_promise(store):
    """No deadlock, and nothing is lost, run twice or left behind in a cancelled job."""
    crowd = Crowd(store)
    crowd.do(limits.set_quota, "aer", in_flight=8, submit=Rate(0.001, 50))
    works = [crowd.submit_one, *[crowd.work] * 3, *[crowd.watch] * 2, *[crowd.keep] * 2, crowd.disturb]
    assert run_together(works) == []
    states = Counter(row.state for row in check(store).batches.values())
    assert min(states[state] for state in ("DONE", "SPLIT", "CANCELLED", "FAILED")) > 0, states


def test_limits_are_exact_with_many_workers(store):
    """Four workers that ask all the time get what the rate gives and never more than the cap."""
    calls, rate = Calls(store), Rate(0.05, 3)
    calls.submit(draft("j1", *one_each(300)))
    calls.do(limits.set_quota, "aer", in_flight=5, submit=rate)
    grants, flying = [], []

    def work() -> None:
        taken = calls.taken(f"w/{threading.get_ident()}", most=2, policy=Policy())
        for claim in taken.claims:
            grants.append(claim.batch_id)
            with store.read() as connection:
                flying.append(connection.execute(limits._IN_FLIGHT, {"p_backend": "aer"}).scalar_one())
            calls.complete(claim, merge=False)

    begun = time.monotonic()
    assert run_together([work] * 4, until_s=2.0) == []
    most = rate.burst + (time.monotonic() - begun) / rate.interval_s
    assert most / 2 < len(grants) <= most
    assert max(flying) <= 5
    assert len(set(grants)) == len(grants)
