"""The Celery app of a worker: ``celery -A pubworks.worker.app worker``, or ``pubworks worker``.

The parent process holds the keeper and never imports a provider; the pool's children build backends and call them.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
from typing import Any

from celery import Celery, bootsteps
from celery.signals import worker_process_init, worker_process_shutdown, worker_shutting_down
from ulid import ULID

from pubworks import queue
from pubworks.backends import registry
from pubworks.settings import Settings, load_settings
from pubworks.store import fleet
from pubworks.store.store import Store
from pubworks.worker import tasks
from pubworks.worker.keeper import Keeper
from pubworks.worker.station import Station, hand_back

#: Seconds that a child's runners get to leave the provider's code when the child stops.
_LEAVE_S = 1.0

settings: Settings = load_settings()
store = Store(settings.database_url)
worker_id = str(ULID())
app: Celery = queue.make_app(settings)
app.conf.task_queues = [queue.queue_of(name) for name in registry.registered(settings)]

_station: Station | None = None


def station() -> Station:
    """Return the station of this process, made at its first use."""
    global _station  # noqa: PLW0603
    if _station is None:
        _station = Station(settings, store, worker_id)
    return _station


tasks.register(app, station)


class KeeperStep(bootsteps.StartStopStep):  # type: ignore[misc]
    """Starts the keeper in the parent, after the pool has forked its children."""

    requires = {"celery.worker.components:Pool"}  # noqa: RUF012

    def __init__(self, worker: Any, **kwargs: Any) -> None:
        super().__init__(worker, **kwargs)
        self.keeper: Keeper | None = None

    def start(self, worker: Any) -> None:
        """Check the database, then keep."""
        store.check_schema()
        row = {"id": worker_id, "host": socket.gethostname(), "pid": os.getpid(), "concurrency": worker.concurrency}
        self.keeper = Keeper(
            app, store, settings, row, window=queue.WINDOW,
            backends=served, children=lambda: {os.getpid(), *_pool_pids(worker)},
        )  # fmt: skip
        self.keeper.start()
        _ask_for_descriptions()

    def stop(self, worker: Any) -> None:  # noqa: ARG002
        """Stop keeping."""
        if self.keeper is not None:
            self.keeper.stop()


app.steps["worker"].add(KeeperStep)


def served() -> list[str]:
    """Return the backends whose queues this worker consumes."""
    prefix = queue.queue_name("")
    return [name.removeprefix(prefix) for name in app.amqp.queues.consume_from]


def _pool_pids(worker: Any) -> list[int]:
    pool = getattr(worker.pool, "_pool", None)  # None or without processes in the solo and thread pools
    return [process.pid for process in getattr(pool, "_pool", ()) or () if process.exitcode is None]


def _ask_for_descriptions() -> None:
    with store.read() as connection:
        known = {facts.name: facts.spec for facts in fleet.list_backends(connection)}
    for name, spec in registry.registered(settings).items():
        if name in served() and known.get(name) != spec.digest:
            queue.ask_to_describe(app, name)


@worker_process_init.connect
def _start_child(**_: Any) -> None:
    import numpy as np
    import qiskit.primitives  # noqa: F401  (first import in the main thread; in another it can end the process)

    np.random.seed()  # a fork copies the generator, and with it every sample that follows


@worker_process_shutdown.connect
def _stop_child(**_: Any) -> None:
    if _station is not None:
        _station.stop(_LEAVE_S)


@worker_shutting_down.connect
def _limit_grace(how: str, **_: Any) -> None:
    """Give a warm shutdown its grace, then end it cold: what the children hold goes back to the queue."""
    if how == "Warm":
        timer = threading.Timer(settings.shutdown_grace_s, os.kill, (os.getpid(), signal.SIGQUIT))
        timer.daemon = True
        timer.start()


def hand_back_all() -> None:
    """Give back whatever the children of this worker still hold; for the end of the parent."""
    with store.read() as connection:
        owners = fleet.owners(connection, worker_id)
    for owner in owners:
        hand_back(store, owner, "its worker stopped")
