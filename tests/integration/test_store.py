"""Several processes and threads on one database."""

from __future__ import annotations

import contextlib
import itertools
import os
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Event

import psycopg
import pytest
from qiskit.providers.basic_provider import BasicSimulator
from sqlalchemy import select, text, update

from pubworks.backends.adapter import Adapter
from pubworks.errors import NothingToRetry, StoreUnreachable
from pubworks.policy import Policy
from pubworks.states import JobState
from pubworks.store import batches, cancelling, claiming, doubts, fleet, flights, jobs, limits, tables
from pubworks.store.records import BatchDraft, JobDraft, PubDraft, Run, Slice
from pubworks.store.store import Store
from pubworks.testing.servers import eventually
from pubworks.testing.store import Calls, check, one_each
from pubworks.testing.store import draft as whole_draft
from pubworks.worker.desk import Desk
from pubworks.worker.watch import Watch

_ids = itertools.count()

UPGRADE = (
    "import sys; from pubworks.store.store import Store; store = Store(sys.argv[1]); store.upgrade(); store.close()"
)
WRITE = """
import sys
from pubworks.store import jobs
from pubworks.store.records import JobDraft
from pubworks.store.store import Store
store = Store(sys.argv[1])
store.upgrade()
for number in range(60):
    with store.write(durable=False) as connection:
        job = JobDraft(f"{sys.argv[2]}-{number}", None, "sampler", "b", {}, {}, (), ())
        jobs.submit(connection, job)
    with store.read() as connection:
        assert jobs.get(connection, job.id).state == "DONE"
store.close()
"""


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.servers)])
def url(request, tmp_path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'new' / 'pubworks.db'}"
    return request.getfixturevalue("new_postgresql")


@pytest.fixture
def store(url):
    store = Store(url)
    store.upgrade()
    yield store
    store.close()


def run_together(script: str, url: str, count: int) -> None:
    """Run a script in several processes at once and see that all succeed."""
    started = [
        subprocess.Popen([sys.executable, "-c", script, url, str(number)], stderr=subprocess.PIPE, text=True)
        for number in range(count)
    ]
    errors = [process.communicate(timeout=60)[1] for process in started]
    assert [process.returncode for process in started] == [0] * count, errors


def draft(pubs: int, slices: list[tuple[Slice, ...]]) -> JobDraft:
    """Return a job with these batches."""
    circuit = b"qpy"
    pub = PubDraft("hash", (2,), 2, 1, None, {}, None)
    return JobDraft(
        f"job{next(_ids)}-{os.getpid()}", None, "sampler", "b", {}, {"hash": circuit}, (pub,) * pubs,
        tuple(BatchDraft(1, None, pieces) for pieces in slices),
    )  # fmt: skip


def submit(store: Store, job: JobDraft) -> str:
    with store.write() as connection:
        jobs.submit(connection, job)
    return job.id


def claim(store: Store):
    with store.write() as connection:
        return next(iter(claiming.claim(connection, "b", "owner", 60).claims), None)


def together(calls: list) -> list:
    """Call functions at the same moment, each in a thread of its own."""
    barrier = Barrier(len(calls))

    def start(call):
        barrier.wait()
        return call()

    with ThreadPoolExecutor(len(calls)) as pool:
        return [future.result() for future in [pool.submit(start, call) for call in calls]]


def test_several_processes_upgrade_at_once(url):
    run_together(UPGRADE, url, 4)
    store = Store(url)
    store.check_schema()
    store.close()


def test_several_processes_write_one_database_from_its_first_moment(url):
    run_together(WRITE, url, 4)


def test_every_batch_is_claimed_once(store):
    submit(store, draft(1, [(Slice(0, 0, 1, 0),)] * 40))

    def claim_all() -> list[str]:
        return [found.batch_id for found in iter(lambda: claim(store), None)]

    claimed = Counter(itertools.chain(*together([claim_all] * 4)))
    assert len(claimed) == 40
    assert set(claimed.values()) == {1}


