"""Submitting once and finding again, with several processes and a hundred thousand jobs."""

from __future__ import annotations

import contextlib
import os
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import psycopg
import pytest
from qiskit import QuantumCircuit
from sqlalchemy import func, select, text

from pubworks.client import Client, Sampler
from pubworks.states import JobState
from pubworks.store import jobs, listing
from pubworks.store.place import has_secrets
from pubworks.store.records import Wanted
from pubworks.store.store import Store
from pubworks.store.tables import job_tags
from pubworks.store.tables import jobs as job_table
from pubworks.testing.history import START_S, STEP_S, fill

#: Submits 20 keys as fast as it can, in the order of the other processes, and prints the ids.
SUBMIT_ONCE = """
import sys
from pubworks.store import jobs
from pubworks.store.records import BatchDraft, JobDraft, PubDraft, Slice
from pubworks.store.store import Store

store = Store(sys.argv[1])
pub = PubDraft("hash", (), 1, 1, None, {}, None)
sys.stdin.readline()
for key in range(20):
    draft = JobDraft(
        f"{key}-{sys.argv[2]}", None, "sampler", "b", {}, {"hash": b"qpy"}, (pub,),
        (BatchDraft(1, None, (Slice(0, 0, 1, 0),)),), tags=("a", "b"), idempotency_key=str(key), content="same",
    )
    with store.write(durable=False) as connection:
        print(jobs.submit(connection, draft))
store.close()
"""

#: Submits again and again, in children of which each is killed before another statement; prints how many were.
KILL_MIDWAY = """
import os, signal, sys
from sqlalchemy import event
from sqlalchemy.engine import Engine
from pubworks.store import jobs
from pubworks.store.records import BatchDraft, JobDraft, PubDraft, Slice
from pubworks.store.store import Store

def submit(number):
    store, seen = Store(sys.argv[1]), [0]
    def strike(*_):
        seen[0] += 1
        if seen[0] > number:
            os.kill(os.getpid(), signal.SIGKILL)
    pub = PubDraft("hash", (), 1, 1, None, {}, None)
    draft = JobDraft(
        f"job{number}", None, "sampler", "b", {}, {"hash": b"qpy"}, (pub,) * 3,
        tuple(BatchDraft(1, None, (Slice(i, 0, 1, 0),)) for i in range(3)),
        tags=("a", "b"), idempotency_key=f"key{number}", content="same",
    )
    with store.write() as connection:
        event.listen(Engine, "before_cursor_execute", strike)
        event.listen(Engine, "commit", strike)
        jobs.submit(connection, draft)
    os._exit(0)

killed = 0
for number in range(20):
    child = os.fork()
    if not child:
        submit(number)
    _, status = os.waitpid(child, 0)
    if os.waitstatus_to_exitcode(status) == 0:
        break
    assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL, status
    killed += 1
print(killed)
"""


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.servers)])
def url(request: Any, tmp_path: Any) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'pubworks.db'}"
    return str(request.getfixturevalue("new_postgresql"))


@pytest.fixture
def store(url: str) -> Any:
    store = Store(url)
    store.upgrade()
    yield store
    store.close()


def count(store: Store, table: Any) -> int:
    with store.read() as connection:
        return int(connection.execute(select(func.count()).select_from(table)).scalar_one())


