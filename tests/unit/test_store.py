"""Every change of a batch's state, on SQLite."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Any

import pytest
from sqlalchemy import select, update

from pubworks.errors import JobNotFound
from pubworks.states import BatchState, JobState
from pubworks.store import batches, fleet, jobs, results
from pubworks.store.engine import now
from pubworks.store.records import BackendFacts, BatchDraft, Claim, JobDraft, PubDraft, Slice
from pubworks.store.store import Store
from pubworks.store.tables import batches as batch_table
from pubworks.store.tables import chunks as chunk_table
from pubworks.store.tables import circuits as circuit_table
from pubworks.store.tables import events as event_table
from pubworks.store.tables import jobs as job_table
from pubworks.store.tables import provider_jobs as run_table
from pubworks.store.tables import pubs as pub_table

LEASE_S = 60.0


def pub(size: int = 1, shots: int = 10) -> PubDraft:
    readout = {"num_clbits": 1, "measures": True, "registers": [["c", [0]]]}
    return PubDraft("h1", (size,), size, shots, None, readout, {"name": "x"})


def draft(job_id: str, *batch_slices: list[Slice], pubs: int | None = None, backend: str = "aer") -> JobDraft:
    """A job of 10-shot batches, each given by its slices; PUBs as large as the slices make them."""
    sizes: Counter[int] = Counter()
    for slices in batch_slices:
        for piece in slices:
            sizes[piece.pub] = max(sizes[piece.pub], piece.end)
    count = pubs if pubs is not None else len(sizes)
    return JobDraft(
        job_id, None, "sampler", backend, {}, {"h1": b"qpy"},
        tuple(pub(sizes[position]) for position in range(count)),
        tuple(BatchDraft(10, 7, tuple(slices)) for slices in batch_slices),
        {"method": "x"},
    )  # fmt: skip


def one_each(count: int) -> list[list[Slice]]:
    """One batch for each of some PUBs."""
    return [[Slice(position, 0, 1, 0)] for position in range(count)]


class Fleet:
    """Short calls, each one transaction."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def submit(self, job: JobDraft) -> None:
        with self.store.write() as connection:
            jobs.submit(connection, job)

    def claim(self, owner: str = "w/1", backend: str = "aer") -> Claim | None:
        with self.store.write() as connection:
            return batches.claim(connection, backend, owner, LEASE_S)

    def take(self, owner: str = "w/1") -> Claim:
        claim = self.claim(owner)
        assert claim is not None
        return claim

    def begin_call(self, claim: Claim) -> bool:
        with self.store.write() as connection:
            return batches.begin_call(connection, claim)

    def accept(self, claim: Claim, provider_id: str = "p1") -> bool:
        with self.store.write() as connection:
            return batches.accept(connection, claim, provider_id)

    def complete(self, claim: Claim, *, merge: bool = True) -> list[int] | None:
        outcomes = [f"{claim.batch_id}/{position}".encode() for position in range(len(claim.slices))]
        merged = {piece.pub: b"merged" for piece in claim.slices} if merge else {}
        with self.store.write() as connection:
            return batches.complete(connection, claim, outcomes, merged, "p1")

    def fail(self, claim: Claim, error: str = "broken") -> bool:
        with self.store.write() as connection:
            return batches.fail(connection, claim, error)

    def end_leases(self, owner: str | None = None) -> int:
        """Let every lease end, as if its time had passed, and have the keeper see it."""
        with self.store.write() as connection:
            ended = update(batch_table).where(batch_table.c.lease_until.is_not(None))
            if owner:
                ended = ended.where(batch_table.c.lease_owner == owner)
            connection.execute(ended.values(lease_until=now() - 1))
        with self.store.write() as connection:
            return batches.expire(connection, "silent")

    def cancel(self, job_id: str = "j1") -> bool:
        with self.store.write() as connection:
            return jobs.cancel(connection, job_id)

    def rows(self, table: Any) -> list[Any]:
        with self.store.read() as connection:
            return list(connection.execute(select(table)).all())

    def states(self) -> list[str]:
        return [row.state for row in sorted(self.rows(batch_table), key=lambda row: (row.job_id, row.position))]

    def runs(self) -> list[tuple[int, str, str | None]]:
        return [(row.attempt, row.state, row.provider_job_id) for row in self.rows(run_table)]

    def job(self, job_id: str = "j1") -> jobs.JobRecord:
        with self.store.read() as connection:
            return jobs.get(connection, job_id)

    def happened(self, what: str) -> int:
        return sum(row.what == what for row in self.rows(event_table))