@pytest.mark.parametrize("round_", range(5))
def test_the_last_batches_of_a_job_end_it_together(store, round_):
    job = submit(store, draft(4, [(Slice(pub, 0, 2, 0),) for pub in range(4)]))

    def complete(held) -> None:
        with store.write(durable=False) as connection:
            batches.complete(connection, [Run(held, [b"chunk"], {held.slices[0].pub: b"result"}, None)])

    claims = [claim(store) for _ in range(4)]
    together([lambda held=held: complete(held) for held in claims])
    with store.read() as connection:
        record = jobs.get(connection, job)
    assert (record.state, record.batches_left) == (JobState.DONE, 0)


def test_batches_of_the_same_pubs_do_not_lock_each_other_out(store):
    forth = tuple(Slice(pub, 0, 1, 0) for pub in range(4))
    back = tuple(Slice(pub, 1, 2, 0) for pub in reversed(range(4)))
    for _ in range(5):
        submit(store, draft(4, [forth, back]))
    claims = [claim(store) for _ in range(10)]

    def complete(held) -> list[list[int]]:
        with store.write(durable=False) as connection:
            return list(batches.complete(connection, [Run(held, [b"chunk"] * 4, {}, None)]).values())

    ready = together([lambda held=held: complete(held) for held in claims])
    assert sorted(itertools.chain(*itertools.chain(*ready))) == sorted([*range(4)] * 5)


def test_claims_and_cancellations_do_not_lock_each_other_out(store):
    ids = [submit(store, draft(1, [(Slice(0, 0, 1, 0),)] * 3)) for _ in range(10)]

    def cancel_all() -> None:
        for job in ids:
            with store.write() as connection:
                jobs.cancel(connection, job)

    def claim_all() -> None:
        while claim(store):
            pass

    together([cancel_all, claim_all, claim_all])


def waiting_for_locks(url: str) -> int:
    """Return how many connections to a PostgreSQL database wait for a lock."""
    query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    with psycopg.connect(url.replace("+psycopg", "")) as connection:
        return connection.execute(query).fetchone()[0]


@pytest.mark.servers
def test_results_lock_their_batches_in_the_order_of_the_keeper(new_postgresql):
    store = Store(new_postgresql)
    store.upgrade()
    job = submit(store, draft(1, [(Slice(0, 0, 1, 0),)] * 2))
    first, second = sorted((claim(store), claim(store)), key=lambda held: held.batch_id)
    with store.write() as connection:  # its row is the last of the table now
        connection.execute(update(tables.batches).where(tables.batches.c.id == first.batch_id).values(reason="moved"))

    def expire() -> int:
        with store.write() as connection:
            return batches.expire(connection, "silent", owner="owner")

    def complete() -> None:
        with store.write() as connection:
            for way in ("index", "bitmap"):  # the table is read from its first row to its last
                connection.execute(text(f"SET LOCAL enable_{way}scan = off"))
            batches.complete(connection, [Run(held, [b"chunk"], {}, None) for held in (second, first)])

    with ThreadPoolExecutor(2) as pool:
        with store.write() as connection:
            connection.execute(select(tables.batches).where(tables.batches.c.id == first.batch_id).with_for_update())
            expired = pool.submit(expire)
            eventually(lambda: waiting_for_locks(new_postgresql) == 1)
            completed = pool.submit(complete)
            eventually(lambda: waiting_for_locks(new_postgresql) == 2)
        assert expired.result() == 2
        completed.result()
    with store.read() as connection:
        assert jobs.get(connection, job).batches_left == 0
    store.close()


@pytest.mark.servers
def test_runs_that_the_provider_cancelled_end_all_together_before_their_job(new_postgresql):
    """Whoever cancels the job at that moment holds one of its batches, and waits for the job."""
    store = Store(new_postgresql)
    store.upgrade()
    calls = Calls(store)
    calls.submit(whole_draft("j1", *one_each(2)))
    for number in range(2):
        calls.fly(calls.take(), f"p{number}")
    looks = calls.looks()
    with ThreadPoolExecutor(1) as pool:
        with store.write() as connection:
            connection.execute(select(tables.batches).where(tables.batches.c.id == "j1-1").with_for_update())
            ended = pool.submit(calls.do, cancelling.carried_out, looks)
            eventually(lambda: waiting_for_locks(new_postgresql) == 1)
            assert jobs.cancel(connection, "j1")
        ended.result()
    assert (calls.states(), calls.job().batches_left) == (["FAILED", "FAILED"], 0)
    check(store)
    store.close()


