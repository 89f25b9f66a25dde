"""What chaos is made on: a database, a broker, a simulated QPU, and supervised workers."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import tomllib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from sqlalchemy import select

from pubworks import queue
from pubworks.client import Client
from pubworks.errors import PubworksError
from pubworks.settings import Settings
from pubworks.store import tables
from pubworks.store.engine import now
from pubworks.store.store import Store
from pubworks.testing.qpu.process import RunningQpu, running_qpu
from pubworks.testing.servers import (
    Server,
    eventually,
    kill_group,
    private_redis,
    program,
    restartable_postgresql,
)  # fmt: skip

HOOK = Path(__file__).parent / "hook"
LEASE_S = 3.0

#: Seconds until a worker that ended is started again.
RESTART_S = 0.2

#: What every stage has, unless it says otherwise.
QPU = {"max_circuits": 3, "max_shots": 100, "queue_s": [0.0, 5.0], "run_s": 0.05, "price_per_shot": 1.0}
POLICY = {
    "max_attempts": 1000, "backoff_s": 0.1, "backoff_longest_s": 2.0, "poll_longest_s": 0.5, "listing_delay_s": 1.5,
    "breaker_s": 0.5,
}  # fmt: skip


@dataclass
class Worker:
    """A worker process, and when to start it again."""

    number: int
    skew_s: float = 0.0
    process: subprocess.Popen[bytes] | None = None
    start_at: float = 0.0
    starts: int = 0
    stack: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    @property
    def alive(self) -> bool:
        """Whether its parent process runs."""
        return self.process is not None and self.process.poll() is None

    def children(self) -> list[psutil.Process]:
        """Return its pool's processes, oldest first."""
        if not self.alive:
            return []
        assert self.process is not None
        with contextlib.suppress(psutil.NoSuchProcess):
            found = psutil.Process(self.process.pid).children()
            return sorted((child for child in found if _is_python(child)), key=lambda child: child.pid)
        return []


class Stage:
    """A deployment of its own, with one backend.

    Args:
        kind: ``postgresql-redis``, ``postgresql-rabbitmq`` or ``sqlite``.
        database: Its server; for SQLite its URL.
        broker: Its server, or its URL where it cannot be restarted.
        qpu: The provider.
        folder: For files.
        policy: Changes of ``POLICY``.
        limits: Of the backend.
    """

    def __init__(
        self, kind: str, database: Server | str, broker: Server | str, qpu: RunningQpu, folder: Path, *,
        policy: dict[str, Any], limits: dict[str, Any],
    ) -> None:  # fmt: skip
        self.kind, self.database, self.broker, self.qpu, self.folder = kind, database, broker, qpu, folder
        self.backend = f"chaos{os.getpid()}"
        self.steps = folder / "steps"
        self.steps.mkdir()
        config = folder / "pubworks.toml"
        config.write_text(_table(self.backend, qpu.url, POLICY | policy, limits))
        flags = {
            "database": getattr(database, "url", database), "broker": getattr(broker, "url", broker),
            "lease_s": LEASE_S, "keeper_interval_s": 0.2, "shutdown_grace_s": 5.0,
        }  # fmt: skip
        self.settings = Settings(**flags, data_dir=folder, **tomllib.loads(config.read_text()))
        self.store = Store(self.settings.database_url)
        self.store.upgrade()
        self.client = Client(self.settings, works=False)
        self.app = self.client.app
        self.workers: list[Worker] = []
        #: How many faults the QPU was told to make, by the name of its counter.
        self.injected: Counter[str] = Counter()
        #: Steps that nobody took while an effect was armed there.
        self.missed = 0
        self._groups: set[int] = set()
        self._env = {f"PUBWORKS_{key.upper()}": str(value) for key, value in flags.items()} | {
            "PUBWORKS_CONFIG": str(config), "PUBWORKS_DATA_DIR": str(folder), "OMP_NUM_THREADS": "1",
            "PYTHONPATH": os.pathsep.join([str(HOOK), os.environ.get("PYTHONPATH", "")]),
            "CHAOS_STEPS": str(self.steps), "QISKIT_PARALLEL": "FALSE",
        }  # fmt: skip

    def query(self, statement: Any) -> list[Any]:
        """Return the rows of a query."""
        with self.store.read() as connection:
            return list(connection.execute(statement).all())

    def add_workers(self, count: int) -> None:
        """Start workers, and return when one has described the backend."""
        self.workers += [Worker(len(self.workers) + number) for number in range(count)]
        self.supervise()
        eventually(self._is_described, 20, what="the backend is described")

    def supervise(self) -> None:
        """Start again the workers that ended."""
        for worker in self.workers:
            if worker.alive:
                continue
            if worker.process is not None:
                worker.process, worker.start_at = None, time.monotonic() + RESTART_S
            if time.monotonic() >= worker.start_at:
                self._start(worker)

    def kill(self, worker: Worker) -> None:
        """End a worker and its children as a power failure would."""
        if worker.process is not None:
            kill_group(worker.process)

    def arm(self, action: str, effect: str) -> Path:
        """Have the first process that logs an action meet an effect; see ``hook``."""
        armed = self.steps / f"{action}.{effect}"
        armed.touch()
        return armed

    def struck(self, action: str, effect: str) -> int | None:
        """Return the process that met an effect."""
        return next((int(path.suffix[1:]) for path in self.steps.glob(f"{action}.{effect}.*")), None)

    def disarm(self) -> None:
        """Take back all effects, and let go who waits or is frozen."""
        for path in self.steps.iterdir():
            pid = path.suffix[1:]
            path.unlink(missing_ok=True)
            if ".freeze." in path.name:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGCONT)

    def lose_messages(self) -> None:
        """Lose the messages that wait."""
        with self.app.connection_for_write() as connection, connection.channel() as channel:
            channel.queue_purge(queue.queue_name(self.backend))

    def batches(self) -> list[Any]:
        """Return all batches."""
        return self.query(select(tables.batches).order_by(tables.batches.c.id))

    def orphans(self) -> list[psutil.Process]:
        """Return processes of workers whose parent died."""
        alive = {worker.process.pid for worker in self.workers if worker.process is not None}
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, ProcessLookupError):
                group = os.getpgid(process.pid)
                if group in self._groups and group not in alive and _is_python(process):
                    found.append(process)
        return found

    def logs(self) -> str:
        """Return what all workers wrote."""
        return "\n".join(path.read_text(errors="replace") for path in sorted(self.folder.glob("worker*.log")))

    def autopsy(self) -> list[str]:
        """Return what can be known about a stage that hangs; its processes write their stacks to the logs."""
        b = tables.batches.c
        columns = (b.id, b.state, b.fence, b.due_at - now(), b.lease_owner, b.lease_until - now(), b.reason)
        lines = [str(row) for row in self.query(select(*columns).where(b.finished_at.is_(None)).limit(20))]
        lines += [str(row) for row in self.query(select(tables.limits, now()))]
        before, ledger = self.qpu.counts()["by_kind"], self.qpu.ledger()["jobs"]
        lines.append(f"at the QPU: {Counter(run['state'] for run in ledger)}")
        lines += [str(run) for run in ledger if run["state"] == "running"][:3]
        for worker in self.workers:
            for child in worker.children():
                lines.append(f"worker {worker.number}: {child.pid} is {child.status()}")
                os.kill(child.pid, signal.SIGUSR2)
            if worker.process is not None:
                os.kill(worker.process.pid, signal.SIGUSR2)
        time.sleep(1.0)
        with contextlib.suppress(Exception):
            lines.append(f"messages: {queue.depth(self.app, self.backend)}")
        return [*lines, f"requests, a second apart: {before} {self.qpu.counts()['by_kind']}"]

    def close(self) -> None:
        """End the workers, and let go of the servers."""
        self.disarm()
        for worker in self.workers:
            self.kill(worker)
            worker.stack.close()
        if self.kind.endswith("rabbitmq"):
            with contextlib.suppress(Exception), self.app.connection_for_write() as connection:
                connection.channel().queue_delete(queue.queue_name(self.backend))
        self.client.close()
        self.store.close()
        self.app.close()

    def _is_described(self) -> bool:
        self.supervise()
        return any(facts.name == self.backend and not facts.error for facts in self.client.backends())

    def _start(self, worker: Worker) -> None:
        worker.starts += 1
        name = f"worker{worker.number}"
        command = [
            sys.executable, "-m", "celery", "-A", "pubworks.worker.app", "worker", "-l", "INFO", "-P", "prefork",
            "-c", "2", "-n", f"{name}x{worker.starts}@%h", "-Q", queue.queue_name(self.backend),
            "--without-gossip", "--without-mingle", "--without-heartbeat",
        ]  # fmt: skip
        env = self._env | ({"CHAOS_SKEW_S": str(worker.skew_s)} if worker.skew_s else {})
        worker.process = worker.stack.enter_context(program(command, env, self.folder / f"{name}.log"))
        self._groups.add(worker.process.pid)


