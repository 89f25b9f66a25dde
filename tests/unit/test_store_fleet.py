"""What the keeper finds to do, in one query; and what providers taught."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import event, update

from pubworks.errors import WorkerNotFound
from pubworks.store import fleet, limits, results
from pubworks.store.fleet import Chores
from pubworks.store.records import BackendFacts
from pubworks.store.store import Store
from pubworks.store.tables import backends
from pubworks.store.tables import batches as batch_table
from pubworks.store.tables import jobs as job_table
from pubworks.testing.store import Calls, draft, one_each

NOTHING = Chores({}, leases_ended=False, unmerged=False, unsettled=False, sessions_over=False)


@pytest.fixture
def calls(store: Store) -> Calls:
    return Calls(store)


def chores(calls: Calls, *names: str, window: int = 5) -> Chores:
    with calls.store.read() as connection:
        return fleet.chores(connection, names or ("aer",), window, 30.0, 10.0)


def test_nothing_to_do(calls: Calls) -> None:
    assert chores(calls) == NOTHING
    calls.submit(draft("j1", *one_each(4)))
    calls.take()
    calls.fly(calls.take())
    claim = calls.take()
    calls.begin_call(claim)
    calls.doubt(claim)
    calls.put_back(calls.take(), 100.0)
    assert chores(calls) == NOTHING
    assert chores(calls, "other") == NOTHING


def test_what_is_due_is_counted_up_to_the_window(calls: Calls) -> None:
    calls.submit(draft("j1", *one_each(7)))
    calls.submit(draft("j2", *one_each(2), backend="b"))
    calls.submit(draft("j3", *one_each(2), backend="c"))
    calls.do(limits.set_quota, "c", in_flight=1)  # one worker at a time claims from it
    assert chores(calls, "aer", "b", "c", "d").due == {"aer": 5, "b": 2, "c": 1}
    assert chores(calls, "b").due == {"b": 2}


def test_a_process_may_serve_any_number_of_backends(calls: Calls) -> None:
    calls.submit(draft("j1", *one_each(2), backend="live.aer.7"))
    assert chores(calls, *(f"live.aer.{number}" for number in range(5_000))).due == {"live.aer.7": 2}


@pytest.mark.parametrize("doubted", [False, True])
def test_a_run_that_its_worker_forgot_is_looked_at(calls: Calls, doubted: bool) -> None:
    calls.submit(draft("j1", *one_each(1)))
    claim = calls.take()
    calls.begin_call(claim)
    _ = calls.doubt(claim) if doubted else calls.accept(claim)
    calls.wait(29)
    assert chores(calls) == NOTHING
    calls.wait(2)
    assert chores(calls).due == {"aer": 1}
    _ = calls.doubts() if doubted else calls.looks()
    assert chores(calls) == NOTHING


def test_leases_that_ended(calls: Calls) -> None:
    calls.submit(draft("j1", *one_each(1), backend="other"))
    calls.taken(backend="other")
    calls.wait(59)
    assert not chores(calls).leases_ended
    calls.wait(2)
    assert chores(calls).leases_ended  # of any backend
    calls.expire()
    assert not chores(calls).leases_ended


def test_pubs_that_wait_to_be_merged(calls: Calls) -> None:
    calls.submit(draft("j1", *one_each(1)))
    calls.complete(calls.take(), merge=False)
    calls.wait(9)
    assert not chores(calls).unmerged
    calls.wait(2)
    assert chores(calls).unmerged
    assert chores(calls).unsettled
    calls.do(results.store_results, "j1", {0: b"r"})
    assert chores(calls) == NOTHING


def test_jobs_that_nobody_ended(calls: Calls) -> None:
    calls.submit(draft("j1", *one_each(1)))
    with calls.store.write() as connection:
        connection.execute(update(job_table).values(batches_left=0))
    assert chores(calls).unsettled


@pytest.mark.parametrize("count", [0, 1, 7])
def test_one_query_tells_it_all(calls: Calls, count: int) -> None:
    calls.submit(draft("j1", *one_each(3)))
    statements: list[str] = []

    def note(_: Any, __: Any, statement: str, *rest: Any) -> None:
        statements.append(statement)

    with calls.store.read() as connection:
        event.listen(connection.engine, "before_cursor_execute", note)
        fleet.chores(connection, [f"b{number}" for number in range(count)], 5, 30.0, 10.0)
        event.remove(connection.engine, "before_cursor_execute", note)
    assert len(statements) == 1


def test_a_batch_that_is_over_is_no_chore(calls: Calls) -> None:
    calls.submit(draft("j1", *one_each(3)))
    calls.complete(calls.take())
    calls.fail(calls.take())
    calls.cancel()
    with calls.store.write() as connection:
        connection.execute(update(batch_table).values(due_at=0.0))
    assert chores(calls) == NOTHING


def describe(calls: Calls, spec: str = "s1", name: str = "aer") -> None:
    calls.do(fleet.describe_backend, BackendFacts(name, spec, 5, 100, None))


def learned(calls: Calls, name: str = "aer") -> dict[str, int] | None:
    facts = calls.do(fleet.get_backend, name)
    assert facts is not None
    return facts.learned


def test_the_smallest_limit_that_was_taught_counts(calls: Calls) -> None:
    describe(calls)
    describe(calls, name="other")
    assert learned(calls) is None
    assert calls.do(fleet.learn, "aer", max_circuits=50) == {"max_circuits": 50}
    assert calls.do(fleet.learn, "aer", max_circuits=80, max_shots=1000) == {"max_circuits": 50, "max_shots": 1000}
    assert calls.do(fleet.learn, "aer", max_circuits=20) == {"max_circuits": 20, "max_shots": 1000}
    assert calls.do(fleet.learn, "aer") == {"max_circuits": 20, "max_shots": 1000}
    assert learned(calls) == {"max_circuits": 20, "max_shots": 1000}
    assert learned(calls, "other") is None


def test_what_was_taught_outlives_a_description_of_the_same_machine(calls: Calls) -> None:
    describe(calls)
    calls.do(fleet.learn, "aer", max_shots=10)
    describe(calls)
    calls.do(fleet.note_error, "aer", "no driver")
    assert learned(calls) == {"max_shots": 10}
    describe(calls, "s2")  # another machine
    assert learned(calls) is None
    assert calls.do(fleet.learn, "aer", max_shots=20) == {"max_shots": 20}


def test_what_was_taught_can_be_forgotten(calls: Calls) -> None:
    describe(calls)
    assert not calls.do(fleet.forget, "aer")
    calls.do(fleet.learn, "aer", max_shots=10)
    assert calls.do(fleet.forget, "aer")
    assert learned(calls) is None
    assert not calls.do(fleet.forget, "aer")
    assert not calls.do(fleet.forget, "nobody")


def test_a_live_object_teaches_its_own_worker_only(calls: Calls) -> None:
    assert calls.do(fleet.learn, "live.x", max_shots=10) == {"max_shots": 10}
    assert calls.rows(backends) == []


def test_a_worker_is_asked_to_end(calls: Calls) -> None:
    for name, embedded in (("w-1", False), ("w-2", False), ("n-3", True)):
        row = {"id": name, "host": "lab", "pid": 7, "concurrency": 1, "backends": ["aer"], "embedded": embedded}
        calls.do(fleet.sign_in, row)
    for part, problem in (("w-", "Several workers fit"), ("", "No worker ''"), ("n-3", "part of process 7 on lab")):
        with pytest.raises(WorkerNotFound, match=problem):
            calls.do(fleet.drain, part, 60.0)
    assert calls.do(fleet.drain, "1", 60.0).draining
    calls.do(fleet.sign_in, {"id": "w-1", "backends": ["aer"]})  # its next heartbeat
    with calls.store.read() as connection:
        looks = [fleet.chores(connection, (), 5, 30.0, 10.0, worker=name).draining for name in ("w-1", "w-2", "")]
    assert looks == [True, False, False]
    with pytest.raises(WorkerNotFound, match="No worker 'w-1' is alive"):
        calls.do(fleet.drain, "w-1", -1.0)