@pytest.fixture
def fleet_of(store: Store) -> Fleet:
    return Fleet(store)


def test_a_job_is_stored_whole_or_not_at_all(fleet_of: Fleet) -> None:
    broken = draft("j1", *one_each(2))
    broken = JobDraft(**{**vars(broken), "batches": (*broken.batches, BatchDraft(10, "x" * 9, object()))})  # type: ignore[arg-type]
    with pytest.raises(Exception, match="object"):
        fleet_of.submit(broken)
    for table in (job_table, pub_table, batch_table, circuit_table, event_table):
        assert fleet_of.rows(table) == []


def test_a_circuit_is_stored_once_for_all_jobs(fleet_of: Fleet) -> None:
    fleet_of.submit(draft("j1", *one_each(2)))
    fleet_of.submit(draft("j2", *one_each(2)))
    assert len(fleet_of.rows(circuit_table)) == 1


def test_a_claim_says_what_to_run(fleet_of: Fleet) -> None:
    fleet_of.submit(draft("j1", [Slice(0, 0, 2, 0), Slice(1, 3, 4, 20)]))
    claim = fleet_of.take()
    assert claim == Claim(
        "j1-0", "j1", "aer", 10, 7, (Slice(0, 0, 2, 0), Slice(1, 3, 4, 20)), {"method": "x"}, fence=1, attempt=1
    )
    assert isinstance(claim.slices[0], Slice)
    assert fleet_of.states() == ["CLAIMED"]
    assert fleet_of.runs() == [(1, "INTENT", None)]
    assert fleet_of.job().state == JobState.RUNNING


def test_batches_are_claimed_in_order(fleet_of: Fleet) -> None:
    for job_id in ("j1", "j2"):
        fleet_of.submit(draft(job_id, *one_each(12)))
    order = [fleet_of.take().batch_id for _ in range(24)]
    assert order == [f"{job_id}-{position}" for job_id in ("j1", "j2") for position in range(12)]
    assert fleet_of.claim() is None


def test_other_backends_are_left_alone(fleet_of: Fleet) -> None:
    fleet_of.submit(draft("j1", *one_each(1), backend="other"))
    assert fleet_of.claim(backend="aer") is None
    assert fleet_of.claim(backend="other") is not None


def test_what_is_not_due_yet_is_not_claimed(fleet_of: Fleet) -> None:
    fleet_of.submit(draft("j1", *one_each(1)))
    with fleet_of.store.write() as connection:
        connection.execute(update(batch_table).values(due_at=now() + 100))
    assert fleet_of.claim() is None
    with fleet_of.store.read() as connection:
        assert fleet.due(connection, ["aer"], 10) == {}


def test_many_threads_claim_each_batch_once(fleet_of: Fleet) -> None:
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


def test_the_way_of_a_local_run(fleet_of: Fleet) -> None:
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


def test_the_way_of_a_run_at_a_provider(fleet_of: Fleet) -> None:
    fleet_of.submit(draft("j1", *one_each(1)))
    claim = fleet_of.take()
    assert fleet_of.begin_call(claim)
    assert fleet_of.states() == ["SUBMITTING"]
    assert fleet_of.accept(claim, "ibm-7")
    assert fleet_of.states() == ["IN_FLIGHT"]
    assert fleet_of.runs() == [(1, "ACCEPTED", "ibm-7")]
    assert fleet_of.complete(claim) == []
    assert fleet_of.states() == ["DONE"]


def test_a_call_begins_only_under_a_lease_that_holds(fleet_of: Fleet) -> None:
    fleet_of.submit(draft("j1", *one_each(1)))
    claim = fleet_of.take()
    with fleet_of.store.write() as connection:
        connection.execute(update(batch_table).values(lease_until=now() - 1))
    assert not fleet_of.begin_call(claim)
    assert fleet_of.states() == ["CLAIMED"]


