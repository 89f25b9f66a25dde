"""Local clients: everything in this process's memory, for the tests of those who use pubworks."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit_aer import AerSimulator
from typer.testing import CliRunner

from pubworks.cli.main import app
from pubworks.client import Client, Estimator, Sampler, Session
from pubworks.errors import ConfigError, JobNotFound, StoreUnreachable
from pubworks.states import JobState
from pubworks.store import standing
from pubworks.store.store import Store
from pubworks.testing.servers import eventually

SEEDED = {"seed_simulator": 7, "default_shots": 200}


@pytest.fixture
def local() -> Iterator[Client]:
    with Client.local() as client:
        yield client


@pytest.fixture(scope="module")
def bell() -> QuantumCircuit:
    circuit = QuantumCircuit(2)
    circuit.h(0)
    circuit.cx(0, 1)
    circuit.measure_all()
    return circuit


def bits(client: Client, circuit: QuantumCircuit) -> list[bytes]:
    angle = Parameter("angle")
    rotated = circuit.copy_empty_like()
    rotated.ry(angle, 0)
    rotated.measure(0, 0)
    pubs = [(circuit, None, 250), (rotated, np.linspace(0, 3, 10)), (circuit, None, 300)]
    limited = Sampler("threes", options=SEEDED, client=client)
    return [result.data.meas.array.tobytes() for result in limited.run(pubs).result(timeout=60)]


def test_the_same_seed_gives_the_same_bits_as_everywhere(bell: QuantumCircuit, tmp_path: Path) -> None:
    backends = {"threes": {"factory": "qiskit_aer:AerSimulator", "max_circuits": 3, "max_shots": 120}}
    with Client.local(backends=backends) as one, Client.local(backends=backends) as two:
        found = bits(one, bell), bits(two, bell)
    with Client(backends=backends, data_dir=tmp_path) as stored:
        assert found == (bits(stored, bell),) * 2


def test_all_calls_of_a_client_are_there(local: Client, bell: QuantumCircuit) -> None:
    job = Sampler(AerSimulator(), options=SEEDED, client=local).run([bell, bell], name="two", tags=["x"])
    assert [position for position, _ in job.as_completed(timeout=60)] == [0, 1]
    bell_state = bell.remove_final_measurements(inplace=False)
    value = Estimator("aer", client=local).run([(bell_state, "ZZ")], tags=["x"]).result(timeout=60)[0].data.evs
    assert value == pytest.approx(1.0)
    assert local.jobs(name="two") == [job]
    assert len(local.jobs(tags=["x"])) == 2
    assert local.job(job.job_id()[-6:]).usage()["shots"] == 400
    assert [event.what for event in job.timeline()][:2] == ["submitted", "claimed"]


def test_what_needs_no_run_is_done_at_once(bell: QuantumCircuit) -> None:
    with Client.local(keeper_interval_s=120.0) as client:
        empty = Sampler("aer", client=client).run([])
        assert empty.wait_for_final_state(5) is JobState.DONE
        with pytest.warns(UserWarning, match="no output classical registers"):
            job = Sampler("aer", client=client).run([QuantumCircuit(1)])
        assert job.wait_for_final_state(5) is JobState.DONE


def test_sessions_and_retries_are_there_too(bell: QuantumCircuit, monkeypatch: pytest.MonkeyPatch) -> None:
    backends = {"once": {"factory": "pubworks_once:Once", "policy": {"max_attempts": 1}}}
    module = ModuleType("pubworks_once")
    calls: list[int] = []

    class Once(AerSimulator):  # type: ignore[misc]
        def run(self, circuits: Any, **options: Any) -> Any:
            calls.append(len(circuits))
            if len(calls) == 1:
                raise RuntimeError("the first run fails")
            return super().run(circuits, **options)

    module.Once = Once  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pubworks_once", module)
    with Client.local(backends=backends, keeper_interval_s=0.05) as client:
        with Session("once", max_time=0.2, client=client) as session:
            job = Sampler(mode=session).run([bell])
            assert job.wait_for_final_state(60) is JobState.FAILED
        assert job.retry() == 1
        assert job.result(timeout=60)[0].data.meas.num_shots == 1024
        eventually(lambda: session.status() == "Closed", what="the session is over")


def test_clients_share_nothing(local: Client, bell: QuantumCircuit) -> None:
    with Client.local() as other:
        job = Sampler("aer", client=other).run([bell])
        assert (len(other.jobs()), local.jobs()) == (1, [])
        with pytest.raises(JobNotFound):
            local.job(job.job_id())


def test_many_threads_may_use_one(local: Client, bell: QuantumCircuit) -> None:
    def work(shots: int) -> int:
        result = Sampler("aer", client=local).run([bell, (bell, None, 2 * shots)], shots=shots).result(timeout=60)
        return result[0].data.meas.num_shots + result[1].data.meas.num_shots

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(work, range(1, 25))) == [3 * shots for shots in range(1, 25)]


def test_no_thread_is_left(bell: QuantumCircuit) -> None:
    def use() -> None:
        with Client.local() as client:
            Sampler("aer", client=client).run([bell]).result(timeout=60)

    use()  # Aer keeps a thread of its own for all later runs
    before = set(threading.enumerate())
    use()
    assert set(threading.enumerate()) <= before


def test_configured_limits_hold() -> None:
    backends = {"one": {"factory": "qiskit_aer:AerSimulator", "limits": {"in_flight": 1}}}
    with Client.local(backends=backends) as client:
        client.start_embedded("one")
        with client.store.read() as connection:
            stands = standing.standing(connection, "one", client.settings.backends["one"].policy)
    assert stands is not None
    assert stands.quota.in_flight == 1


def test_given_backends_are_all_there_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name of the file could be a provider that wants money."""
    file = tmp_path / "pubworks.toml"
    file.write_text(
        '[backends.dear]\nfactory = "provider:backend"\n[backends.aria]\nfactory = "provider:backend"\n'
        'secrets = { token = "TOKEN" }\nmax_circuits = 3\n'
    )
    monkeypatch.setenv("PUBWORKS_CONFIG", str(file))
    with Client.local(backends={"aria": {"factory": "qiskit_aer:AerSimulator"}}) as client:
        assert client.settings.backends.keys() == {"aria"}
        assert client.settings.backends["aria"].max_circuits is None
        assert client.settings.backends["aria"].secrets == {}
    assert Client.local().settings.backends.keys() == {"aria", "dear"}
    with pytest.raises(ConfigError, match=r"backends\.aria\.factory"):
        Client.local(backends={"aria": {"factory": "no factory"}})


