"""Sessions with several processes and threads at once, with workers, and before a long queue."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from qiskit import QuantumCircuit
from sqlalchemy import text

from pubworks.client import Sampler, Session
from pubworks.errors import SessionClosed
from pubworks.states import JobState, Mode
from pubworks.store import claiming, ending, sessions
from pubworks.store.store import Store
from pubworks.testing.servers import eventually
from pubworks.testing.store import Calls, check, draft, one_each


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.servers)])
def calls(request: Any, tmp_path: Any) -> Iterator[Calls]:
    in_file = request.param == "sqlite"
    store = Store(f"sqlite:///{tmp_path / 'store.db'}" if in_file else request.getfixturevalue("new_postgresql"))
    store.upgrade()
    yield Calls(store)
    store.close()


def open_session(calls: Calls, session_id: str, max_time_s: float = 6000.0) -> None:
    calls.do(sessions.open_session, session_id, mode=Mode.SESSION, backend="aer", max_time_s=max_time_s, idle_s=600.0)


def together(*tasks: Any) -> list[Any]:
    """Begin tasks at one moment, each in a thread of its own; return what they return."""
    barrier = Barrier(len(tasks))

    def begin(task: Any) -> Any:
        barrier.wait()
        return task()

    with ThreadPoolExecutor(len(tasks)) as pool:
        return [future.result() for future in [pool.submit(begin, task) for task in tasks]]


def test_whoever_submits_while_it_is_closed_is_in_or_refused(calls: Calls) -> None:
    """What is told to be stored is stored; when the session was closed and looked at, nothing more comes."""
    for round_ in range(5):
        session = f"s{round_}"
        open_session(calls, session)
        numbers = itertools.count()

        def submit(session: str = session, numbers: Any = numbers) -> set[str]:
            stored: set[str] = set()
            try:
                while True:
                    job_id = f"{session}-{next(numbers)}"
                    calls.submit(draft(job_id, *one_each(1), session=session))
                    stored.add(job_id)
            except SessionClosed:
                return stored

        def close(session: str = session) -> set[str]:
            while len(ending.open_jobs(calls.store, session=session)) < 3:
                pass
            calls.do(sessions.close, session)
            return set(ending.open_jobs(calls.store, session=session))

        mine, others, seen = together(submit, submit, close)
        assert mine | others == seen


def test_many_claim_submit_and_cancel_at_once(calls: Calls) -> None:
    """Nobody waits for somebody who waits for him, and each batch is claimed once."""
    for session in ("s", "t"):
        open_session(calls, session)
    for number in range(12):
        calls.submit(draft(f"a{number:02}", *one_each(2), session=("s", "t", None)[number % 3]))

    def work(owner: str) -> list[str]:
        done = []
        while claims := calls.taken(owner, most=3).claims:
            for claim in claims:
                calls.complete(claim)
                done.append(claim.batch_id)
        return done

    def submit() -> list[str]:
        for number in range(6):
            calls.submit(draft(f"b{number}", *one_each(1), session="s"))
        return []

    def cancel() -> list[str]:
        ending.cancel_session(calls.store, "t")
        ending.end_sessions(calls.store)
        return []

    done = [batch for one in together(lambda: work("w/1"), lambda: work("w/2"), submit, cancel) for batch in one]
    done += work("w/3")
    assert len(done) == len(set(done))
    check(calls.store)
    assert {calls.job(f"b{number}").state for number in range(6)} == {JobState.DONE}


def test_what_is_over_is_ended_by_several_keepers_at_once(calls: Calls) -> None:
    open_session(calls, "s")
    for number in range(6):
        calls.submit(draft(f"j{number}", *one_each(1), session="s"))
    running = calls.take()
    calls.wait(6000)
    together(*(lambda: ending.end_sessions(calls.store) for _ in range(3)))
    states = [calls.job(f"j{number}").state for number in range(6)]
    assert states == [JobState.RUNNING, *[JobState.CANCELLED] * 5]
    calls.complete(running)
    assert calls.happened("cancelled") == 5
    check(calls.store)


def plan_of(calls: Calls, statement: Any) -> str:
    """Return how PostgreSQL claims, with what it read."""
    with calls.store.write() as connection:
        claim = statement.compile(connection)
        values = {**claim.params, "p_backend": "aer", "p_owner": "w", "p_lease": 60.0, "p_most": 8}
        lines = connection.exec_driver_sql(f"EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) {claim}", values).scalars()
        plan = "\n".join(lines)
        connection.rollback()
    return plan


_MANY = """
INSERT INTO batches (id, job_id, position, backend, session, state, shots, slices, num_circuits, run_options, due_at,
                     fence)
SELECT :session || i, 'j', i, 'aer', NULLIF(:session, ''), 'PENDING', 1, '[]', 1, '{}', i, 0
FROM generate_series(1, :count) i
"""


@pytest.mark.servers
def test_a_claim_reads_a_few_of_a_hundred_thousand_batches(new_postgresql: str) -> None:
    store = Store(new_postgresql)
    store.upgrade()
    calls = Calls(store)
    calls.submit(draft("j", *one_each(1)))
    fill(calls, {"": 100_000})
    for session in ("s", "t", "u"):
        open_session(calls, session)
        calls.do(sessions.activate, [session])
        assert_short(calls)
    fill(calls, {"t": 20_000, "u": 20_000})
    assert {claim.batch_id[0] for claim in calls.taken(most=8).claims} == {"t"}
    store.close()


def fill(calls: Calls, counts: dict[str, int]) -> None:
    """Add batches; the claim is quick before PostgreSQL knows of them, and after."""
    with calls.store.write() as connection:
        for session, count in counts.items():
            connection.execute(text(_MANY), {"session": session, "count": count})
    assert_short(calls)
    with calls.store.write() as connection:
        connection.execute(text("ANALYZE"))
    assert_short(calls)


def assert_short(calls: Calls) -> None:
    """Assert that no claim reads more than a few rows, whether there are sessions or not."""
    for statement in (claiming._TAKE_AT_ONCE, claiming._TAKE_UNLIMITED, *claiming._TAKE.values()):
        plan = plan_of(calls, statement).splitlines()
        read = [float(found.split("rows=")[1].split()[0]) for found in plan if "rows=" in found]
        removed = [int(found.split(": ")[1]) for found in plan if "Removed by" in found]
        assert max(read + removed) < 100, plan


@pytest.mark.parametrize(
    "deployment", ["sqlite", pytest.param("postgresql-redis", marks=pytest.mark.servers)], indirect=True
)
def test_workers_run_the_session_first(deployment: Any) -> None:
    """On a backend whose runs live in the worker: what runs goes on, and the next free place is the session's."""
    circuit = QuantumCircuit(1, 1)
    circuit.measure(0, 0)
    with deployment.worker("gated"):
        deployment.open("gated", 1)
        name = deployment.name("gated")
        deployment.submit("gated", [circuit], default_shots=1).result(60)
        session = Session(name, max_time="1h", client=deployment.client)
        mine, others = Sampler(session), Sampler(name, client=deployment.client)
        mine.run([circuit], shots=1).result(60)
        blocking = others.run([circuit], shots=2)
        eventually(lambda: deployment.calls("gated", 2), what="the first run")
        later, first = others.run([circuit], shots=1), mine.run([circuit], shots=1)
        assert {later.state, first.state} == {JobState.QUEUED}
        deployment.open("gated", 2)
        session.close()
        began = {job: job.wait_for_final_state(60) and job.record().started_at for job in (blocking, later, first)}
        assert began[blocking] < began[first] < began[later]
        eventually(lambda: session.record().ended_at, what="the keeper ends what is closed and done")
