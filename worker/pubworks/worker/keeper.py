"""The keeper: the loop in every worker that finds what is due, late or orphaned, and sees to it.

Any message may be lost, doubled or late, any worker may die at any moment; the keeper is what makes that a delay only.
Several keepers never do harm: each change is a conditional UPDATE, and merging twice gives the same bytes.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from celery import Celery

from pubworks import queue
from pubworks.backends.spec import BackendSpec
from pubworks.deaths import cause_of_death
from pubworks.errors import BrokerUnreachable, StoreError
from pubworks.settings import Settings
from pubworks.store import batches, fleet, limits
from pubworks.store.store import Store
from pubworks.telemetry import log
from pubworks.worker.chores import LATE_S, MERGE_GRACE_S, see_to
from pubworks.worker.spool import Spool
from pubworks.worker.station import hand_back

#: Seconds without the broker after which a worker goes on without it.
_AWAY_S = 3.0


class Flag(Protocol):
    """An event, of threads or of processes."""

    def set(self) -> None:
        """Raise it."""

    def clear(self) -> None:
        """Lower it."""

    def is_set(self) -> bool:
        """Return whether it is raised."""


class LastWords(NamedTuple):
    """What is known of a process that died: the batch that it ran, if one, and its exit code, if that is known."""

    batch_id: str
    exit_code: int | None


class Children(Protocol):
    """The processes of a worker."""

    def alive(self) -> set[int]:
        """Return their ids, that of the worker itself too."""

    def last_words(self, pid: int) -> LastWords:
        """Return what is known of one that is not alive any more."""

    def runs(self) -> dict[int, str]:
        """Return the batch that lives in each of them, if one does."""


class Alone:
    """A worker that is one process."""

    def alive(self) -> set[int]:
        """Return its id."""
        return {os.getpid()}

    def last_words(self, pid: int) -> LastWords:  # noqa: ARG002
        """Return nothing: who would ask is dead with it."""
        return LastWords("", None)

    def runs(self) -> dict[int, str]:
        """Return nothing: it keeps its leases itself."""
        return {}


class Keeper:
    """Keeps one worker's backends going.

    Args:
        app: The Celery app to ring with.
        store: The database.
        settings: How often to look.
        worker: The worker's row: id, host, pid, concurrency.
        backends: Returns the names of the backends that this worker serves now.
        window: Most messages that should wait in one queue.
        children: The processes that belong to this worker, its own included.
        specs: The registered backends, for their configured limits.
        describes: Whether to have backends built and described that nobody built before.
        alone: Set while the broker is away, for the worker's processes to see.
        drain: Has the worker finish and end, when somebody asked for it; none: it ends with its process only.
    """

    def __init__(
        self, app: Celery, store: Store, settings: Settings, worker: dict[str, Any], *,
        backends: Callable[[], Sequence[str]], window: int, children: Children,
        specs: Mapping[str, BackendSpec], describes: bool = True, alone: Flag | None = None,
        drain: Callable[[], object] | None = None,
    ) -> None:  # fmt: skip
        self._app, self._store, self._settings, self._worker = app, store, settings, worker
        self._backends, self._window, self._children = backends, window, children
        self._specs, self._describes, self._asked, self._configured = specs, describes, False, False
        self._spool = Spool.of(settings)
        self._drain, self._looks_as = drain, worker["id"] if drain else ""
        self._alive: set[int] = set()
        self._alone, self._away_since = alone or threading.Event(), 0.0
        #: Held during a round: who forks takes it first, since a child inherits whatever is half done.
        self.busy = threading.Lock()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="pubworks-keeper", daemon=True)

    def start(self) -> None:
        """Begin; the first look is at once."""
        self._thread.start()

    def stop(self, wait_s: float = 5.0) -> None:
        """End, within some seconds, and sign the worker out."""
        self._stopped.set()
        self._thread.join(wait_s)
        try:
            with self._store.write() as connection:
                fleet.sign_out(connection, self._worker["id"])
        except StoreError as error:
            log("store.away", logging.WARNING, error=error)

    def round(self) -> None:
        """Look once, and see to what is there."""
        names = self._backends()
        with self._store.read() as connection:
            chores = fleet.chores(connection, names, self._window, LATE_S, MERGE_GRACE_S, worker=self._looks_as)
        if chores.draining and self._drain is not None:
            log("worker.drains", worker=self._worker["id"])
            self._drain()
            self._drain = None  # once: asked again, Celery would not wait for what runs
        self._free_children()
        see_to(self._store, chores)
        self._spool.replay(self._store)
        self._ring(chores.due)

    def _loop(self) -> None:
        rounds_per_sign_in = max(1, round(self._settings.lease_s / 3 / self._settings.keeper_interval_s))
        count = 0
        while not self._stopped.is_set():
            try:
                with self.busy:
                    if count % rounds_per_sign_in == 0:
                        self._sign_in()
                        self._renew_children()
                    self.round()
                    if count % rounds_per_sign_in == 0 or not self._asked:
                        self._ask_for_descriptions()
            except (StoreError, BrokerUnreachable) as error:
                log("keeper.error", logging.WARNING, error=error)
            except Exception:  # a bug must not end the keeper: the fleet would forget what is late
                logging.getLogger("pubworks").exception("keeper")
            count += 1
            self._stopped.wait(self._settings.keeper_interval_s)

    def _sign_in(self) -> None:
        if not self._configured:
            with self._store.write() as connection:
                for name, spec in self._specs.items():
                    limits.configure(connection, name, spec.quota)
            self._configured = True  # later, what an operator sets live counts
        with self._store.write() as connection:
            fleet.sign_in(connection, {**self._worker, "backends": list(self._backends())})

    def _ask_for_descriptions(self) -> None:
        """Have backends built that nobody built before, or that could not be; at first also those that have changed."""
        if not self._describes:
            return
        with self._store.read() as connection:
            known = {facts.name: facts.spec for facts in fleet.list_backends(connection) if facts.error is None}
        for backend in self._specs.keys() & set(self._backends()):
            if backend not in known or (not self._asked and known[backend] != self._specs[backend].digest):
                queue.ask_to_describe(self._app, backend)
        self._asked = True  # later, workers that are configured in different ways would go on about it for ever

    def _renew_children(self) -> None:
        """Keep the leases of what lives in children: a simulator may let no other thread of its process move."""
        lives = self._children.runs()
        if lives:
            with self._store.write(durable=False) as connection:
                for pid, batch in lives.items():
                    batches.renew(connection, f"{self._worker['id']}/{pid}", [batch], self._settings.lease_s)

    def _free_children(self) -> None:
        """Take back at once what a child held that died."""
        alive = self._children.alive()
        if self._alive - alive:
            with self._store.read() as connection:
                owners = fleet.owners(connection, self._worker["id"])
            for owner in owners - {f"{self._worker['id']}/{pid}" for pid in alive}:
                self._bury(owner)
        self._alive = alive

    def _bury(self, owner: str) -> None:
        """Take back what a child held that died, and have the batch that it ran bear the blame."""
        words = self._children.last_words(int(owner.rpartition("/")[2]))
        cause = cause_of_death(words.exit_code)
        log("worker.child_died", logging.ERROR, owner=owner, batch=words.batch_id, cause=cause)
        died = f"{batches.DIED} of {cause}" if cause else batches.DIED
        hand_back(self._store, owner, died, ran=words.batch_id)

    def _ring(self, due: Mapping[str, int]) -> None:
        """Ring for what is due; while the broker is away, have this worker's processes look for themselves."""
        try:
            for backend, count in due.items():
                self._top_up(backend, count)
        except BrokerUnreachable:
            self._away_since = self._away_since or time.monotonic()
            if time.monotonic() - self._away_since > _AWAY_S:
                self._alone.set()
            raise
        if due:
            self._away_since = 0.0
            self._alone.clear()

    def _top_up(self, backend: str, due: int) -> None:
        missing = due - queue.depth(self._app, backend)
        if missing > 0:
            queue.ring(self._app, backend, missing)
            log("keeper.rang", logging.DEBUG, backend=backend, count=missing)