def test_it_wins_over_database_and_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PUBWORKS_DATABASE", "postgresql+psycopg://nobody@127.0.0.1:1/none")
    monkeypatch.setenv("PUBWORKS_BROKER", "redis://127.0.0.1:1/0")
    with Client.local() as client:
        assert client.jobs() == []
    with pytest.raises(TypeError, match="has a database of its own"):
        Client.local(database="sqlite:///x.db")


def test_a_closed_one_says_that_its_jobs_are_gone(bell: QuantumCircuit) -> None:
    with Client.local() as client:
        job = Sampler("aer", client=client).run([bell])
        job.result(timeout=60)
        pickled = pickle.dumps(job)
        assert pickle.loads(pickled) == job
    with pytest.raises(StoreUnreachable, match="local client is closed, and its jobs are gone"):
        client.jobs()
    assert repr(job).startswith(f"<Job {job.job_id()}: The local client is closed")  # no traceback for who looks at it
    assert "The local client is closed" in job._repr_html_()
    with pytest.raises(ConfigError, match=f"{job.job_id()} was in the memory of a local client"):
        pickle.loads(pickled)


def test_a_forked_process_is_told_that_the_jobs_are_not_its_own(local: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    assert local.jobs() == []
    with monkeypatch.context() as forked:
        forked.setattr(os, "getpid", lambda: 0)
        with pytest.raises(StoreUnreachable, match="stays in the process that made it"):
            local.jobs()
    assert local.jobs() == []


def test_a_lost_connection_costs_nothing(local: Client, bell: QuantumCircuit) -> None:
    """An interrupt in the middle of a query has the pool throw its connection away."""
    job = Sampler("aer", client=local).run([bell])
    job.result(timeout=60)
    with local.store.read() as connection:
        job_id = connection.exec_driver_sql("SELECT id FROM jobs").scalar()
        connection.invalidate()
    assert local.job(str(job_id)) == job


def test_the_memory_is_given_back() -> None:
    store = Store.open("sqlite:///file:/given-back?vfs=memdb&uri=true")
    with store.write() as connection:
        connection.exec_driver_sql("INSERT INTO circuits VALUES ('x', 'y')")
    store.close()
    again = Store.open("sqlite:///file:/given-back?vfs=memdb&uri=true")
    with again.read() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM circuits").scalar() == 0
    again.close()


SCRIPT = """
import os, sys
written = []
writing = os.O_WRONLY | os.O_RDWR | os.O_CREAT
def hook(event, arguments):
    if event in ("os.mkdir", "os.rename") or (event == "open" and arguments[2] & writing):
        written.append((event, arguments))
import qiskit_aer
from qiskit import QuantumCircuit
from pubworks.client import Client, Sampler
sys.addaudithook(hook)
circuit = QuantumCircuit(1)
circuit.measure_all()
job = Sampler("aer").run([circuit], shots=10)
print(job.result()[0].data.meas.get_counts(), "celery" in sys.modules)
print([item for item in written if item[1][0] != os.devnull])
"""


def test_the_setting_keeps_a_whole_script_off_the_disk(tmp_path: Path) -> None:
    environment = {"PUBWORKS_URL": "local", "HOME": str(tmp_path), "PATH": os.environ["PATH"]}
    done = subprocess.run(
        [sys.executable, "-B", "-c", SCRIPT], cwd=tmp_path, env=environment,
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert done.stdout.splitlines() == ["{'0': 10} False", "[]"], done.stderr
    assert list(tmp_path.rglob("*")) == []


@pytest.mark.parametrize("command", ["list", "demo", "db upgrade", "worker"])
def test_commands_refuse_what_would_end_with_them(command: str) -> None:
    ran = CliRunner().invoke(app, command.split(), env={"PUBWORKS_URL": "local"})
    assert ran.exit_code == 2
    assert "environment PUBWORKS_URL" in ran.stderr