def _is_python(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return "python" in process.name() or "celery" in process.name()
    return False


def _table(name: str, url: str, policy: dict[str, Any], limits: dict[str, Any]) -> str:
    return (
        f'[backends.{name}]\nfactory = "pubworks.testing.qpu:backend"\n'
        f'arguments = {{ url = "{url}", timeout_s = [1.0, 1.5], poll_s = 0.1 }}\n'
        f"max_circuits = {QPU['max_circuits']}\nmax_shots = {QPU['max_shots']}\n"
        f"policy = {{ {_inline(policy)} }}\nlimits = {{ {_inline(limits)} }}\n"
    )


def _inline(values: dict[str, Any]) -> str:
    return ", ".join(f"{key} = {json.dumps(value)}" for key, value in values.items())


@contextlib.contextmanager
def stage(
    kind: str, folder: Path, *,
    policy: dict[str, Any] | None = None, limits: dict[str, Any] | None = None, **settings: Any,
) -> Iterator[Stage]:  # fmt: skip
    """Set up a stage without workers.

    Args:
        kind: See :class:`Stage`.
        folder: An empty folder.
        policy: Changes of the backend's policy.
        limits: Of the backend.
        settings: Changes of those of the QPU.
    """
    with contextlib.ExitStack() as stack:
        qpu = stack.enter_context(running_qpu(**QPU | settings))
        database: Server | str = f"sqlite:///{folder / 'pubworks.db'}"
        broker: Server | str = "embedded://"
        if kind.startswith("postgresql"):
            database = stack.enter_context(restartable_postgresql())
        if kind.endswith("redis"):
            broker = stack.enter_context(_restartable_redis())
        elif kind.endswith("rabbitmq"):
            broker = "amqp://guest:guest@127.0.0.1:5672//"
        made = Stage(kind, database, broker, qpu, folder, policy=policy or {}, limits=limits or {})
        try:
            yield made
        finally:
            with contextlib.suppress(PubworksError):
                made.close()


@contextlib.contextmanager
def _restartable_redis() -> Iterator[Server]:
    with private_redis() as url:
        pass
    server = Server(url, lambda: private_redis(url))
    try:
        server.start()
        yield server
    finally:
        server.stop()
