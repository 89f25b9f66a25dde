"""The Celery app of a worker: ``celery -A pubworks.worker.app worker``, or ``pubworks worker``.

The parent process holds the keeper and never imports a provider; the pool's children build backends and call them.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import threading
from collections.abc import Callable
from typing import Any

from celery import Celery, bootsteps
from celery.signals import (
    after_setup_logger,
    worker_process_init,
    worker_process_shutdown,
    worker_shutdown,
    worker_shutting_down,
)
from ulid import ULID

from pubworks import queue
from pubworks.backends import registry
from pubworks.errors import ConfigError, StoreError
from pubworks.metrics.fleet import FleetCollector
from pubworks.metrics.server import MetricsServer
from pubworks.settings import Settings, load_settings, secrets_of
from pubworks.store import fleet
from pubworks.store.store import Store
from pubworks.telemetry import JsonLines, TextLines, Veil, log
from pubworks.worker import tasks
from pubworks.worker.desk import LIVES_HERE
from pubworks.worker.keeper import Keeper, LastWords
from pubworks.worker.shared import SharedFlag, SharedNotes
from pubworks.worker.spool import Spool
from pubworks.worker.station import Station, hand_back

#: Seconds that runners get to leave the provider's code when their process stops.
_LEAVE_S = 1.0

#: Seconds that a child may take to start; importing qiskit on a busy machine takes more than Celery's 4.
_CHILD_START_S = 120.0


settings: Settings = load_settings()
worker_id = str(ULID())
app: Celery = queue.make_app(settings)
app.conf.task_queues = [queue.queue_of(name) for name in registry.registered(settings)]
app.conf.worker_proc_alive_timeout = _CHILD_START_S
for _noisy in ("celery.worker.strategy", "celery.app.trace", "qiskit"):  # a line for every ring and compiler pass
    logging.getLogger(_noisy).setLevel(logging.WARNING)

_station: Station | None = None

#: Raised by the keeper while the broker is away, for the pool's children to see.
_alone = SharedFlag()

#: The batch that each of the pool's children runs.
_notes = SharedNotes()


def station() -> Station:
    """Return the station of this process, made at its first use, with connections of its own."""
    global _station  # noqa: PLW0603
    if _station is None:
        _station = Station(
            settings, Store(settings.database_url), worker_id, alone=lambda: served() if _alone.is_set() else (),
            note=_notes.write,
        )  # fmt: skip
    return _station


tasks.register(app, station)


class _Family:
    """The processes of this worker."""

    def __init__(self, worker: Any) -> None:
        self._worker = worker
        self._born: dict[int, Any] = {process.pid: process for process in _processes(worker)}
        if pool := _pool(worker):
            pool._create_worker_process = self._remembering(pool._create_worker_process)

    def _remembering(self, create: Callable[[int], Any]) -> Callable[[int], Any]:
        """Remember each child from its birth on: it can be dead before anybody looks."""

        def create_and_remember(index: int) -> Any:
            process = create(index)
            self._born[process.pid] = process
            return process

        return create_and_remember

    def alive(self) -> set[int]:
        """Return their ids, that of the parent too."""
        return {os.getpid(), *_children(self._worker)}

    def last_words(self, pid: int) -> LastWords:
        """Return what a child that died ran, and what it died of."""
        process = self._born.pop(pid, None)  # the pool has dropped it by now
        batch_id = _notes.of(pid).removesuffix(LIVES_HERE)
        return LastWords(batch_id, process.exitcode if process is not None else None)

    def runs(self) -> dict[int, str]:
        """Return the batch that lives in each child, if one does, or the last one that did."""
        notes = {pid: _notes.of(pid) for pid in _children(self._worker)}
        return {pid: note.removesuffix(LIVES_HERE) for pid, note in notes.items() if note.endswith(LIVES_HERE)}


class KeeperStep(bootsteps.StartStopStep):
    """Starts the keeper in the parent, after the pool has forked its children; it ends after they have."""

    requires = ("celery.worker.components:Pool",)

    def __init__(self, worker: Any, **kwargs: Any) -> None:
        super().__init__(worker, **kwargs)
        self._store = Store(settings.database_url)
        try:
            self._store.check_schema()
            self._metrics = _metrics_server()
        except (StoreError, ConfigError) as error:
            raise SystemExit(str(error)) from error
        finally:
            self._store.close()  # the children are forked next

    def start(self, worker: Any) -> None:
        """Keep, until the worker has stopped."""
        if not _children(worker):  # a pool of threads: the first import is for the main one
            _import_qiskit()
            station()
        row = {"id": worker_id, "host": socket.gethostname(), "pid": os.getpid(), "concurrency": worker.concurrency}
        keeper = Keeper(
            app, self._store, settings, row, window=queue.WINDOW,
            backends=served, children=_Family(worker), specs=registry.registered(settings), alone=_alone,
            drain=lambda: os.kill(os.getpid(), signal.SIGTERM),  # whoever asks, there is one way to end well
        )  # fmt: skip
        worker_shutting_down.connect(lambda **_: self._limit_grace(worker, keeper), weak=False)
        worker_shutdown.connect(lambda **_: self._end(worker, keeper), weak=False)
        os.register_at_fork(
            before=keeper.busy.acquire, after_in_parent=keeper.busy.release, after_in_child=keeper.busy.release
        )
        keeper.start()
        if self._metrics:
            self._metrics.start(FleetCollector(settings, self._store, Spool.of(settings).folder))

    def _limit_grace(self, worker: Any, keeper: Keeper) -> None:
        """Let a stopping worker finish what it runs, but no longer than it may."""
        timer = threading.Timer(settings.shutdown_grace_s, self._cut_short, [worker, keeper])
        timer.daemon = True
        timer.start()

    def _cut_short(self, worker: Any, keeper: Keeper) -> None:
        log("worker.grace_over", logging.WARNING, worker=worker_id, seconds=settings.shutdown_grace_s)
        self._end(worker, keeper)
        logging.shutdown()
        os._exit(0)  # what Celery still waits for is gone

    def _end(self, worker: Any, keeper: Keeper) -> None:
        """Sign out, end what still runs, and give it back."""
        keeper.stop()
        _stop_station()  # of a pool of threads
        keeper.busy.acquire(timeout=_LEAVE_S)  # so that nobody forks new children; a keeper that hangs has it for long
        for pid in _children(worker):
            os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(StoreError):  # then the leases end by themselves
            self._hand_back()
        self._store.close()
        if self._metrics:
            self._metrics.stop()

    def _hand_back(self) -> None:
        with self._store.read() as connection:
            owners = fleet.owners(connection, worker_id)
        for owner in owners:
            hand_back(self._store, owner, "its worker stopped")


app.steps["worker"].add(KeeperStep)


@after_setup_logger.connect
def _format_log(logger: logging.Logger, **_: Any) -> None:
    """Write each line in the chosen form, and no secret in it."""
    veil = Veil(secrets_of(settings))
    for handler in logger.handlers:
        told = handler.formatter or logging.Formatter()
        handler.setFormatter(JsonLines(veil) if settings.log_format == "json" else TextLines(told, veil))


def _metrics_server() -> MetricsServer | None:
    if settings.metrics_port is None:
        return None
    return MetricsServer(settings.metrics_host, settings.metrics_port)


def served() -> list[str]:
    """Return the backends whose queues this worker consumes."""
    prefix = queue.queue_name("")
    return [name.removeprefix(prefix) for name in app.amqp.queues.consume_from]


def _children(worker: Any) -> list[int]:
    return [process.pid for process in _processes(worker)]


def _processes(worker: Any) -> list[Any]:
    return [process for process in getattr(_pool(worker), "_pool", ()) if process.exitcode is None]


def _pool(worker: Any) -> Any:
    """Return billiard's pool of processes; None where the worker runs threads, or all in its one process."""
    pool = getattr(worker.pool, "_pool", None)
    return pool if hasattr(pool, "_create_worker_process") else None


@worker_process_init.connect
def _start_child(**_: Any) -> None:
    import numpy as np

    _import_qiskit()
    np.random.seed()  # a fork copies the generator, and with it every sample that follows
    station()


@worker_process_shutdown.connect
def _stop_child(**_: Any) -> None:
    _stop_station()


def _stop_station() -> None:
    if _station is not None:
        _station.stop(_LEAVE_S)


def _import_qiskit() -> None:
    import qiskit.primitives  # noqa: F401  (first import in the main thread; in another it can end the process)
