"""The station: what one process has to run batches with: its runners, and the heartbeat that keeps its leases."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from typing import Any

from pubworks.backends import live, registry
from pubworks.backends.adapter import Adapter
from pubworks.errors import ConfigError, PubworksError, StoreError
from pubworks.settings import Settings
from pubworks.store import batches, fleet
from pubworks.store.records import BackendFacts
from pubworks.store.store import Store
from pubworks.telemetry import log
from pubworks.worker.runner import Runner


class Station:
    """Runs batches in this process.

    Args:
        settings: Settings of the process.
        store: The database.
        worker: Id of the worker that this process belongs to.
        room: Most runs of one backend in flight at once.
        waits: Whether a task lasts until there is room again, so that Celery gives the next one to a free child.
    """

    def __init__(self, settings: Settings, store: Store, worker: str, *, room: int = 1, waits: bool = True) -> None:
        self.settings, self.store = settings, store
        self.owner = f"{worker}/{os.getpid()}"
        self._room, self._waits = room, waits
        self._runners: dict[str, Runner] = {}
        self._stopped = threading.Event()
        self._heart = threading.Thread(target=self._beat, name="pubworks-heartbeat", daemon=True)
        self._heart.start()

    def run_next(self, backend: str, times: int) -> None:
        """Run the next due batches of a backend; a pool's child returns when another one would fit."""
        runner = self._runner(backend)
        runner.ring(times)
        if self._waits:
            runner.wait_for_room()

    def describe(self, backend: str) -> BackendFacts:
        """Build a backend and store what it is like, or why it cannot be built."""
        spec = registry.find(self.settings, backend)
        facts = describe(backend, spec.digest, spec.build)
        with self.store.write() as connection:
            fleet.describe_backend(connection, facts)
        return facts

    def stop(self, wait_s: float) -> None:
        """Stop running, and hand back what is held so that others take it up at once."""
        self._stopped.set()
        for runner in self._runners.values():
            runner.stop(wait_s)
        self._heart.join(wait_s)
        hand_back(self.store, self.owner, "its worker stopped")

    def _runner(self, backend: str) -> Runner:
        if backend not in self._runners:
            self._runners[backend] = Runner(
                self.store, self.settings, backend, self._builder(backend),
                owner=self.owner, room=self._room,
            )  # fmt: skip
        return self._runners[backend]

    def _builder(self, backend: str) -> Callable[[], Any]:
        if live.is_live(backend):
            return lambda: live.get(backend)
        return lambda: registry.find(self.settings, backend).build()

    def _beat(self) -> None:
        while not self._stopped.wait(self.settings.lease_s / 3):
            held = [batch for runner in list(self._runners.values()) for batch in runner.held()]
            if not held:
                continue
            try:
                with self.store.write(durable=False) as connection:
                    batches.renew(connection, self.owner, held, self.settings.lease_s)
            except StoreError as error:
                log("store.away", logging.WARNING, error=error)


def describe(name: str, digest: str, build: Callable[[], Any]) -> BackendFacts:
    """Build a backend and return what it is like, or why it cannot be built."""
    try:
        adapter = Adapter(build())
    except ConfigError as error:
        return BackendFacts(name, digest, None, None, str(error))
    return BackendFacts(name, digest, adapter.num_qubits, adapter.max_circuits, None)


def hand_back(store: Store, owner: str, reason: str) -> None:
    """Give back the leases of a process that ends; if the database is away, they end by themselves."""
    try:
        with store.write() as connection:
            batches.expire(connection, reason, owner=owner)
    except PubworksError as error:
        log("store.away", logging.WARNING, error=error)
