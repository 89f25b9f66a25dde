"""A job that ended without all of its results is retried: what is missing is run again, once, and nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pubworks.errors import JobNotFound, NothingToRetry
from pubworks.states import JobState
from pubworks.store import batches, doubts, results
from pubworks.store.records import Slice
from pubworks.store.store import Store
from pubworks.store.tables import batches as batch_table
from pubworks.store.tables import chunks, provider_jobs
from pubworks.testing.store import Calls, check, draft, one_each

#: How a batch of the first round ends.
ENDS = ("complete", "fail", "split_and_fail", "fly", "hold")


@pytest.fixture
def calls(store: Store) -> Calls:
    return Calls(store)


def hold(calls: Calls) -> str:
    """Have a batch held; return its id."""
    claim = calls.take()
    calls.begin_call(claim)
    calls.doubt(claim)
    calls.do(doubts.hold, claim.batch_id, claim.fence, "cannot be looked up")
    return claim.batch_id


def finish(calls: Calls) -> None:
    while claim := calls.claim():
        calls.complete(claim)


def test_only_what_failed_is_run_again(calls: Calls) -> None:
    calls.submit(draft("j1", *one_each(4)))
    first = [calls.take() for _ in range(4)]
    for number, claim in enumerate(first):
        calls.fail(claim) if number == 2 else calls.complete(claim)
    before = calls.job()
    kept = {row.batch_id: row for row in calls.rows(chunks)}
    assert (before.state, calls.retry()) == (JobState.PARTIAL, (1, 0))
    after = calls.job()
    assert (after.state, after.batches_left, after.finished_at) == (JobState.QUEUED, 1, None)
    claim = calls.take()
    failed = first[2]
    same = ("batch_id", "shots", "seed", "slices", "run_options")
    assert [getattr(claim, name) for name in same] == [getattr(failed, name) for name in same]
    assert (claim.attempts, claim.failing_s) == (0, 0.0)
    assert claim.fence > failed.fence
    calls.complete(claim)
    after = calls.job()
    assert (after.state, after.batches_left, after.started_at) == (JobState.DONE, 0, before.started_at)
    now_there = {row.batch_id: row for row in calls.rows(chunks)}
    assert {key: now_there[key] for key in kept} == kept
    assert (len(now_there), calls.happened("retried"), calls.happened("finished")) == (4, 1, 2)
    check(calls.store)


def test_the_circuit_that_failed_alone_is_run_again_and_its_wholes_stay_split(calls: Calls) -> None:
    calls.submit(draft("j1", [Slice(0, 0, 4, 0)]))
    calls.split(calls.take(), one_is_bad=True)
    while claim := calls.claim():
        if claim.slices[0].first > 0:
            calls.complete(claim, merge=False)
        elif claim.num_circuits > 1:
            calls.split(claim, one_is_bad=True)
        else:
            calls.fail(claim, "bad")
    states = calls.states()
    assert calls.retry() == (1, 0)
    assert calls.states() == ["PENDING" if state == "FAILED" else state for state in states]
    claim = calls.take()
    assert (claim.slices, claim.num_circuits) == ((Slice(0, 0, 1, 0),), 1)
    assert calls.claim() is None
    calls.complete(claim, merge=False)
    assert calls.job().batches_left == 0
    check(calls.store)


def test_a_cancelled_job_goes_on_with_what_was_never_run(calls: Calls) -> None:
    calls.submit(draft("j1", *one_each(3)))
    calls.complete(calls.take())
    flying = calls.take()
    calls.fly(flying)
    calls.cancel()
    assert calls.retry() == (1, 0)
    assert (calls.job().state, calls.job().batches_left) == (JobState.RUNNING, 2)
    (claim,) = calls.take_up(calls.looks())
    calls.complete(claim)
    assert calls.job().state == JobState.RUNNING
    finish(calls)
    assert calls.job().state == JobState.DONE
    check(calls.store)


def test_a_cancelled_job_of_which_everything_came_is_done(calls: Calls) -> None:
    calls.submit(draft("j1", *one_each(1)))
    claim = calls.take()
    calls.cancel()
    calls.complete(claim)
    assert calls.retry() == (0, 0)
    assert calls.job().state == JobState.DONE
    check(calls.store)


@pytest.mark.parametrize("end", ["cancel", "fail"])
def test_what_may_have_been_paid_for_is_held_and_not_run_again(calls: Calls, end: str) -> None:
    calls.submit(draft("j1", *one_each(2)))
    batch_id = hold(calls)
    if end == "cancel":
        calls.cancel()
    else:
        calls.do(doubts.resolve, batch_id, "fail")
        calls.fail(calls.take())
    assert calls.retry() == (1, 1)
    assert calls.states() == ["HELD", "PENDING"]
    assert "pubworks held" in calls.batch(batch_id).reason
    check(calls.store)
    calls.do(doubts.resolve, batch_id, "adopt", "ibm-7")
    finish(calls)
    calls.wait(1.0)
    (claim,) = calls.take_up(calls.looks())
    calls.complete(claim)
    assert calls.job().state == JobState.DONE
    check(calls.store)


def test_a_run_that_is_told_of_after_its_job_was_retried_is_not_taken_for_the_new_one(calls: Calls) -> None:
    calls.submit(draft("j1", *one_each(1)))
    claim = calls.take()
    calls.fly(claim, "ibm-1")
    (fetched,) = calls.take_up(calls.looks())
    calls.fail(fetched)
    calls.retry()
    assert not calls.do(doubts.adopt, claim.batch_id, claim.fence, "ibm-1")
    assert calls.states() == ["PENDING"]


def test_crashes_of_before_do_not_count(calls: Calls) -> None:
    calls.submit(draft("j1", *one_each(1)))
    for _ in range(batches.MAX_CRASHES):
        calls.take("w/1")
        calls.do(batches.expire, batches.DIED, "w/1")
    assert calls.states() == ["FAILED"]
    calls.retry()
    calls.take("w/1")
    calls.do(batches.expire, batches.DIED, "w/1")
    assert calls.states() == ["PENDING"]
    assert all(row.error.startswith(batches.DIED) for row in calls.rows(provider_jobs))


def test_what_workers_died_of_is_told_and_who_was_beside_is_not_to_blame(calls: Calls) -> None:
    calls.submit(draft("j1", *one_each(2)))
    for _ in range(batches.MAX_CRASHES):
        guilty, beside = sorted([calls.take("w/1"), calls.take("w/1")], key=lambda claim: claim.batch_id)
        calls.do(batches.expire, batches.BESIDE, "w/1", guilty.batch_id)
        calls.do(batches.expire, f"{batches.DIED} of SIGSEGV: a crash", "w/1")
    assert calls.states() == ["FAILED", "PENDING"]
    failed, _ = calls.rows(batch_table)
    assert failed.id == guilty.batch_id != beside.batch_id
    assert failed.reason == "10 workers died or fell silent while they ran it: the last of SIGSEGV: a crash"


def test_nobody_remembers_a_state_that_a_retry_changes(calls: Calls) -> None:
    calls.submit(draft("j1", *one_each(1)))
    calls.fail(calls.take())
    assert "j1" not in calls.store.done
    calls.retry()
    calls.complete(calls.take())
    assert "j1" in calls.store.done


def test_a_job_that_is_done_has_nothing_to_retry(calls: Calls) -> None:
    calls.submit(draft("j1", *one_each(1)))
    finish(calls)
    with pytest.raises(NothingToRetry, match=r"j1 is DONE: .*sampler.run\(job.inputs\)"):
        calls.retry()


@pytest.mark.parametrize("claimed", [False, True])
def test_a_job_that_goes_on_is_not_retried(calls: Calls, claimed: bool) -> None:
    calls.submit(draft("j1", *one_each(2)))
    if claimed:
        calls.fail(calls.take())
    with pytest.raises(NothingToRetry, match=r"j1 is (QUEUED|RUNNING): .*pubworks watch j1"):
        calls.retry()
    assert calls.states() == ["FAILED" if claimed else "PENDING", "PENDING"]


def test_a_job_that_there_is_not_cannot_be_retried(calls: Calls) -> None:
    with pytest.raises(JobNotFound, match="No job nope"):
        calls.retry("nope")


@settings(max_examples=40)
@given(ends=st.lists(st.sampled_from(ENDS), min_size=1, max_size=5), cancels=st.booleans())
def test_a_retried_job_has_in_the_end_every_shot_once(
    tmp_path_factory: pytest.TempPathFactory, ends: list[str], cancels: bool
) -> None:
    store = Store(f"sqlite:///{tmp_path_factory.mktemp('retried') / 'store.db'}")
    store.upgrade()
    calls = Calls(store)
    calls.submit(draft("j1", *[[Slice(position, 0, 2, 0)] for position in range(len(ends))]))
    for end in ends:
        end_one(calls, end)
    if cancels or not calls.job().state.is_final:
        calls.cancel()
    check(store)
    for _ in range(2):  # the last batches of a cancelled job come while it is retried
        if calls.job().state != JobState.DONE and calls.job().state.is_final:
            calls.retry()
        check(store)
        for row in calls.do(doubts.held):
            calls.do(doubts.resolve, row.id, "resubmit")
        for claim in [*calls.taken(most=99).claims, *calls.take_up(calls.looks())]:
            calls.complete(claim, merge=claim.num_circuits == 2)
        for pub in calls.do(results.unmerged, 0, 100).get("j1", []):
            calls.do(results.store_results, "j1", {pub: b"merged"})
    assert calls.job().state == JobState.DONE
    check(store)
    store.close()


def end_one(calls: Calls, end: str) -> None:
    if end == "hold":
        hold(calls)
        return
    claim = calls.take()
    if end == "split_and_fail" and claim.num_circuits > 1:
        calls.split(claim, one_is_bad=True)
        calls.fail(calls.take())
    elif end == "complete":
        calls.complete(claim, merge=claim.num_circuits == 2)
    else:
        (calls.fly if end == "fly" else calls.fail)(claim)