def test_steps_out_of_order_change_nothing(fleet_of: Fleet) -> None:
    fleet_of.submit(draft("j1", *one_each(1)))
    claim = fleet_of.take()
    assert not fleet_of.accept(claim)
    assert fleet_of.begin_call(claim)
    assert not fleet_of.begin_call(claim)
    assert fleet_of.accept(claim)
    assert not fleet_of.accept(claim, "p2")
    assert fleet_of.runs() == [(1, "ACCEPTED", "p1")]


@pytest.mark.parametrize("step", ["begin_call", "accept", "complete", "fail"])
def test_an_old_claim_can_do_nothing_after_a_newer_one(fleet_of: Fleet, step: str) -> None:
    fleet_of.submit(draft("j1", *one_each(1)))
    old = fleet_of.take("w/1")
    assert fleet_of.end_leases() == 1
    new = fleet_of.take("w/2")
    assert (old.fence, new.fence) == (1, 2)
    if step == "accept":
        assert fleet_of.begin_call(new)
    before = fleet_of.rows(batch_table), fleet_of.rows(run_table), fleet_of.rows(chunk_table)
    assert not getattr(fleet_of, step)(old)
    assert (fleet_of.rows(batch_table), fleet_of.rows(run_table), fleet_of.rows(chunk_table)) == before
    assert fleet_of.complete(new) == []


def test_a_lease_that_ends_before_the_call_makes_the_batch_due(fleet_of: Fleet) -> None:
    fleet_of.submit(draft("j1", *one_each(1)))
    fleet_of.take()
    assert fleet_of.end_leases() == 1
    assert fleet_of.states() == ["PENDING"]
    assert fleet_of.runs() == [(1, "LOST", None)]
    assert fleet_of.rows(batch_table)[0].reason == "silent"
    assert fleet_of.take().attempt == 2
    assert fleet_of.runs() == [(1, "LOST", None), (2, "INTENT", None)]
    assert fleet_of.rows(batch_table)[0].reason is None


def test_a_lease_that_ends_during_the_call_holds_the_batch(fleet_of: Fleet) -> None:
    fleet_of.submit(draft("j1", *one_each(1)))
    assert fleet_of.begin_call(fleet_of.take())
    assert fleet_of.end_leases() == 1
    assert fleet_of.states() == ["HELD"]
    assert fleet_of.claim() is None
    assert fleet_of.job().state == JobState.RUNNING


def test_a_run_in_flight_is_taken_up_by_its_id(fleet_of: Fleet) -> None:
    fleet_of.submit(draft("j1", *one_each(1)))
    old = fleet_of.take("w/1")
    fleet_of.begin_call(old)
    fleet_of.accept(old, "ibm-7")
    assert fleet_of.end_leases() == 1
    assert fleet_of.states() == ["IN_FLIGHT"]
    new = fleet_of.take("w/2")
    assert (new.provider_job_id, new.fence, new.attempt) == ("ibm-7", 2, 1)
    assert fleet_of.states() == ["IN_FLIGHT"]
    assert fleet_of.complete(old) is None
    assert fleet_of.complete(new) == []
    assert fleet_of.runs() == [(1, "DONE", "p1")]


@pytest.mark.parametrize("state", [BatchState.PENDING, BatchState.HELD, BatchState.IN_FLIGHT])
def test_a_late_result_is_welcome_while_nobody_took_the_batch(fleet_of: Fleet, state: BatchState) -> None:
    fleet_of.submit(draft("j1", *one_each(1)))
    claim = fleet_of.take()
    if state != BatchState.PENDING:
        fleet_of.begin_call(claim)
    if state == BatchState.IN_FLIGHT:
        fleet_of.accept(claim)
    fleet_of.end_leases()
    assert fleet_of.states() == [state]
    assert fleet_of.complete(claim) == []
    assert fleet_of.job().state == JobState.DONE
    assert fleet_of.claim() is None
    assert fleet_of.runs() == [(1, "DONE", "p1")]