@pytest.mark.servers
def test_who_asked_for_a_cancel_lets_pass_who_saw_it_carried_out(new_postgresql):
    store = Store(new_postgresql)
    store.upgrade()
    calls = Calls(store)
    calls.submit(whole_draft("j1", *one_each(1)))
    calls.fly(calls.take())
    calls.cancel()
    (look,) = calls.looks()
    with ThreadPoolExecutor(1) as pool:
        with store.write() as connection:
            connection.execute(select(tables.batches).where(tables.batches.c.id == "j1-0").with_for_update())
            asked = pool.submit(calls.do, cancelling.asked, look, None)
            eventually(lambda: waiting_for_locks(new_postgresql) == 1)
            cancelling.carried_out(connection, [look])
        asked.result()
    assert (calls.states(), calls.runs()) == (["CANCELLED"], [(1, "CANCELLED", "p1")])
    check(store)
    store.close()


class Silent(Adapter):
    """A provider that does not answer, while others lock its limits."""

    def __init__(self, store: Store, held: contextlib.ExitStack) -> None:
        super().__init__(BasicSimulator())
        self._store, self._held = store, held

    def statuses(self, provider_job_ids):
        limits.lock(self._held.enter_context(self._store.write()), "aer")
        raise ConnectionError


@pytest.mark.servers
def test_who_notes_a_silence_waits_for_no_limits_with_a_batch_locked(new_postgresql):
    """Those who have the limits may be waiting for that batch."""
    store = Store(new_postgresql)
    store.upgrade()
    calls = Calls(store)
    calls.submit(whole_draft("j1", *one_each(1)))
    calls.do(limits.set_quota, "aer", in_flight=1)
    calls.fly(calls.take())
    with ThreadPoolExecutor(1) as pool, contextlib.ExitStack() as held:
        watch = Watch(Desk(store, "aer", Silent(store, held), Policy(), "w/1", 60.0))
        watch.expect(0.0)
        pool.submit(watch.turn).result(30)
    assert calls.batch().failing_since is not None
    store.close()


@pytest.mark.servers
def test_a_deadlock_is_told_as_one(new_postgresql):
    store = Store(new_postgresql)
    store.upgrade()
    ids = sorted(submit(store, draft(1, [(Slice(0, 0, 1, 0),)])) for _ in range(2))
    barrier = Barrier(2)

    def lock(order: list[str]) -> str:
        try:
            with store.write() as connection:
                for number, job in enumerate(order):
                    connection.execute(select(tables.jobs).where(tables.jobs.c.id == job).with_for_update())
                    if not number:
                        barrier.wait()
        except StoreUnreachable as error:
            return str(error)
        return ""

    told = "".join(together([lambda: lock(ids), lambda: lock(ids[::-1])]))
    assert told.startswith("Another transaction was in the way of this one: deadlock detected")
    assert told.endswith("Nothing was stored; try again.")
    store.close()


def given_back(store, held, how: str, meanwhile) -> None:
    """Make the batch of a claim wait, or leave it to a person; ``meanwhile`` is called before that is committed."""
    with store.write(durable=False) as connection:
        match how:
            case "put_back":
                batches.put_back(connection, held, "503", 0.0, counts=True)
            case "expire":
                batches.expire(connection, "silent", owner="owner")
            case "split":
                batches.split(connection, held, "400", one_is_bad=True)
            case "judge":
                batches.complete(connection, [Run(held, [b"chunk"], {}, None)])
            case _:
                getattr(doubts, how)(connection, held.batch_id, held.fence, "unknown")
        meanwhile()


