"""Deployments: a database and a broker, real worker processes on them, and a client that only submits."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import socket
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from kombu import Connection
from sqlalchemy import select

from pubworks import queue
from pubworks.client import Client, Sampler
from pubworks.settings import Settings
from pubworks.store import tables
from pubworks.store.store import Store
from pubworks.testing.servers import NotAvailable, eventually, private_postgresql, private_redis, program

HERE = Path(__file__).parent
RABBITMQ = "amqp://guest:guest@127.0.0.1:5672//"
FLAGS = {"lease_s": 3, "keeper_interval_s": 0.2, "shutdown_grace_s": 20}

#: Backends that every deployment has: name -> (factory, max_circuits). Names get the deployment's number.
BACKENDS = {
    "gated": ("lab_backends:Gated", 2),
    "gripping": ("lab_backends:Gripping", None),
    "remote": ("lab_backends:Remote", None),
    "stuck": ("lab_backends:SlowToAccept", None),
    "unserved": ("lab_backends:Gated", None),
    "mortal": ("lab_backends:Mortal", None),
    "fragile": ("lab_backends:fragile", None),
    "threes": ("lab_backends:InThrees", None),
}

_numbers = itertools.count(os.getpid() % 1000 * 1000)


class Worker:
    """A worker process."""

    def __init__(self, deployment: Deployment, process: subprocess.Popen, row, log: Path) -> None:
        self.process, self.id, self.log, self._deployment = process, row.id, log, deployment

    def holds(self) -> list:
        """Return the batches that its processes hold."""
        mine = tables.batches.c.lease_owner.startswith(self.id)
        return self._deployment.query(select(tables.batches).where(mine))

    def signed_in(self) -> bool:
        """Return whether it is in the table of workers."""
        return bool(self._deployment.query(select(tables.workers).where(tables.workers.c.id == self.id)))

    def kill(self) -> None:
        """End it as a power failure would."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self, timeout_s: float = 30.0) -> int:
        """Ask it to stop and return its exit code."""
        self.process.terminate()
        return self.process.wait(timeout_s)


class Deployment:
    """One database and one broker, with backends of its own."""

    def __init__(self, kind: str, database: str, broker: str, folder: Path) -> None:
        self.kind, self.folder, self._number = kind, folder, next(_numbers)
        config = folder / "pubworks.toml"
        config.write_text("\n".join(self._table(name, *entry) for name, entry in BACKENDS.items()))
        self.flags = {"database": database, "broker": broker, **FLAGS}
        self.env = {f"PUBWORKS_{key.upper()}": str(value) for key, value in self.flags.items()}
        self.env |= {"PUBWORKS_CONFIG": str(config), "PYTHONPATH": str(HERE), "OMP_NUM_THREADS": "1"}
        self.settings = Settings(**self.flags, data_dir=folder, **tomllib.loads(config.read_text()))
        self.store = Store(database)
        self.client = Client(self.settings, works=False)
        self.app = self.client.app

    def name(self, backend: str) -> str:
        """Return the name that a backend of ``BACKENDS`` has here; others have only one."""
        return f"{backend}{self._number}" if backend in BACKENDS else backend

    def gate(self, backend: str) -> Path:
        """Return the folder of a backend's files."""
        return self.folder / backend

    def open(self, backend: str, shots: int) -> None:
        """Let the runs of a backend with so many shots end."""
        (self.gate(backend) / f"open-{shots}").touch()

    def calls(self, backend: str, shots: int) -> list[int]:
        """Return the processes that called a backend's ``run`` with so many shots."""
        ledger = self.gate(backend) / f"calls-{shots}"
        return [int(pid) for pid in ledger.read_text().split()] if ledger.exists() else []

    def query(self, statement) -> list:
        """Return the rows of a query."""
        with self.store.read() as connection:
            return connection.execute(statement).all()

    def submit(self, backend: str, pubs, **options):
        """Submit a job, once a worker has described the backend."""
        name = self.name(backend)
        eventually(lambda: name in [facts.name for facts in self.client.backends()], what=f"{name} is described")
        return Sampler(name, options=options, client=self.client).run(pubs)

    def batches(self, job) -> list:
        """Return the batches of a job."""
        of_job = tables.batches.c.job_id == job.job_id()
        return self.query(select(tables.batches).where(of_job).order_by(tables.batches.c.position))

    def chunks(self, job) -> list:
        """Return (pub, first, first_shot) of each stored chunk of a job."""
        query = select(tables.chunks.c.pub, tables.chunks.c.first, tables.chunks.c.first_shot)
        return sorted(tuple(row) for row in self.query(query.where(tables.chunks.c.job_id == job.job_id())))

    @contextlib.contextmanager
    def worker(self, *backends: str, concurrency: int = 1, pool: str = "prefork", **flags) -> Iterator[Worker]:
        """Run ``celery -A pubworks.worker.app worker`` for some backends; gives it when it has signed in."""
        log = self.folder / f"worker{next(_numbers)}.log"
        queues = ",".join(queue.queue_name(self.name(name)) for name in backends)
        command = [
            sys.executable, "-m", "celery", "-A", "pubworks.worker.app", "worker", "-l", "INFO", "-P", pool,
            "-c", str(concurrency), "-n", f"{log.stem}@%h", "-Q", queues,
            "--without-gossip", "--without-mingle", "--without-heartbeat",
        ]  # fmt: skip
        env = self.env | {f"PUBWORKS_{key.upper()}": str(value) for key, value in flags.items()}
        with program(command, env, log) as process:
            try:
                yield Worker(self, process, eventually(lambda: self._signed_in(process), what="worker"), log)
            finally:
                print(f"--- {log.name}\n{log.read_text()}")

    def lose_messages(self, backend: str = "gated") -> None:
        """Lose all that the broker knows of a backend; Redis forgets everything."""
        if self.kind == "sqlite":
            return  # each worker has a broker of its own
        with self.app.connection_for_write() as connection, connection.channel() as channel:
            if self.kind.endswith("redis"):
                channel.client.flushdb()
            else:
                channel.queue_delete(queue.queue_name(self.name(backend)))

    def close(self) -> None:
        """Leave nothing behind."""
        self.client.close()
        self.store.close()
        if self.kind.endswith("rabbitmq"):
            delete_queues([queue.queue_name(self.name(name)) for name in BACKENDS])
        self.app.close()

    def _table(self, name: str, factory: str, max_circuits: int | None) -> str:
        (self.folder / name).mkdir()
        arguments = f'arguments = {{ folder = "{self.folder / name}" }}\n' if name != "threes" else ""
        limit = f"max_circuits = {max_circuits}\n" if max_circuits else ""
        return f'[backends.{self.name(name)}]\nfactory = "{factory}"\n{arguments}{limit}'

    def _signed_in(self, process: subprocess.Popen):
        assert process.poll() is None, "the worker ended"
        rows = self.query(select(tables.workers).where(tables.workers.c.pid == process.pid))
        return rows[0] if rows else None


