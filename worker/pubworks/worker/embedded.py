"""The embedded worker: broker, worker and keeper inside the caller's process, in threads."""

from __future__ import annotations

import atexit
import os
import socket
import threading
import time
from typing import Any

from celery import Celery
from celery.worker import WorkController
from ulid import ULID

from pubworks import embedded_broker, queue
from pubworks.backends import live, registry
from pubworks.errors import BrokerUnreachable
from pubworks.settings import Settings
from pubworks.store.store import Store
from pubworks.worker import tasks
from pubworks.worker.keeper import Alone, Keeper
from pubworks.worker.station import Station

#: Runs of one backend that are in flight at once; local simulators queue them up themselves.
_ROOM = 16

#: Seconds that the worker may take to start.
_START_S = 30.0

#: Seconds that all threads get to end with the process, and so a runner to leave the provider's code.
_LEAVE_S = 5.0


class _Controller(WorkController):
    """Celery's worker without signal handlers, so that it can live in a thread."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.ready = threading.Event()
        super().__init__(*args, **kwargs)

    def on_consumer_ready(self, consumer: Any) -> None:  # noqa: ARG002
        self.ready.set()


class EmbeddedWorker:
    """Runs jobs in this process until it ends.

    Args:
        app: The Celery app, with the ``embedded://`` broker.
        store: The database.
        settings: Settings of the process.
    """

    def __init__(self, app: Celery, store: Store, settings: Settings) -> None:
        self._app, self._settings = app, settings
        worker_id = str(ULID())
        worker = {
            "id": worker_id, "host": socket.gethostname(), "pid": os.getpid(), "concurrency": _ROOM, "embedded": True,
        }  # fmt: skip
        self._pid = os.getpid()
        self._name = f"celery@embedded-{worker_id}"
        self._station = Station(settings, store, worker_id, room=_ROOM, waits=False)
        tasks.register(app, lambda: self._station)
        self._served = set(registry.registered(settings))
        app.conf.task_queues = [queue.queue_of(name) for name in self._served]
        self._controller = _Controller(
            app=app, pool_cls="solo", concurrency=1, hostname=self._name,
            queues=[queue.queue_name(name) for name in self._served],
            without_gossip=True, without_mingle=True, without_heartbeat=True, loglevel="WARNING",
        )  # fmt: skip
        self._keeper = Keeper(
            app, store, settings, worker, window=1,
            backends=self._serve_live_backends, children=Alone(),
            specs=registry.registered(settings), describes=False,
        )  # fmt: skip
        self._thread = threading.Thread(target=self._consume, name="pubworks-celery", daemon=True)

    def start(self) -> None:
        """Begin; returns when messages are consumed."""
        self._thread.start()
        if not self._controller.ready.wait(_START_S):
            raise BrokerUnreachable("The embedded worker did not start; its log line above says why.")
        self._keeper.start()
        atexit.register(self.stop)

    def serve(self, backend: str) -> None:
        """Consume the queue of one more backend."""
        if backend not in self._served:
            self._served.add(backend)
            self._app.control.add_consumer(
                queue.queue_name(backend), exchange=queue.EXCHANGE.name, exchange_type="direct",
                routing_key=queue.queue_name(backend), destination=[self._name],
            )  # fmt: skip

    def ring(self, backend: str, times: int) -> None:
        """Tell it that batches of a backend are due.

        Raises:
            BrokerUnreachable: The broker inside this process was closed.
        """
        queue.ring(self._app, backend, times, together=True)

    def stop(self) -> None:
        """End: what is held goes back to the database, for the next process that opens it."""
        if os.getpid() != self._pid:
            return  # a fork: what is held is its parent's
        atexit.unregister(self.stop)
        end = time.monotonic() + _LEAVE_S  # for all together: who presses Ctrl-C waits for it
        self._keeper.stop(_LEAVE_S)
        self._station.stop(end - time.monotonic())
        self._controller.stop()
        embedded_broker.wake()
        self._thread.join(max(0.0, end - time.monotonic()))

    def _consume(self) -> None:
        self._app.set_current()  # of this thread: Celery looks tasks up there, and another client has another app
        self._controller.start()

    def _serve_live_backends(self) -> list[str]:
        for name in live.names():
            self.serve(name)
        return sorted(self._served)