def test_a_late_failure_is_not_welcome(fleet_of: Fleet) -> None:
    fleet_of.submit(draft("j1", *one_each(1)))
    claim = fleet_of.take()
    fleet_of.end_leases()
    assert not fleet_of.fail(claim)
    assert fleet_of.states() == ["PENDING"]


def test_a_lease_that_is_renewed_does_not_end(fleet_of: Fleet) -> None:
    fleet_of.submit(draft("j1", *one_each(2)))
    mine, other = fleet_of.take("w/1"), fleet_of.take("w/2")
    with fleet_of.store.write() as connection:
        connection.execute(update(batch_table).values(lease_until=now() - 1))
        assert batches.renew(connection, "w/1", [mine.batch_id, other.batch_id], LEASE_S) == 1
    with fleet_of.store.write() as connection:
        assert batches.expire(connection, "silent") == 1
    assert fleet_of.states() == ["CLAIMED", "PENDING"]


def test_a_process_that_stops_gives_back_its_own_leases_only(fleet_of: Fleet) -> None:
    fleet_of.submit(draft("j1", *one_each(2)))
    fleet_of.take("w/1")
    fleet_of.take("w/2")
    with fleet_of.store.write() as connection:
        assert batches.expire(connection, "stopped", owner="w/2") == 1
    assert fleet_of.states() == ["CLAIMED", "PENDING"]


def test_completing_twice_stores_once(fleet_of: Fleet) -> None:
    fleet_of.submit(draft("j1", [Slice(0, 0, 1, 0)], [Slice(0, 1, 2, 0)]))
    claim = fleet_of.take()
    assert fleet_of.complete(claim, merge=False) == []
    assert fleet_of.complete(claim, merge=False) is None
    assert not fleet_of.fail(claim)
    assert len(fleet_of.rows(chunk_table)) == 1
    assert fleet_of.job().batches_left == 1


def test_the_last_chunk_of_a_pub_makes_it_ready(fleet_of: Fleet) -> None:
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


def store_results(fleet_of: Fleet, merged: dict[int, bytes]) -> None:
    with fleet_of.store.write() as connection:
        results.store_results(connection, "j1", merged)


def test_a_stored_result_never_changes(fleet_of: Fleet) -> None:
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
def test_how_a_job_ends(fleet_of: Fleet, good: list[int], state: str) -> None:
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


def test_a_failure_waits_for_pubs_that_are_not_merged(fleet_of: Fleet) -> None:
    fleet_of.submit(draft("j1", *one_each(2)))
    assert fleet_of.complete(fleet_of.take(), merge=False) == [0]
    assert fleet_of.fail(fleet_of.take())
    assert fleet_of.job().state == JobState.RUNNING
    with fleet_of.store.read() as connection:
        assert results.unsettled(connection, 10) == ["j1"]
    store_results(fleet_of, {0: b"r0"})
    assert fleet_of.job().state == JobState.PARTIAL


def test_a_job_without_pubs_is_done_at_once(fleet_of: Fleet) -> None:
    fleet_of.submit(draft("j1", pubs=0))
    record = fleet_of.job()
    assert (record.state, record.num_batches) == (JobState.DONE, 0)
    assert record.finished_at is not None


def test_pubs_with_nothing_to_run_wait_for_the_merge_only(fleet_of: Fleet) -> None:
    fleet_of.submit(draft("j1", pubs=2))
    with fleet_of.store.read() as connection:
        assert results.unmerged(connection, 10, 10) == {"j1": [0, 1]}
    store_results(fleet_of, {0: b"", 1: b""})
    assert fleet_of.job().state == JobState.DONE


def test_cancelling_ends_what_waits(fleet_of: Fleet) -> None:
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


@pytest.mark.parametrize("submitting", [False, True])
def test_a_lease_of_a_cancelled_job_ends_for_good(fleet_of: Fleet, submitting: bool) -> None:
    fleet_of.submit(draft("j1", *one_each(1)))
    claim = fleet_of.take()
    if submitting:
        fleet_of.begin_call(claim)
    fleet_of.cancel()
    fleet_of.end_leases()
    assert fleet_of.states() == ["CANCELLED"]
    assert fleet_of.claim() is None
    assert fleet_of.job().batches_left == 0


