"""The worker of a local client: everything in this process's memory, and neither broker nor keeper."""

from __future__ import annotations

import atexit
import os
from collections.abc import Sequence

from pubworks.backends import registry
from pubworks.settings import Settings
from pubworks.store import fleet, limits
from pubworks.store.store import Store
from pubworks.worker.chores import LATE_S, MERGE_GRACE_S, see_to
from pubworks.worker.station import Station

#: Runs of one backend that are in flight at once; local simulators queue them up themselves.
_ROOM = 16

#: Seconds that a runner gets to leave the provider's code when the client is closed.
_LEAVE_S = 5.0


class LocalWorker:
    """Runs the jobs of one client: a thread for each backend, and one that looks for what is due.

    Args:
        store: The database, in memory.
        settings: Settings of the client.
    """

    def __init__(self, store: Store, settings: Settings) -> None:
        self._store, self._specs = store, registry.registered(settings)
        self._pid = os.getpid()
        self._served: list[str] = []
        self._station = Station(settings, store, f"local-{self._pid}", room=_ROOM, waits=False, alone=self._keep)

    def start(self) -> None:
        """Have the process stop it when it ends."""
        atexit.register(self.stop)

    def serve(self, backend: str) -> None:
        """Look for what is due on one more backend."""
        if backend in self._served:
            return
        self._served.append(backend)
        if backend in self._specs:
            with self._store.write() as connection:
                limits.configure(connection, backend, self._specs[backend].quota)

    def ring(self, backend: str, times: int) -> None:
        """Run batches of a backend, and merge what needs no run."""
        self._keep()
        self._station.run_next(backend, times)

    def stop(self) -> None:
        """End, with all threads."""
        if os.getpid() != self._pid:
            return  # a fork: the threads are its parent's
        atexit.unregister(self.stop)
        self._station.stop(_LEAVE_S)

    def _keep(self) -> Sequence[str]:
        """Do the keeper's chores, and return the backends on which to look for what is due."""
        with self._store.read() as connection:
            chores = fleet.chores(connection, self._served, _ROOM, LATE_S, MERGE_GRACE_S)
        see_to(self._store, chores)
        return self._served
