"""The station: what one process has to run batches with: its runners, and the heartbeat that keeps its leases."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable, Sequence

from pubworks.backends import live, registry
from pubworks.backends.adapter import adapt
from pubworks.backends.spec import BackendSpec
from pubworks.errors import ConfigError, PubworksError, StoreError
from pubworks.policy import Policy
from pubworks.settings import Settings
from pubworks.store import batches, fleet, limits
from pubworks.store.records import BackendFacts
from pubworks.store.store import Store
from pubworks.telemetry import log
from pubworks.worker.desk import Desk
from pubworks.worker.runner import Runner
from pubworks.worker.spool import Spool

#: For backend objects that are not configured. Most are simulators: what fails there soon fails again.
_LIVE_POLICY = Policy(max_attempts=3, backoff_s=0.1)

#: Most seconds that a process waits until it may ask a provider what a backend is like.
_ASK_S = 30.0


class Station:
    """Runs batches in this process.

    Args:
        settings: Settings of the process.
        store: The database.
        worker: Id of the worker that this process belongs to.
        room: Most runs of one backend in flight at once.
        waits: Whether a task lasts until there is room again, so that Celery gives the next one to a free child.
        alone: Returns the backends to look after without being rung for, while the broker is away.
        note: Told of each batch before it is run, for whoever finds this process dead.
    """

    def __init__(
        self, settings: Settings, store: Store, worker: str, *,
        room: int = 1, waits: bool = True, alone: Callable[[], Sequence[str]] = tuple,
        note: Callable[[str], object] = str,
    ) -> None:  # fmt: skip
        self.settings, self.store = settings, store
        self.owner = f"{worker}/{os.getpid()}"
        self._room, self._waits, self._alone = room, waits, alone
        self._note = note
        self._spool = Spool.of(settings)
        self._runners: dict[str, Runner] = {}
        self._making = threading.Lock()
        self._stopped = threading.Event()
        self._heart = threading.Thread(target=self._beat, name="pubworks-heartbeat", daemon=True)
        self._heart.start()

    def run_next(self, backend: str, times: int) -> None:
        """Run the next due batches of a backend; a pool's child returns when another one would fit."""
        runner = self._runner(backend)
        runner.ring(times)
        if self._waits:
            runner.wait_for_room()

    def describe(self, backend: str) -> None:
        """Build a backend and store what it is like, or why it cannot be built; once, whoever asks how often.

        Where its provider is not to be asked for long, that is left to the next who asks.
        """
        spec = registry.find(self.settings, backend)
        self._import(backend)
        if self._is_described(spec) or not self._may_ask(backend) or self._is_described(spec):
            return
        facts = describe(spec)
        with self.store.write() as connection:
            fleet.describe_backend(connection, facts)

    def _is_described(self, spec: BackendSpec) -> bool:
        with self.store.read() as connection:
            facts = fleet.get_backend(connection, spec.name)
        return facts is not None and facts.spec == spec.digest and facts.error is None

    def _may_ask(self, backend: str) -> bool:
        """Wait until one request may be made of a backend's provider: to build it may be one."""
        until = time.monotonic() + _ASK_S
        while True:
            with self.store.write(durable=False) as connection:
                wait = limits.take_request(connection, backend, Policy())
            if not wait or time.monotonic() + wait > until or self._stopped.wait(wait):
                return not wait

    def stop(self, wait_s: float) -> None:
        """Stop running, within some seconds, and hand back what is held so that others take it up at once."""
        end = time.monotonic() + wait_s
        self._stopped.set()
        for runner in self._runners.values():
            runner.stop(max(0.0, end - time.monotonic()))
        self._heart.join(max(0.0, end - time.monotonic()))
        hand_back(self.store, self.owner, "its worker stopped")

    def _runner(self, backend: str) -> Runner:
        with self._making:  # tasks, the heartbeat and a pool's threads may all be first
            if backend not in self._runners:
                self._import(backend)
                self._runners[backend] = Runner(
                    lambda: self._desk(backend), self.store, backend, self._spool, room=self._room
                )
            return self._runners[backend]

    def _import(self, backend: str) -> None:
        """Import a provider's package, which may take seconds, before a request is granted: that is for now."""
        with contextlib.suppress(ConfigError):  # whoever builds the backend says so
            if not live.is_live(backend):
                registry.find(self.settings, backend).load_factory()

    def _desk(self, backend: str) -> Desk:
        if live.is_live(backend):
            adapter, policy = adapt(live.get(backend)), _LIVE_POLICY
        else:
            spec = registry.find(self.settings, backend)
            adapter, policy = adapt(spec.build(), spec.adapter, spec.behaviour), spec.policy
        return Desk(self.store, backend, adapter, policy, self.owner, self.settings.lease_s, note=self._note)

    def _beat(self) -> None:
        renew_at = time.monotonic()
        while not self._stopped.wait(min(self.settings.keeper_interval_s, self.settings.lease_s / 3)):
            try:
                if time.monotonic() >= renew_at:
                    self._renew()
                    renew_at = time.monotonic() + self.settings.lease_s / 3
                self._look_after(self._alone())
            except StoreError as error:
                log("store.away", logging.WARNING, error=error)
            except Exception:  # without the heartbeat, all that is held would be lost
                logging.getLogger("pubworks").exception("heartbeat")

    def _renew(self) -> None:
        held = [batch for runner in list(self._runners.values()) for batch in runner.held()]
        if held:
            with self.store.write(durable=False) as connection:
                batches.renew(connection, self.owner, held, self.settings.lease_s)

    def _look_after(self, names: Sequence[str]) -> None:
        """Find work without a broker."""
        if not names:
            return
        with self.store.read() as connection:
            due = fleet.chores(connection, names, self._room, 0.0, 0.0).due
        for backend in due:
            self._runner(backend).ring(1)


def describe(spec: BackendSpec) -> BackendFacts:
    """Build a backend and return what it is like, or why it cannot be built."""
    try:
        adapter = adapt(spec.build(), spec.adapter, spec.behaviour)
    except ConfigError as error:
        return BackendFacts(spec.name, spec.digest, None, None, str(error))
    return BackendFacts(spec.name, spec.digest, adapter.num_qubits, adapter.max_circuits, None)


def hand_back(store: Store, owner: str, reason: str, ran: str = "") -> None:
    """Give back the leases of a process that ends; if the database is away, they end by themselves.

    Args:
        store: The database.
        owner: The process.
        reason: Why.
        ran: The one batch that it ran, if that is known: the others have nothing to do with its end.
    """
    try:
        with store.write() as connection:
            if ran:
                batches.expire(connection, batches.BESIDE, owner=owner, but=ran)
            batches.expire(connection, reason, owner=owner)
    except PubworksError as error:
        log("store.away", logging.WARNING, error=error)