def test_a_run_in_flight_of_a_cancelled_job_is_still_fetched(fleet_of: Fleet) -> None:
    fleet_of.submit(draft("j1", *one_each(1)))
    claim = fleet_of.take()
    fleet_of.begin_call(claim)
    fleet_of.accept(claim, "ibm-7")
    fleet_of.cancel()
    fleet_of.end_leases()
    assert fleet_of.take("w/2").provider_job_id == "ibm-7"


def test_a_finished_job_is_not_cancelled(fleet_of: Fleet) -> None:
    fleet_of.submit(draft("j1", *one_each(1)))
    fleet_of.complete(fleet_of.take())
    assert not fleet_of.cancel()
    assert fleet_of.job().state == JobState.DONE


def test_a_transaction_that_fails_leaves_nothing(fleet_of: Fleet) -> None:
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


def test_those_who_wait_are_told_when_a_job_ends(fleet_of: Fleet) -> None:
    fleet_of.submit(draft("j1", *one_each(1)))
    claim = fleet_of.take()
    seen = fleet_of.store.changes
    fleet_of.fail(claim)
    assert fleet_of.store.changes == seen + 1


def test_jobs_are_found_by_a_part_of_their_id(fleet_of: Fleet) -> None:
    for job_id in ("01ABC", "01ABD", "01A", "x%y"):
        fleet_of.submit(draft(job_id, pubs=0))
    with fleet_of.store.read() as connection:
        assert jobs.find(connection, "01ABC") == "01ABC"
        assert jobs.find(connection, "BD") == "01ABD"
        assert jobs.find(connection, "01A") == "01A"  # whole, though others start so
        assert jobs.find(connection, "x%") == "x%y"
        for part, told in (("01AB", "Several jobs fit '01AB'"), ("zz", "No job 'zz'"), ("%", "No job '%'")):
            with pytest.raises(JobNotFound, match=told):
                jobs.find(connection, part)
        with pytest.raises(JobNotFound, match="No job nope in this database"):
            jobs.get(connection, "nope")
        with pytest.raises(JobNotFound):
            jobs.state(connection, "nope")


def test_jobs_are_listed_newest_first(fleet_of: Fleet) -> None:
    for number in range(4):
        fleet_of.submit(draft(f"j{number}", *one_each(number % 2), pubs=number % 2, backend=f"b{number // 2}"))
    with fleet_of.store.read() as connection:
        assert [job.id for job in jobs.newest(connection, 3, None, None)] == ["j3", "j2", "j1"]
        assert [job.id for job in jobs.newest(connection, 9, JobState.QUEUED, None)] == ["j3", "j1"]
        assert [job.id for job in jobs.newest(connection, 9, None, "b0")] == ["j1", "j0"]


def test_due_batches_are_counted_up_to_a_limit(fleet_of: Fleet) -> None:
    fleet_of.submit(draft("j1", *one_each(5)))
    fleet_of.submit(draft("j2", *one_each(2), backend="b"))
    fleet_of.take()
    with fleet_of.store.read() as connection:
        assert fleet.due(connection, ["aer", "b", "c"], 3) == {"aer": 3, "b": 2}
        assert fleet.due(connection, [], 3) == {}
        assert fleet.queue_depths(connection) == {"aer": 4, "b": 2}
        assert fleet.owners(connection, "w") == {"w/1"}
        assert fleet.owners(connection, "w/") == set()


def test_the_newest_word_about_a_backend_counts(fleet_of: Fleet) -> None:
    for facts in (BackendFacts("aer", "s1", None, None, "no driver"), BackendFacts("aer", "s2", 5, 100, None)):
        with fleet_of.store.write() as connection:
            fleet.describe_backend(connection, facts)
    with fleet_of.store.read() as connection:
        found = fleet.get_backend(connection, "aer")
        assert found is not None
        assert (found.spec, found.num_qubits, found.max_circuits, found.error) == ("s2", 5, 100, None)
        assert fleet.list_backends(connection) == [found]
        assert fleet.get_backend(connection, "other") is None


def test_workers_sign_in_and_out(fleet_of: Fleet) -> None:
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
