"""Workers that claim, crash, come late and race in any order never break what a job promises."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule
from sqlalchemy import select, update

from pubworks.states import LEASED, BatchState, JobState, RunState
from pubworks.store import batches, jobs, results
from pubworks.store.engine import now
from pubworks.store.records import BatchDraft, Claim, JobDraft, PubDraft, Slice
from pubworks.store.store import Store
from pubworks.store.tables import batches as batch_table
from pubworks.store.tables import chunks as chunk_table
from pubworks.store.tables import events as event_table
from pubworks.store.tables import jobs as job_table
from pubworks.store.tables import provider_jobs as run_table
from pubworks.store.tables import pubs as pub_table

OWNERS = ("a/1", "a/2", "b/1")
#: What a worker does with a claim before something else happens.
WAYS: tuple[tuple[str, ...], ...] = (
    (),
    ("complete",),
    ("fail",),
    ("begin_call",),
    ("begin_call", "accept"),
    ("begin_call", "accept", "complete"),
)
READOUT = {"num_clbits": 1, "measures": True, "registers": [["c", [0]]]}


@cache
def _empty_database() -> bytes:
    """Return a database file with the tables of this version."""
    with tempfile.TemporaryDirectory() as folder:
        store = Store(f"sqlite:///{Path(folder) / 'store.db'}")
        store.upgrade()
        store.close()
        return (Path(folder) / "store.db").read_bytes()


class Workers(RuleBasedStateMachine):
    """Several workers and their keeper on one database."""

    claims = Bundle("claims")

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        path = Path(self.folder.name) / "store.db"
        path.write_bytes(_empty_database())
        self.store = Store(f"sqlite:///{path}")
        self.fences: dict[str, int] = {}
        self.final: dict[str, tuple[Any, ...]] = {}
        self.chunks: dict[tuple[str, int], bytes] = {}
        self.called: set[str] = set()
        self.submitted = 0
        self.stored = 0

    def teardown(self) -> None:
        self.store.close()
        self.folder.cleanup()

    @rule(pubs=st.sampled_from([0, 1, 2, 2]), parts=st.integers(1, 2), shots=st.integers(1, 2))
    def submit(self, pubs: int, parts: int, shots: int) -> None:
        """Store a job whose PUBs are cut into batches by circuits and by shots."""
        job_id = f"j{self.submitted}"
        self.submitted += 1
        drafts = tuple(
            BatchDraft(5, None, (Slice(pub, part, part + 1, 5 * shot),))
            for shot in range(shots)
            for pub in range(pubs)
            for part in range(parts)
        )
        made = PubDraft("h", (parts,), parts, 5 * shots, None, READOUT, None)
        with self.store.write() as connection:
            jobs.submit(
                connection,
                JobDraft(job_id, None, "sampler", "aer", {}, {"h": b""}, (made,) * pubs, drafts),
            )

    @initialize()
    def start(self) -> None:
        self.submit(pubs=2, parts=1, shots=1)
        self.submit(pubs=1, parts=2, shots=2)

    @rule(target=claims, owner=st.sampled_from(OWNERS), way=st.sampled_from(WAYS))
    def claim(self, owner: str, way: tuple[str, ...]) -> Any:
        """Take a batch and go some way; what was claimed stays in a worker's hands, however old it gets."""
        with self.store.write() as connection:
            claim = batches.claim(connection, "aer", owner, 60)
        if claim is None:
            return multiple()
        for step in way:
            getattr(self, step)(claim)
        return claim

    @rule(held=claims)
    def begin_call(self, held: Claim) -> None:
        with self.store.write() as connection:
            begun = batches.begin_call(connection, held)
        assert not (begun and held.batch_id in self.called), "it would be paid twice"
        if begun:
            self.called.add(held.batch_id)

    @rule(held=claims)
    def accept(self, held: Claim) -> None:
        with self.store.write() as connection:
            batches.accept(connection, held, f"provider-{held.batch_id}-{held.fence}")

    @rule(held=claims, alone=st.booleans())
    def complete(self, held: Claim, alone: bool = False) -> None:
        """Store a result, in time or late, once or again."""
        self.stored += 1
        (piece,) = held.slices
        with self.store.write() as connection:
            covers = self._pub(connection, held.job_id, piece.pub) == (1, 5)
            merged = {piece.pub: b"merged"} if alone and covers else {}
            batches.complete(connection, held, [str(self.stored).encode()], merged, "p")

    @rule(held=claims)
    def fail(self, held: Claim) -> None:
        with self.store.write() as connection:
            batches.fail(connection, held, "broken")

    @rule(held=consumes(claims))
    def crash(self, held: Claim) -> None:
        """A worker forgets what it held; its lease ends."""
        self._end_leases(batch_table.c.id == held.batch_id, batch_table.c.fence == held.fence)

    @rule(owner=st.sampled_from(OWNERS))
    def fall_silent(self, owner: str) -> None:
        """Leases end, and the worker comes back later."""
        self._end_leases(batch_table.c.lease_owner == owner)

    @rule(owner=st.sampled_from(OWNERS))
    def stop(self, owner: str) -> None:
        with self.store.write() as connection:
            batches.expire(connection, "stopped", owner=owner)

    @rule(job=st.integers(0, 9))
    def cancel(self, job: int) -> None:
        with self.store.write() as connection:
            jobs.cancel(connection, f"j{job}")

    @rule()
    def keep(self) -> None:
        """Merge what is ready and settle what is over, as the keeper does."""
        with self.store.read() as connection:
            unmerged, unsettled = results.unmerged(connection, 0, 10), results.unsettled(connection, 10)
        for job_id, ready in unmerged.items():
            with self.store.write() as connection:
                results.store_results(connection, job_id, dict.fromkeys(ready, b"merged"))
        for job_id in unsettled:
            with self.store.write() as connection:
                jobs.settle(connection, job_id)

    @invariant()
    def a_batch_has_one_fate(self) -> None:
        for row in self._rows(batch_table):
            assert row.fence >= self.fences.get(row.id, 0)
            self.fences[row.id] = row.fence
            self._stays(row.id, row.state, BatchState(row.state).is_final)
            leased = row.state in LEASED
            assert (row.lease_owner is not None) == (row.lease_until is not None)
            assert not (row.lease_owner and row.due_at)
            assert leased or row.lease_owner is None
            assert (row.due_at is not None) == (row.state == "PENDING" or (leased and row.lease_owner is None))
            assert not (row.state == "CLAIMED" and row.lease_owner is None)

    @invariant()
    def a_chunk_is_stored_once_and_for_all(self) -> None:
        done = {row.id for row in self._rows(batch_table) if row.state == "DONE"}
        found = {(row.batch_id, row.position): row.outcomes for row in self._rows(chunk_table)}
        assert {batch for batch, _ in found} == done
        assert all(found[key] == value for key, value in self.chunks.items())
        self.chunks = found

    @invariant()
    def counters_are_what_they_count(self) -> None:
        rows = self._rows(batch_table)
        for job in self._rows(job_table):
            mine = [row for row in rows if row.job_id == job.id]
            assert job.batches_left == sum(not BatchState(row.state).is_final for row in mine)
            for pub in self._rows(pub_table):
                if pub.job_id == job.id:
                    open_ = [row for row in mine if row.state != "DONE" and row.slices[0][0] == pub.position]
                    assert pub.missing == len(open_)
                    assert (pub.missing == 0) == (pub.ready_at is not None)
                    assert pub.collected_at is None or pub.missing == 0

    @invariant()
    def a_job_is_final_when_nothing_is_left_and_not_before(self) -> None:
        finished = [row.job_id for row in self._rows(event_table) if row.what in ("finished", "cancelled")]
        pubs = self._rows(pub_table)
        for job in self._rows(job_table):
            state = JobState(job.state)
            self._stays(job.id, job.state, state.is_final)
            assert finished.count(job.id) == state.is_final
            assert (job.finished_at is not None) == state.is_final
            if state == JobState.CANCELLED:
                continue
            mine = [pub for pub in pubs if pub.job_id == job.id]
            merged = sum(pub.collected_at is not None for pub in mine)
            waits = any(pub.missing == 0 and pub.collected_at is None for pub in mine)
            assert state.is_final == (job.batches_left == 0 and not waits)
            if state.is_final:
                assert state == ("DONE" if merged == len(mine) else "PARTIAL" if merged else "FAILED")

    @invariant()
    def runs_tell_the_truth(self) -> None:
        states = {row.id: (row.state, row.fence) for row in self._rows(batch_table)}
        accepted = set()
        for run in self._rows(run_table):
            state, fence = states[run.batch_id]
            assert run.attempt <= fence
            if run.state == RunState.ACCEPTED:
                assert run.batch_id not in accepted
                assert run.provider_job_id
                accepted.add(run.batch_id)
            if run.state == RunState.INTENT:
                assert state in ("CLAIMED", "SUBMITTING")
        assert accepted == {batch for batch, (state, _) in states.items() if state == "IN_FLIGHT"}

    def _stays(self, key: str, state: str, final: bool) -> None:
        assert self.final.get(key, (state,)) == (state,)
        if final:
            self.final[key] = (state,)

    def _rows(self, table: Any) -> list[Any]:
        with self.store.read() as connection:
            return list(connection.execute(select(table)).all())

    @staticmethod
    def _pub(connection: Any, job_id: str, position: int) -> tuple[int, int]:
        stored = jobs.load_pubs(connection, job_id, [position])[position]
        return stored.size, stored.shots

    def _end_leases(self, *which: Any) -> None:
        with self.store.write() as connection:
            leased = update(batch_table).where(batch_table.c.lease_until.is_not(None), *which)
            connection.execute(leased.values(lease_until=now() - 1))
        with self.store.write() as connection:
            batches.expire(connection, "silent")


TestWorkers = Workers.TestCase
TestWorkers.settings = settings(
    max_examples=25,
    stateful_step_count=40,
    phases=(Phase.explicit, Phase.generate),  # shrinking takes minutes
)