def test_processes_that_race_with_one_key_get_one_job(store: Store) -> None:
    racing = [
        subprocess.Popen(
            [sys.executable, "-c", SUBMIT_ONCE, store.url, str(number)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for number in range(3)
    ]  # fmt: skip
    answers = [process.communicate("go\n", timeout=60) for process in racing]
    assert [process.returncode for process in racing] == [0, 0, 0], answers
    assert answers[0][0] == answers[1][0] == answers[2][0]
    assert (count(store, job_table), count(store, job_tags)) == (20, 40)


def test_threads_that_race_with_one_key_get_one_job(url: str, store: Store) -> None:
    circuit = QuantumCircuit(1, 1)
    circuit.measure(0, 0)
    together = Barrier(6)
    with Client(database=url, works=False) as client:
        sampler = Sampler("basic", client=client)
        sampler.run([circuit])  # describes the backend

        def run(_: int) -> str:
            together.wait(30)
            return str(sampler.run([circuit], idempotency_key="one").job_id())

        with ThreadPoolExecutor(6) as pool:
            assert len(set(pool.map(run, range(6)))) == 1
    assert count(store, job_table) == 2


def test_a_producer_that_is_killed_leaves_the_whole_job_or_nothing(url: str, store: Store) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", KILL_MIDWAY, url], capture_output=True, text=True, timeout=120, check=False
    )
    assert ran.returncode == 0, ran.stderr
    killed = int(ran.stdout)
    assert killed >= 6, "circuits, job, tags, PUBs, batches, events, commit"
    with store.read() as connection:
        whole = connection.execute(select(job_table.c.id)).scalars().all()
        assert whole == [f"job{killed}"], "only the one that was let live"
        for table in ("pubs", "batches", "job_tags", "circuits", "events"):
            owners = "hash" if table == "circuits" else "job_id"
            found = set(connection.execute(text(f"SELECT {owners} FROM {table}")).scalars())
            assert found == {"hash" if table == "circuits" else whole[0]}
        assert len(jobs.load_pubs(connection, whole[0], range(9))) == 3


MIDDLE = START_S + STEP_S * 50_000
FILTERS = [
    Wanted(),
    Wanted(descending=False),
    Wanted(skip=1000),
    Wanted(backend="lab.3"),
    Wanted(backend="nowhere"),
    *(Wanted(states=(state,)) for state in JobState),
    Wanted(states=(JobState.QUEUED, JobState.RUNNING)),
    Wanted(states=()),
    *(Wanted(tags=(tag,)) for tag in ("calibration", "vqe", "thesis", "unknown")),
    Wanted(tags=("calibration", "vqe")),
    Wanted(tags=("calibration", "thesis")),
    Wanted(session="S73"),
    Wanted(session="unknown"),
    Wanted(name="scan 7"),
    Wanted(name="unknown"),
    Wanted(primitive="estimator"),
    Wanted(created_after=MIDDLE),
    Wanted(created_before=MIDDLE),
    Wanted(created_after=MIDDLE, created_before=MIDDLE + STEP_S),
    Wanted(created_before=START_S),
    Wanted(backend="lab.3", states=(JobState.RUNNING,), tags=("vqe",), primitive="sampler", created_after=MIDDLE),
]


@pytest.fixture(scope="module")
def long_past(postgresql: str) -> Any:
    """A PostgreSQL database with 100,000 jobs."""
    with psycopg.connect(postgresql.replace("+psycopg", ""), autocommit=True) as server:
        server.execute("CREATE DATABASE long_past")
    store = Store(postgresql.removesuffix("postgres") + "long_past")
    store.upgrade()
    with store.write() as connection:
        fill(connection, 100_000)
    yield store
    store.close()


@pytest.mark.servers
@pytest.mark.parametrize("wanted", FILTERS, ids=lambda wanted: str({
    name: value for name, value in vars(wanted).items() if value != getattr(Wanted(), name)
}))  # fmt: skip
def test_no_filter_reads_all_of_a_hundred_thousand_jobs(long_past: Store, wanted: Wanted) -> None:
    with long_past.read() as connection:
        query = listing.query_of(wanted).compile(connection, compile_kwargs={"literal_binds": True})
        plan = "\n".join(connection.exec_driver_sql(f"EXPLAIN {query}".replace("%", "%%")).scalars())
    assert "Seq Scan on jobs" not in plan, plan
    assert "Seq Scan on job_tags" not in plan, plan


@pytest.mark.servers
def test_a_whole_id_is_found_without_a_search(long_past: Store) -> None:
    with long_past.read() as connection:
        assert jobs.find(connection, "J10077777") == "J10077777"
        assert jobs.find(connection, "0077777") == "J10077777"


@pytest.mark.servers
def test_a_pickled_handle_gets_its_password_from_the_settings_of_the_new_process(
    new_postgresql: str, tmp_path: Any
) -> None:
    assert has_secrets(new_postgresql)
    with contextlib.closing(Store(new_postgresql)) as store:
        store.upgrade()
    circuit = QuantumCircuit(1, 1)
    circuit.measure(0, 0)
    with Client(database=new_postgresql, works=False) as client:
        job = Sampler("basic", client=client).run([circuit], name="scan")
        data = pickle.dumps(job)
    password = new_postgresql.split("@", maxsplit=1)[0].rsplit(":", 1)[1]
    assert password.encode() not in data
    found = unpickle(data, tmp_path, PUBWORKS_DATABASE=new_postgresql)
    assert found.stdout == b"scan 1\n", found.stderr
    lost = unpickle(data, tmp_path)
    assert b"ConfigError" in lost.stderr
    assert b"Set PUBWORKS_DATABASE to the first, with its password" in lost.stderr
    assert password.encode() not in lost.stderr


def unpickle(data: bytes, folder: Any, **settings: str) -> subprocess.CompletedProcess[bytes]:
    """Unpickle a handle in a new process with these settings, and wait for its result."""
    script = "import pickle, sys; job = pickle.load(sys.stdin.buffer); print(job.name, len(job.result(60)))"
    env = {"PATH": os.environ["PATH"], "HOME": str(folder), "PUBWORKS_DATA_DIR": str(folder), **settings}
    command = [sys.executable, "-c", script]
    return subprocess.run(command, input=data, capture_output=True, check=False, timeout=60, cwd=folder, env=env)
