"""How far a job is, and when it may have ended: an estimate from the runs of late, or none."""

from __future__ import annotations

import pytest
from sqlalchemy import update

from pubworks.store import doubts, jobs, limits
from pubworks.store.records import Progress, Slice
from pubworks.store.store import Store
from pubworks.store.tables import provider_jobs
from pubworks.testing.store import Calls, draft, one_each

RUN_S = 10.0


class Paced(Calls):
    """A backend with a history of two runs of ten seconds each."""

    def learn(self) -> None:
        """Have the history."""
        self.submit(draft("a0", *one_each(2)))
        for _ in range(2):
            claim = self.take()
            self.begin_call(claim)
            self.accept(claim)
            self.complete(claim)
        with self.store.write(durable=False) as connection:
            ended = provider_jobs.c.accepted_at + RUN_S
            connection.execute(update(provider_jobs).values(finished_at=ended))

    def progress(self, job_id: str = "j1") -> Progress:
        """Return how far a job is."""
        return self.do(jobs.progress, job_id)

    def left(self, job_id: str = "j1") -> float | None:
        """Return the estimate."""
        return self.progress(job_id).estimated_s_left

    def age(self, seconds: float) -> None:
        """Let time pass for runs that go on."""
        with self.store.write(durable=False) as connection:
            going = provider_jobs.c.finished_at.is_(None)
            earlier = provider_jobs.c.accepted_at - seconds
            connection.execute(update(provider_jobs).where(going).values(accepted_at=earlier))


@pytest.fixture
def calls(store: Store) -> Paced:
    return Paced(store)


def test_batches_and_shots_are_counted_by_state_and_backend(calls: Paced) -> None:
    calls.submit(draft("j1", [Slice(0, 0, 3, 0)], [Slice(1, 0, 1, 0)], shots=10))
    calls.complete(calls.take())
    progress = calls.progress()
    assert (progress.batches, progress.shots) == ({"DONE": 1, "PENDING": 1}, {"DONE": 30, "PENDING": 10})
    assert progress.backends == {"aer": {"batches": progress.batches, "shots": progress.shots}}
    assert (progress.num_batches, progress.batches_done, progress.pubs_done, progress.num_pubs) == (2, 1, 1, 2)


def test_what_was_split_counts_once(calls: Paced) -> None:
    calls.submit(draft("j1", [Slice(0, 0, 4, 0)], shots=10))
    calls.split(calls.take())
    assert (calls.progress().shots, calls.progress().num_batches) == ({"PENDING": 40}, 2)


def test_without_history_there_is_no_estimate(calls: Paced) -> None:
    calls.submit(draft("j1", *one_each(2)))
    assert calls.left() is None


def test_what_waits_takes_a_run_and_what_runs_the_rest_of_one(calls: Paced) -> None:
    calls.learn()
    calls.submit(draft("j1", *one_each(2)))
    assert calls.left() == pytest.approx(RUN_S, abs=1)
    for number in range(2):
        calls.fly(calls.take(), f"p{number}")
    calls.age(4.0)
    assert calls.left() == pytest.approx(RUN_S - 4.0, abs=1)
    calls.age(100.0)
    assert calls.left() is None


def test_limits_and_others_before_it_make_it_wait(calls: Paced) -> None:
    calls.learn()
    calls.do(limits.set_quota, "aer", in_flight=2)
    calls.submit(draft("b1", *one_each(4)))
    calls.submit(draft("j1", *one_each(4)))
    calls.submit(draft("k1", *one_each(4)))
    assert [calls.left(name) for name in ("b1", "j1", "k1")] == pytest.approx([20.0, 40.0, 60.0], abs=1)
    for number in range(2):
        calls.fly(calls.take(), f"p{number}")
    calls.age(5.0)
    assert calls.left("j1") == pytest.approx(35.0, abs=1)


def test_what_a_person_decides_about_has_no_time(calls: Paced) -> None:
    calls.learn()
    calls.submit(draft("j1", *one_each(1)))
    claim = calls.take()
    calls.begin_call(claim)
    calls.doubt(claim)
    calls.do(doubts.hold, claim.batch_id, claim.fence, "unknown")
    assert calls.left() is None


def test_a_job_that_ended_has_no_time_left(calls: Paced) -> None:
    calls.learn()
    assert calls.left("a0") is None
