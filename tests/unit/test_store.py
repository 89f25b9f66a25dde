"""Every change of a batch's state, on SQLite."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from pubworks.errors import JobNotFound, StoreUnreachable
from pubworks.states import BatchState, JobState
from pubworks.store import batches, doubts, engine, fleet, jobs, results
from pubworks.store.engine import now
from pubworks.store.records import BackendFacts, BatchDraft, Claim, JobDraft, Slice
from pubworks.store.store import Store
from pubworks.store.tables import batches as batch_table
from pubworks.store.tables import chunks as chunk_table
from pubworks.store.tables import circuits as circuit_table
from pubworks.store.tables import events as event_table
from pubworks.store.tables import jobs as job_table
from pubworks.store.tables import provider_jobs as run_table
from pubworks.store.tables import pubs as pub_table
from pubworks.testing.store import Calls, check, draft, one_each
from pubworks.testing.store.calls import LEASE_S, result


@pytest.fixture
def fleet_of(store: Store) -> Calls:
    return Calls(store)


def test_a_job_is_stored_whole_or_not_at_all(fleet_of: Calls) -> None:
    broken = draft("j1", *one_each(2))
    broken = JobDraft(**{**vars(broken), "batches": (*broken.batches, BatchDraft(10, "x" * 9, object()))})  # type: ignore[arg-type]
    with pytest.raises(Exception, match="object"):
        fleet_of.submit(broken)
    for table in (job_table, pub_table, batch_table, circuit_table, event_table):
        assert fleet_of.rows(table) == []


def test_a_circuit_is_stored_once_for_all_jobs(fleet_of: Calls) -> None:
    fleet_of.submit(draft("j1", *one_each(2)))
    fleet_of.submit(draft("j2", *one_each(2)))
    assert len(fleet_of.rows(circuit_table)) == 1


def test_a_claim_says_what_to_run(fleet_of: Calls) -> None:
    fleet_of.submit(draft("j1", [Slice(0, 0, 2, 0), Slice(1, 3, 4, 20)]))
    claim = replace(fleet_of.take(), waited_s=None)  # by the clock
    assert claim == Claim(
        "j1-0", "j1", "aer", 10, 7, (Slice(0, 0, 2, 0), Slice(1, 3, 4, 20)), {"method": "x"}, fence=1, attempt=1
    )
    assert isinstance(claim.slices[0], Slice)
    assert fleet_of.states() == ["CLAIMED"]
    assert fleet_of.runs() == [(1, "INTENT", None)]
    assert fleet_of.job().state == JobState.RUNNING


def test_batches_are_claimed_in_order(fleet_of: Calls) -> None:
    for job_id in ("j1", "j2"):
        fleet_of.submit(draft(job_id, *one_each(12)))
    order = [fleet_of.take().batch_id for _ in range(24)]
    assert order == [f"{job_id}-{position}" for job_id in ("j1", "j2") for position in range(12)]
    assert fleet_of.claim() is None


def test_other_backends_are_left_alone(fleet_of: Calls) -> None:
    fleet_of.submit(draft("j1", *one_each(1), backend="other"))
    assert fleet_of.claim(backend="aer") is None
    assert fleet_of.claim(backend="other") is not None


def test_what_is_not_due_yet_is_not_claimed(fleet_of: Calls) -> None:
    fleet_of.submit(draft("j1", *one_each(1)))
    with fleet_of.store.write() as connection:
        connection.execute(update(batch_table).values(due_at=now() + 100))
    assert fleet_of.claim() is None
    assert fleet_of.do(fleet.chores, ["aer"], 10, 60, 60).due == {}


def test_many_threads_claim_each_batch_once(fleet_of: Calls) -> None:
    fleet_of.submit(draft("j1", *one_each(60)))
    taken: list[str] = []
    errors: list[BaseException] = []

    def work(owner: str) -> None:
        try:
            while claim := fleet_of.claim(owner):
                taken.append(claim.batch_id)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(f"w/{number}",)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert sorted(taken) == sorted(f"j1-{position}" for position in range(60))


def test_the_way_of_a_local_run(fleet_of: Calls) -> None:
    fleet_of.submit(draft("j1", *one_each(1)))
    claim = fleet_of.take()
    assert fleet_of.complete(claim) == []
    assert fleet_of.states() == ["DONE"]
    assert fleet_of.runs() == [(1, "DONE", "p1")]
    assert [row.outcomes for row in fleet_of.rows(chunk_table)] == [b"j1-0/0"]
    record = fleet_of.job()
    assert (record.state, record.batches_left) == (JobState.DONE, 0)
    assert record.created_at <= record.started_at <= record.finished_at  # type: ignore[operator]
    (row,) = fleet_of.rows(batch_table)
    assert (row.lease_owner, row.lease_until, row.due_at, row.reason) == (None,) * 4


def test_the_way_of_a_run_at_a_provider(fleet_of: Calls) -> None:
    fleet_of.submit(draft("j1", *one_each(1)))
    claim = fleet_of.take()
    assert fleet_of.begin_call(claim)
    assert fleet_of.states() == ["SUBMITTING"]
    assert fleet_of.accept(claim, "ibm-7")
    assert fleet_of.states() == ["IN_FLIGHT"]
    assert fleet_of.runs() == [(1, "ACCEPTED", "ibm-7")]
    assert fleet_of.batch().lease_owner is None  # nobody holds it while it queues
    assert fleet_of.claim() is None
    (taken_up,) = fleet_of.take_up(fleet_of.looks())
    assert fleet_of.complete(taken_up) == []
    assert fleet_of.states() == ["DONE"]
    assert fleet_of.runs() == [(1, "DONE", "ibm-7")]


def test_a_call_begins_only_under_a_lease_that_holds(fleet_of: Calls) -> None:
    fleet_of.submit(draft("j1", *one_each(1)))
    claim = fleet_of.take()
    with fleet_of.store.write() as connection:
        connection.execute(update(batch_table).values(lease_until=now() - 1))
    assert not fleet_of.begin_call(claim)
    assert fleet_of.states() == ["CLAIMED"]


def test_steps_out_of_order_change_nothing(fleet_of: Calls) -> None:
    fleet_of.submit(draft("j1", *one_each(1)))
    claim = fleet_of.take()
    assert not fleet_of.accept(claim)
    assert fleet_of.begin_call(claim)
    assert not fleet_of.begin_call(claim)
    assert fleet_of.accept(claim)
    assert not fleet_of.accept(claim, "p2")
    assert fleet_of.runs() == [(1, "ACCEPTED", "p1")]


@pytest.mark.parametrize("step", ["begin_call", "accept", "fail", "put_back", "doubt", "split"])
@pytest.mark.parametrize("begun", [False, True])
def test_an_old_claim_can_do_nothing_after_a_newer_one(fleet_of: Calls, step: str, begun: bool) -> None:
    fleet_of.submit(draft("j1", [Slice(0, 0, 2, 0)]))
    old = fleet_of.take("w/1")
    assert fleet_of.end_leases() == 1
    new = fleet_of.take("w/2")
    assert (old.fence, new.fence) == (1, 2)
    if begun:
        assert fleet_of.begin_call(new)
    before = everything(fleet_of)
    assert not getattr(fleet_of, step)(old)
    assert everything(fleet_of) == before
    assert fleet_of.complete(new, merge=False) == [0]


def everything(fleet_of: Calls) -> list[Any]:
    return [fleet_of.rows(table) for table in (batch_table, run_table, chunk_table, job_table, pub_table)]


@pytest.mark.parametrize("step", ["begin_call", "accept", "fail", "put_back", "doubt", "split"])
def test_who_let_a_run_go_does_not_hold_it(fleet_of: Calls, step: str) -> None:
    fleet_of.submit(draft("j1", [Slice(0, 0, 2, 0)]))
    claim = fleet_of.take()
    fleet_of.fly(claim)
    before = everything(fleet_of)
    assert not getattr(fleet_of, step)(claim)
    assert everything(fleet_of) == before


@pytest.mark.parametrize("state", ["CLAIMED", "SUBMITTING", "IN_FLIGHT", "fetched"])
def test_the_first_result_counts_whoever_runs_the_batch_by_now(fleet_of: Calls, state: str) -> None:
    fleet_of.submit(draft("j1", *one_each(1)))
    old = fleet_of.take("w/1")
    fleet_of.end_leases()
    new = fleet_of.take("w/2")
    if state != "CLAIMED":
        fleet_of.begin_call(new)
    if state in ("IN_FLIGHT", "fetched"):
        fleet_of.accept(new, "p2")
    if state == "fetched":
        (new,) = fleet_of.take_up(fleet_of.looks(), "w/3")
    assert fleet_of.complete(old) == []
    assert fleet_of.runs() == [(1, "DONE", "p1"), (2, "LOST", "p2" if state in ("IN_FLIGHT", "fetched") else None)]
    for step in ("begin_call", "accept", "complete", "fail", "put_back", "doubt"):
        assert not getattr(fleet_of, step)(new)
    assert fleet_of.looks() == []
    assert fleet_of.end_leases() == 0
    assert fleet_of.job().state == JobState.DONE
    check(fleet_of.store)


def test_a_lease_that_ends_before_the_call_makes_the_batch_due(fleet_of: Calls) -> None:
    fleet_of.submit(draft("j1", *one_each(1)))
    fleet_of.take()
    assert fleet_of.end_leases() == 1
    assert fleet_of.states() == ["PENDING"]
    assert fleet_of.runs() == [(1, "LOST", None)]
    assert fleet_of.rows(batch_table)[0].reason == "silent"
    assert fleet_of.take().attempt == 2
    assert fleet_of.runs() == [(1, "LOST", None), (2, "INTENT", None)]
    assert fleet_of.rows(batch_table)[0].reason is None


def test_a_lease_that_ends_during_the_call_leaves_the_batch_in_doubt(fleet_of: Calls) -> None:
    fleet_of.submit(draft("j1", *one_each(1)))
    assert fleet_of.begin_call(fleet_of.take())
    assert fleet_of.end_leases() == 1
    assert fleet_of.states() == ["UNCERTAIN"]
    assert fleet_of.runs() == [(1, "UNCERTAIN", None)]
    assert fleet_of.claim() is None
    assert [look.batch_id for look in fleet_of.doubts()] == ["j1-0"]
    assert fleet_of.job().state == JobState.RUNNING


def test_a_run_in_flight_is_taken_up_by_its_id(fleet_of: Calls) -> None:
    fleet_of.submit(draft("j1", *one_each(1)))
    fleet_of.fly(fleet_of.take("w/1"), "ibm-7")
    (old,) = fleet_of.take_up(fleet_of.looks(), "w/1")
    assert fleet_of.end_leases() == 1
    assert fleet_of.states() == ["IN_FLIGHT"]
    (new,) = fleet_of.take_up(fleet_of.looks(), "w/2")
    assert (new.provider_job_id, new.fence, new.attempt) == ("ibm-7", 3, 1)
    assert fleet_of.states() == ["IN_FLIGHT"]
    assert not fleet_of.fail(old)
    assert fleet_of.complete(old) == []
    assert fleet_of.complete(new) is None
    assert fleet_of.runs() == [(1, "DONE", "ibm-7")]


@pytest.mark.parametrize("state", [BatchState.PENDING, BatchState.UNCERTAIN, BatchState.HELD, BatchState.IN_FLIGHT])
def test_a_late_result_is_welcome_while_nobody_took_the_batch(fleet_of: Calls, state: BatchState) -> None:
    fleet_of.submit(draft("j1", *one_each(1)))
    claim = fleet_of.take()
    if state != BatchState.PENDING:
        fleet_of.begin_call(claim)
    if state == BatchState.IN_FLIGHT:
        fleet_of.accept(claim)
    fleet_of.end_leases()
    if state == BatchState.HELD:
        fleet_of.do(doubts.hold, claim.batch_id, claim.fence, "unknown")
    assert fleet_of.states() == [state]
    assert fleet_of.complete(claim) == []
    assert fleet_of.job().state == JobState.DONE
    assert fleet_of.claim() is None
    assert fleet_of.runs() == [(1, "DONE", "p1")]


def test_a_late_failure_is_not_welcome(fleet_of: Calls) -> None:
    fleet_of.submit(draft("j1", *one_each(1)))
    claim = fleet_of.take()
    fleet_of.end_leases()
    assert not fleet_of.fail(claim)
    assert fleet_of.states() == ["PENDING"]


def test_a_lease_that_is_renewed_does_not_end(fleet_of: Calls) -> None:
    fleet_of.submit(draft("j1", *one_each(2)))
    mine, other = fleet_of.take("w/1"), fleet_of.take("w/2")
    with fleet_of.store.write() as connection:
        connection.execute(update(batch_table).values(lease_until=now() - 1))
        assert batches.renew(connection, "w/1", [mine.batch_id, other.batch_id], LEASE_S) == 1
    with fleet_of.store.write() as connection:
        assert batches.expire(connection, "silent") == 1
    assert fleet_of.states() == ["CLAIMED", "PENDING"]


def test_a_process_that_stops_gives_back_its_own_leases_only(fleet_of: Calls) -> None:
    fleet_of.submit(draft("j1", *one_each(2)))
    fleet_of.take("w/1")
    fleet_of.take("w/2")
    with fleet_of.store.write() as connection:
        assert batches.expire(connection, "stopped", owner="w/2") == 1
    assert fleet_of.states() == ["CLAIMED", "PENDING"]


def test_what_is_given_back_was_never_claimed(fleet_of: Calls) -> None:
    fleet_of.submit(draft("j1", *one_each(4)))
    claims = fleet_of.taken(most=4).claims
    fleet_of.begin_call(claims[2])
    fleet_of.complete(claims[3])
    fleet_of.give_back(*claims)
    assert fleet_of.states() == ["PENDING", "PENDING", "SUBMITTING", "DONE"]
    assert fleet_of.runs() == [(1, "INTENT", None), (1, "DONE", "p1")]
    fleet_of.give_back(*claims)
    fleet_of.give_back()
    again = fleet_of.taken("w/2", most=4).claims
    assert [(claim.batch_id, claim.fence, claim.attempts) for claim in again] == [("j1-0", 2, 0), ("j1-1", 2, 0)]
    fleet_of.give_back(*claims)  # of an older claim
    assert fleet_of.states() == ["CLAIMED", "CLAIMED", "SUBMITTING", "DONE"]
    fleet_of.cancel()
    fleet_of.give_back(*again)
    assert fleet_of.states() == ["CANCELLED", "CANCELLED", "SUBMITTING", "DONE"]
    check(fleet_of.store)


def test_several_batches_are_taken_and_stored_at_once(fleet_of: Calls) -> None:
    for job_id in ("j1", "j2"):
        fleet_of.submit(draft(job_id, *one_each(3)))
    claims = fleet_of.taken(most=5).claims
    assert [claim.batch_id for claim in claims] == ["j1-0", "j1-1", "j1-2", "j2-0", "j2-1"]
    ready = fleet_of.do(batches.complete, [result(claim, merge=claim.job_id == "j1") for claim in claims])
    assert ready == {"j1": [], "j2": [0, 1]}
    assert (fleet_of.job("j1").state, fleet_of.job("j2").batches_left) == (JobState.DONE, 1)
    check(fleet_of.store)


def test_a_batch_that_comes_back_twice_at_once_is_stored_once(fleet_of: Calls) -> None:
    fleet_of.submit(draft("j1", *one_each(1)))
    old = fleet_of.take("w/1")
    fleet_of.end_leases()
    new = fleet_of.take("w/1")
    assert fleet_of.do(batches.complete, [result(old), result(new, "late ")]) == {"j1": [0]}
    assert [row.outcomes for row in fleet_of.rows(chunk_table)] == [b"j1-0/0"]
    assert fleet_of.do(batches.complete, []) == {}


def test_completing_twice_stores_once(fleet_of: Calls) -> None:
    fleet_of.submit(draft("j1", [Slice(0, 0, 1, 0)], [Slice(0, 1, 2, 0)]))
    claim = fleet_of.take()
    assert fleet_of.complete(claim, merge=False) == []
    assert fleet_of.complete(claim, merge=False) is None
    assert not fleet_of.fail(claim)
    assert len(fleet_of.rows(chunk_table)) == 1
    assert fleet_of.job().batches_left == 1


def test_the_last_chunk_of_a_pub_makes_it_ready(fleet_of: Calls) -> None:
    """PUB 0 lies in both batches, PUB 1 in the second only."""
    fleet_of.submit(draft("j1", [Slice(0, 0, 2, 0)], [Slice(0, 2, 3, 0), Slice(1, 0, 1, 0)]))
    one, two = fleet_of.take(), fleet_of.take()
    assert fleet_of.complete(one, merge=False) == []
    assert fleet_of.complete(two, merge=False) == [0, 1]
    record = fleet_of.job()
    assert (record.state, record.batches_left) == (JobState.RUNNING, 0)
    store_results(fleet_of, {0: b"r0"})
    assert fleet_of.job().state == JobState.RUNNING
    with fleet_of.store.read() as connection:
        assert results.finished_pubs(connection, "j1") == [0]
        assert results.unmerged(connection, 0, 10) == {"j1": [1]}
        assert results.unmerged(connection, 100, 10) == {}
        chunks = list(results.iterate_chunks(connection, "j1", 0))
    assert [(chunk.first, chunk.end, chunk.first_shot, chunk.shots) for chunk in chunks] == [
        (0, 2, 0, 10),
        (2, 3, 0, 10),
    ]
    store_results(fleet_of, {1: b"r1"})
    assert fleet_of.job().state == JobState.DONE
    assert fleet_of.happened("finished") == 1


def store_results(fleet_of: Calls, merged: dict[int, bytes]) -> None:
    with fleet_of.store.write() as connection:
        results.store_results(connection, "j1", merged)


def test_a_stored_result_never_changes(fleet_of: Calls) -> None:
    fleet_of.submit(draft("j1", *one_each(1)))
    fleet_of.complete(fleet_of.take(), merge=False)
    store_results(fleet_of, {0: b"first"})
    finished = fleet_of.job().finished_at
    store_results(fleet_of, {0: b"second"})
    with fleet_of.store.read() as connection:
        assert results.load_results(connection, "j1") == {0: b"first"}
    assert fleet_of.job().finished_at == finished
    assert fleet_of.happened("finished") == 1


@pytest.mark.parametrize(
    ("good", "state"), [([1, 1, 1], "DONE"), ([1, 0, 1], "PARTIAL"), ([0, 0, 1], "PARTIAL"), ([0, 0, 0], "FAILED")]
)
def test_how_a_job_ends(fleet_of: Calls, good: list[int], state: str) -> None:
    fleet_of.submit(draft("j1", *one_each(3)))
    for fine in good:
        assert not fleet_of.job().state.is_final
        claim = fleet_of.take()
        assert fleet_of.complete(claim) == [] if fine else fleet_of.fail(claim, "too hot")
    record = fleet_of.job()
    assert (record.state, record.batches_left) == (state, 0)
    with fleet_of.store.read() as connection:
        failed = jobs.failed_pubs(connection, "j1")
        progress = jobs.progress(connection, "j1")
    assert failed == {pub: "too hot" for pub, fine in enumerate(good) if not fine}
    assert (progress.pubs_done, progress.num_pubs, progress.batches_done) == (sum(good), 3, sum(good))
    assert fleet_of.happened("finished") == 1


def test_a_failure_waits_for_pubs_that_are_not_merged(fleet_of: Calls) -> None:
    fleet_of.submit(draft("j1", *one_each(2)))
    assert fleet_of.complete(fleet_of.take(), merge=False) == [0]
    assert fleet_of.fail(fleet_of.take())
    assert fleet_of.job().state == JobState.RUNNING
    with fleet_of.store.read() as connection:
        assert results.unsettled(connection, 10) == ["j1"]
    store_results(fleet_of, {0: b"r0"})
    assert fleet_of.job().state == JobState.PARTIAL


def test_a_job_without_pubs_is_done_at_once(fleet_of: Calls) -> None:
    fleet_of.submit(draft("j1", pubs=0))
    record = fleet_of.job()
    assert (record.state, record.num_batches) == (JobState.DONE, 0)
    assert record.finished_at is not None


def test_pubs_with_nothing_to_run_wait_for_the_merge_only(fleet_of: Calls) -> None:
    fleet_of.submit(draft("j1", pubs=2))
    with fleet_of.store.read() as connection:
        assert results.unmerged(connection, 10, 10) == {"j1": [0, 1]}
    store_results(fleet_of, {0: b"", 1: b""})
    assert fleet_of.job().state == JobState.DONE


def test_cancelling_ends_what_waits(fleet_of: Calls) -> None:
    fleet_of.submit(draft("j1", *one_each(3)))
    claim = fleet_of.take()
    assert fleet_of.cancel()
    assert not fleet_of.cancel()
    assert fleet_of.states() == ["CLAIMED", "CANCELLED", "CANCELLED"]
    assert fleet_of.claim() is None
    record = fleet_of.job()
    assert (record.state, record.batches_left) == (JobState.CANCELLED, 1)
    assert fleet_of.complete(claim) == []  # what was paid for is kept
    assert len(fleet_of.rows(chunk_table)) == 1
    record = fleet_of.job()
    assert (record.state, record.batches_left) == (JobState.CANCELLED, 0)
    assert (fleet_of.happened("cancelled"), fleet_of.happened("finished")) == (1, 0)


@pytest.mark.parametrize(("submitting", "decision"), [(False, ""), (True, "run_again"), (True, "hold")])
def test_a_lease_of_a_cancelled_job_ends_for_good(fleet_of: Calls, submitting: bool, decision: str) -> None:
    fleet_of.submit(draft("j1", *one_each(1)))
    claim = fleet_of.take()
    if submitting:
        fleet_of.begin_call(claim)
    fleet_of.cancel()
    fleet_of.end_leases()
    if submitting:  # first it is looked up: what was paid for is kept
        assert fleet_of.states() == ["UNCERTAIN"]
        fleet_of.do(getattr(doubts, decision), claim.batch_id, claim.fence, "unknown")
    assert fleet_of.states() == ["CANCELLED"]
    assert fleet_of.claim() is None
    assert fleet_of.job().batches_left == 0


def test_a_run_in_flight_of_a_cancelled_job_is_still_fetched(fleet_of: Calls) -> None:
    fleet_of.submit(draft("j1", *one_each(1)))
    fleet_of.fly(fleet_of.take(), "ibm-7")
    fleet_of.cancel()
    (claim,) = fleet_of.take_up(fleet_of.looks(), "w/2")
    assert claim.provider_job_id == "ibm-7"
    assert fleet_of.complete(claim) == []
    assert (fleet_of.job().state, fleet_of.job().batches_left) == (JobState.CANCELLED, 0)


@pytest.mark.parametrize("end", ["put_back", "split", "stop"])
def test_what_is_given_back_of_a_cancelled_job_is_cancelled(fleet_of: Calls, end: str) -> None:
    fleet_of.submit(draft("j1", [Slice(0, 0, 4, 0)]))
    claim = fleet_of.take()
    fleet_of.cancel()
    assert fleet_of.expire("w/1") if end == "stop" else getattr(fleet_of, end)(claim)
    assert fleet_of.claim() is None
    assert fleet_of.job().batches_left == 0
    check(fleet_of.store)


def test_the_other_half_of_what_a_cancelled_job_runs_is_cancelled(fleet_of: Calls) -> None:
    fleet_of.submit(draft("j1", [Slice(0, 0, 4, 0)]))
    fleet_of.split(fleet_of.take(), one_is_bad=True)
    claim = fleet_of.take()
    fleet_of.begin_call(claim)
    fleet_of.cancel()
    fleet_of.accept(claim)
    assert fleet_of.claim() is None
    assert sorted(fleet_of.states()) == ["CANCELLED", "IN_FLIGHT", "SPLIT"]
    check(fleet_of.store)


def test_waiting_for_a_limit_is_no_trouble(fleet_of: Calls) -> None:
    fleet_of.submit(draft("j1", *one_each(1)))
    assert fleet_of.put_back(fleet_of.take(), counts=False)
    fleet_of.wait(100_000)
    claim = fleet_of.take()
    assert (claim.attempts, claim.failing_s) == (0, 0.0)
    assert fleet_of.put_back(claim)
    fleet_of.wait(100)
    claim = fleet_of.take()
    assert (claim.attempts, round(claim.failing_s)) == (1, 100)
    fleet_of.fly(claim)
    fleet_of.wait(100_000)  # in the provider's queue
    (claim,) = fleet_of.take_up(fleet_of.looks())
    assert (claim.attempts, claim.failing_s) == (1, 0.0)


def test_what_is_put_back_waits_its_time(fleet_of: Calls) -> None:
    fleet_of.submit(draft("j1", *one_each(1)))
    assert fleet_of.put_back(fleet_of.take(), 30.0, reason="503")
    assert (fleet_of.states(), fleet_of.batch().reason) == (["PENDING"], "503")
    assert fleet_of.runs() == [(1, "FAILED", None)]
    fleet_of.wait(29)
    assert fleet_of.claim() is None
    fleet_of.wait(1)
    assert fleet_of.take().attempt == 2


def test_a_finished_job_is_not_cancelled(fleet_of: Calls) -> None:
    fleet_of.submit(draft("j1", *one_each(1)))
    fleet_of.complete(fleet_of.take())
    assert not fleet_of.cancel()
    assert fleet_of.job().state == JobState.DONE


def test_a_transaction_that_fails_leaves_nothing(fleet_of: Calls) -> None:
    fleet_of.submit(draft("j1", *one_each(1)))
    seen = fleet_of.store.changes
    with pytest.raises(RuntimeError), fleet_of.store.write() as connection:  # noqa: PT012
        jobs.cancel(connection, "j1")
        raise RuntimeError
    assert fleet_of.job().state == JobState.QUEUED
    assert fleet_of.happened("cancelled") == 0
    assert fleet_of.store.changes == seen
    fleet_of.take()  # and the next one starts afresh
    assert fleet_of.happened("cancelled") == 0


def test_those_who_wait_are_told_when_a_job_ends(fleet_of: Calls) -> None:
    fleet_of.submit(draft("j1", *one_each(1)))
    claim = fleet_of.take()
    seen = fleet_of.store.changes
    fleet_of.fail(claim)
    assert fleet_of.store.changes == seen + 1


def test_jobs_are_found_by_a_part_of_their_id(fleet_of: Calls) -> None:
    for job_id in ("01ABC", "01ABD", "01A", "x%y"):
        fleet_of.submit(replace(draft(job_id, pubs=0), owner="ann"))
    with fleet_of.store.read() as connection:
        assert jobs.find(connection, "01ABC") == "01ABC"
        assert jobs.find(connection, "BD") == "01ABD"
        for viewer in (None, "ann"):
            assert jobs.find(connection, "01A", viewer) == "01A"  # whole, though others start so
        assert jobs.find(connection, "x%") == "x%y"
        for part, told in (("01AB", "Several jobs fit '01AB'"), ("zz", "No job 'zz'"), ("%", "No job '%'")):
            with pytest.raises(JobNotFound, match=told):
                jobs.find(connection, part)
        with pytest.raises(JobNotFound, match="No job '01A'"):
            jobs.find(connection, "01A", "ben")
        with pytest.raises(JobNotFound, match="No job nope in this database"):
            jobs.get(connection, "nope")
        with pytest.raises(JobNotFound):
            jobs.state(connection, "nope")


def test_a_database_that_others_lock_is_told_so(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "_SQLITE_PRAGMAS", ("PRAGMA busy_timeout=1",))
    other = Store(store.url)
    told = pytest.raises(StoreUnreachable, match="is locked: another process")
    with closing(other), store.write(), told, other.write():
        pass
    with other.write():
        pass


def test_a_new_database_may_be_opened_by_others_at_the_same_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite does not wait for them where it is to change how it keeps its journal."""
    path = tmp_path / "new.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        monkeypatch.setattr(engine.time, "sleep", lambda _: other.execute("COMMIT"))
        with closing(Store.open(f"sqlite:///{path}")) as store:
            store.check_schema()