def delete_queues(names: list[str]) -> None:
    """Delete queues of RabbitMQ."""
    with Connection(RABBITMQ) as connection, connection.channel() as channel:
        for name in names:
            channel.queue_delete(name)


@contextlib.contextmanager
def _needed(what: str) -> Iterator[None]:
    """Skip on a laptop what cannot start there; in CI it must."""
    try:
        yield
    except (NotAvailable, OSError) as error:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"{what}: {error}")


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    with contextlib.ExitStack() as stack:
        with _needed("PostgreSQL"):
            url = stack.enter_context(private_postgresql())
        yield url


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    with contextlib.ExitStack() as stack:
        with _needed("Redis"):
            url = stack.enter_context(private_redis())
        yield url


@pytest.fixture(scope="session")
def rabbitmq() -> str:
    with _needed("RabbitMQ on 127.0.0.1:5672"):
        socket.create_connection(("127.0.0.1", 5672), 2).close()
    return RABBITMQ


def new_database(postgresql: str) -> str:
    """Make an empty database and return its URL."""
    name = f"test_{next(_numbers)}"
    with psycopg.connect(postgresql.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return postgresql.removesuffix("postgres") + name


@pytest.fixture(scope="session")
def make_deployment(request):
    """Return a context manager that makes a deployment of a kind, with the schema in place."""
    redis_databases = itertools.count()

    @contextlib.contextmanager
    def make(kind: str, folder: Path, broker: str | None = None) -> Iterator[Deployment]:
        if kind == "sqlite":
            database, broker = f"sqlite:///{folder / 'pubworks.db'}", "embedded://"
        else:
            database = new_database(request.getfixturevalue("postgresql"))
            if broker is not None:
                pass  # the test brings its own
            elif kind.endswith("redis"):
                broker = request.getfixturevalue("redis_url").removesuffix("0") + str(next(redis_databases))
            else:
                broker = request.getfixturevalue("rabbitmq")
        deployment = Deployment(kind, database, broker, folder)
        deployment.store.upgrade()
        try:
            yield deployment
        finally:
            deployment.close()

    return make


KINDS = [
    "sqlite",
    pytest.param("postgresql-redis", marks=pytest.mark.servers),
    pytest.param("postgresql-rabbitmq", marks=[pytest.mark.servers, pytest.mark.rabbitmq]),
]


@pytest.fixture(params=KINDS)
def deployment(request, make_deployment, tmp_path) -> Iterator[Deployment]:
    """A deployment of a test's own, without workers."""
    with make_deployment(request.param, tmp_path) as made:
        yield made


@pytest.fixture(scope="module", params=KINDS)
def fleet(request, make_deployment, tmp_path_factory) -> Iterator[Deployment]:
    """A deployment with two workers, shared by the tests of a module; they may kill its children, not its workers."""
    with make_deployment(request.param, tmp_path_factory.mktemp("fleet")) as made:
        served = ("gated", "fragile", "threes", "aer")
        with made.worker(*served) as first, made.worker(*served) as second:
            made.workers = [first, second]
            yield made


@pytest.fixture
def new_postgresql(postgresql) -> str:
    """The URL of an empty PostgreSQL database."""
    return new_database(postgresql)
