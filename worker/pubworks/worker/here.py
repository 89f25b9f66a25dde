"""Runs that live in this process, as those of local simulators: under a lease, until they are over."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pubworks.backends.adapter import Adapter
from pubworks.errors import StoreUnreachable
from pubworks.store.records import Run
from pubworks.worker import landing, trouble
from pubworks.worker.desk import Desk
from pubworks.worker.submission import Work

#: Seconds between two looks at a run: from the first, growing by half, to the second.
_LOOK_FIRST_S = 0.0005
_LOOK_LONGEST_S = 0.1

#: Seconds after which a database is tried again that was away.
_STORE_AWAY_S = 1.0


#: Seconds of runs that a process takes on at once, so that short ones share the cost of a claim; and how many.
_BITE_S = 0.2
_BITE_MOST = 64


@dataclass
class _Flight:
    work: Work
    job: Any
    started: float
    wait_s: float = _LOOK_FIRST_S
    next_look: float = 0.0
    #: What came back, while it waits to be stored.
    run: Run | None = None


class RunsHere:
    """The runs of one backend that this process waits for.

    Args:
        desk: The backend.
        wake: Called, from any thread, when a run may be over.
    """

    def __init__(self, desk: Desk, wake: Callable[[], None]) -> None:
        self._desk, self._wake = desk, wake
        self._flights: list[_Flight] = []
        self._seconds = math.inf

    def bite(self) -> int:
        """Return how many batches to claim together: as many as were done lately in a fraction of a second."""
        return max(1, min(_BITE_MOST, int(_BITE_S / max(self._seconds, 1e-9))))

    def __len__(self) -> int:
        return len(self._flights)

    def held(self) -> list[str]:
        """Return the batches whose leases are needed."""
        return [flight.work.claim.batch_id for flight in list(self._flights)]

    def next_look(self) -> float:
        """Return the time, by the monotonic clock, of the next look."""
        return min((flight.next_look for flight in self._flights), default=float("inf"))

    def add(self, work: Work, job: Any) -> None:
        """Wait for a run."""
        flight = _Flight(work, job, time.monotonic())
        self._flights.append(flight)

        def look_now(_: Any) -> None:
            flight.next_look = 0.0
            self._wake()

        if Adapter.call_when_over(job, look_now):
            flight.wait_s = _LOOK_LONGEST_S  # looking is the exception then
            flight.next_look = time.monotonic() + flight.wait_s if not Adapter.is_over(job) else 0.0

    def look(self) -> bool:
        """Fetch and store the runs that are over. Returns whether there is more room now."""
        before = len(self._flights)
        looked_at = [flight for flight in self._flights if flight.next_look <= time.monotonic()]
        over = [flight for flight in looked_at if self._is_back(flight)]
        try:
            if over:
                landing.store(self._desk, [flight.run for flight in over if flight.run is not None])
        except StoreUnreachable:
            for flight in over:
                flight.next_look = time.monotonic() + _STORE_AWAY_S
            raise
        for flight in over:
            self._flights.remove(flight)
        return len(self._flights) < before

    def _is_back(self, flight: _Flight) -> bool:
        """Return whether a run is there to be stored; one that failed is seen to here."""
        if flight.run is not None:
            return True
        try:
            if not Adapter.is_over(flight.job):
                flight.wait_s = min(flight.wait_s * 1.5, _LOOK_LONGEST_S)
                flight.next_look = time.monotonic() + flight.wait_s
                return False
            data = Adapter.fetch(flight.job, flight.work.claim.num_circuits)
            flight.run = landing.landed(self._desk, flight.work, data, Adapter.job_id(flight.job))
        except StoreUnreachable:
            raise
        except Exception as error:
            trouble.after_result(self._desk, flight.work.claim, error)
        if flight.run is None:
            self._flights.remove(flight)
            return False
        seconds = time.monotonic() - flight.started
        self._seconds = seconds if self._seconds == math.inf else 0.7 * self._seconds + 0.3 * seconds
        return True