def test_due_batches_are_counted_up_to_a_limit(fleet_of: Calls) -> None:
    fleet_of.submit(draft("j1", *one_each(5)))
    fleet_of.submit(draft("j2", *one_each(2), backend="b"))
    fleet_of.take()
    assert fleet_of.do(fleet.chores, ["aer", "b", "c"], 3, 60, 60).due == {"aer": 3, "b": 2}
    assert fleet_of.do(fleet.chores, [], 3, 60, 60).due == {}
    with fleet_of.store.read() as connection:
        assert fleet.queue_depths(connection) == {"aer": 4, "b": 2}
        assert fleet.owners(connection, "w") == {"w/1"}
        assert fleet.owners(connection, "w/") == set()


def test_the_newest_word_about_a_backend_counts(fleet_of: Calls) -> None:
    for facts in (BackendFacts("aer", "s1", None, None, "no driver"), BackendFacts("aer", "s2", 5, 100, None)):
        with fleet_of.store.write() as connection:
            fleet.describe_backend(connection, facts)
    with fleet_of.store.read() as connection:
        found = fleet.get_backend(connection, "aer")
        assert found is not None
        assert (found.spec, found.num_qubits, found.max_circuits, found.error) == ("s2", 5, 100, None)
        assert fleet.list_backends(connection) == [found]
        assert fleet.get_backend(connection, "other") is None


def test_workers_sign_in_and_out(fleet_of: Calls) -> None:
    row = {"id": "w", "host": "h", "pid": 1, "concurrency": 2, "backends": ["aer"]}
    for names in (["aer"], ["aer", "b"]):
        with fleet_of.store.write() as connection:
            fleet.sign_in(connection, {**row, "backends": names})
    fleet_of.submit(draft("j1", *one_each(3)))
    fleet_of.take("w/1")
    fleet_of.take("w/2")
    fleet_of.take("w2/1")
    with fleet_of.store.read() as connection:
        (found,) = fleet.list_workers(connection, 60)
        assert (found.id, found.backends, found.holds) == ("w", ["aer", "b"], 2)
        assert fleet.list_workers(connection, -1) == []
    with fleet_of.store.write() as connection:
        fleet.sign_out(connection, "w")
    with fleet_of.store.read() as connection:
        assert fleet.list_workers(connection, 60) == []