@pytest.mark.parametrize("how", ["put_back", "expire", "split", "judge", "run_again", "hold"])
@pytest.mark.parametrize("first", ["cancel", "give back"])
def test_what_is_given_back_while_its_job_is_cancelled_is_not_run(store, how, first):
    job = submit(store, whole_draft(f"job{next(_ids)}", [Slice(0, 0, 8, 0)], backend="b"))
    held = claim(store)
    if how == "judge":
        with store.write() as connection:
            batches.split(connection, held, "400", one_is_bad=True)
        held = claim(store)
    if how in ("run_again", "hold"):
        with store.write() as connection:
            batches.begin_call(connection, held)
            batches.doubt(connection, held, "reset")

    def cancel(meanwhile) -> None:
        with store.write() as connection:
            jobs.cancel(connection, job)
            meanwhile()

    def give_back(meanwhile) -> None:
        given_back(store, held, how, meanwhile)

    begun, followed = Event(), Event()

    def follow(call) -> None:
        begun.wait(30)
        followed.set()
        call(lambda: None)

    one, other = (cancel, give_back) if first == "cancel" else (give_back, cancel)
    together([lambda: one(lambda: (begun.set(), followed.wait(30))), lambda: follow(other)])
    with store.read() as connection:
        assert jobs.get(connection, job).batches_left == 0
    assert claim(store) is None
    check(store)


def test_of_many_who_retry_at_once_one_does(store):
    calls = Calls(store)
    for number in range(10):
        calls.submit(whole_draft(f"j{number}", *one_each(3)))
        for _ in range(3):
            calls.fail(calls.take())
    together = Barrier(4)

    def retry_all(_):
        won = 0
        for number in range(10):
            together.wait(30)
            with contextlib.suppress(NothingToRetry):
                assert calls.retry(f"j{number}") == (3, 0)
                won += 1
        return won

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(retry_all, range(4))) == 10
    assert calls.happened("retried") == 10
    check(store)


_MANY = """
INSERT INTO batches (id, job_id, position, backend, state, shots, slices, num_circuits, run_options, due_at,
                     lease_until, fence, finished_at)
SELECT :state || i, 'j', i, 'aer', CAST(:state AS text), 1, '[]', 1, '{}', CAST(:due_at AS float),
       CAST(:lease_until AS float), 0, CASE WHEN :state = 'DONE' THEN 1 END
FROM generate_series(1, 5000) i
"""
_MANY_JOBS = """
INSERT INTO jobs SELECT (made).* FROM generate_series(1, 5000) i, jobs j, jsonb_populate_record(
    j, jsonb_build_object('id', 'j' || i, 'state', 'DONE', 'batches_left', 0, 'finished_at', 1)) made
"""


@pytest.mark.servers
def test_who_looks_for_what_is_due_reads_a_few_of_many_batches(new_postgresql):
    """Before PostgreSQL knows of them, too, and where many are not due yet."""
    store = Store(new_postgresql)
    store.upgrade()
    Calls(store).submit(whole_draft("j", *one_each(1)))
    with store.write() as connection:
        connection.execute(text(_MANY_JOBS))
        for state, due_at, lease_until in (
            ("DONE", None, None), ("PENDING", 1e11, None), ("IN_FLIGHT", 1e11, None), ("UNCERTAIN", 1e11, None),
            ("CLAIMED", None, 1e11),
        ):  # fmt: skip
            values = {"state": state, "due_at": due_at, "lease_until": lease_until}
            connection.execute(text(_MANY), values)
    assert_short(store)
    with store.write() as connection:
        connection.execute(text("ANALYZE"))
    assert_short(store)
    store.close()


def assert_short(store: Store) -> None:
    """Assert that keepers, watchers and those who look runs in doubt up read no more than a few rows."""
    few = {"p_names": '["aer", "b"]', "p_window": 8, "p_late": 2.0, "p_grace": 10.0, "p_worker": "w"}
    of_one = {"p_backend": "aer", "p_most": 8, "p_longest": 30.0, "p_lag": 0.1, "p_owner": "w", "p_lease": 60.0}
    claims = (claiming._STANDS, claiming._TAKE_AT_ONCE, claiming._TAKE_UNLIMITED, *claiming._TAKE.values())
    for statement in (fleet._CHORES, flights._DUE, doubts._DUE, *claims):
        with store.write() as connection:
            query = statement.compile(connection)
            explain = f"EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) {query}"
            plan = list(connection.exec_driver_sql(explain, query.params | few | of_one).scalars())
            connection.rollback()
        read = [float(found.split("rows=")[1].split()[0]) for found in plan if "rows=" in found]
        removed = [int(found.split(": ")[1]) for found in plan if "Removed by" in found]
        assert max(read + removed) < 100, "\n".join(plan)
