"""Runs that live in this process, as those of local simulators: under a lease, until they are over."""

from __future__ import annotations

import logging
import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pubworks.backends.adapter import Adapter
from pubworks.errors import StoreUnreachable
from pubworks.states import RunState
from pubworks.store import batches, cancelling
from pubworks.store.records import Claim, Run
from pubworks.telemetry import log
from pubworks.worker import landing, launch, trouble
from pubworks.worker.bite import Bite
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


#: Seconds after which, again and again, it is looked whether the jobs of the runs were cancelled.
_CANCEL_LOOK_S = 1.0

#: Seconds of a run from which on its result is worth waiting for the disk: a power failure must not cost it.
_WORTH_S = 1.0

#: Seconds that a run which is over may wait for others, to be stored with them.
_STORE_TOGETHER_S = 0.1


@dataclass
class _Flight:
    work: Work
    job: Any
    started: float
    wait_s: float = _LOOK_FIRST_S
    next_look: float = 0.0
    asked_to_cancel: bool = False


class RunsHere:
    """The runs of one backend that this process waits for.

    Args:
        desk: The backend.
        room: Most of them at once.
        wake: Called, from any thread, when a run may be over.
        ring: Called with the number of batches that were given back: they are due again, here too.
    """

    def __init__(self, desk: Desk, room: int, wake: Callable[[], None], ring: Callable[[int], None]) -> None:
        self._desk, self._room, self._wake, self._ring = desk, room, wake, ring
        self._claims: deque[Claim] = deque()
        self._starting: list[Claim] = []
        self._claimed_at = 0.0
        self._flights: list[_Flight] = []
        self._over: list[Run] = []
        self._longest = 0.0
        self._store_at = math.inf
        self._cancel_at = 0.0
        self._bite = Bite(_BITE_MOST, _BITE_S)

    def has_room(self) -> bool:
        """Return whether another batch could be started now."""
        return not self._claims and len(self._flights) < self._room

    def bite(self, rings: int) -> int:
        """Return how many batches to claim together.

        Args:
            rings: How many are known to be due; those that would fit are welcome.

        Returns:
            As many as fit, or as were done lately in a fraction of a second.
        """
        return max(self._bite.size(), min(rings, self._room - len(self._flights)))

    def take(self, claims: Sequence[Claim]) -> None:
        """Run batches, as soon as there is room."""
        self._claims.extend(claims)
        self._claimed_at = time.monotonic()

    def held(self) -> list[str]:
        """Return the batches whose leases are needed."""
        claims = [
            *self._starting,
            *self._claims,
            *(flight.work.claim for flight in self._flights),
            *(run.claim for run in self._over),
        ]
        return [claim.batch_id for claim in claims]

    def next_look(self) -> float:
        """Return the time, by the monotonic clock, of the next thing to do."""
        looks = [flight.next_look for flight in self._flights]
        return min([*looks, self._store_at, self._claimed_at + _BITE_S if self._claims else math.inf])

    def turn(self) -> None:
        """Start, fetch and store what can be."""
        self._look()
        if self._flights and self._cancel_at <= time.monotonic():
            self._cancel()
        while self._claims and len(self._flights) < self._room and not self._is_slow():
            self._starting = [self._claims[0]]  # held all the time: a run may last as long as its call
            self._start(self._claims.popleft())
            self._starting = []
            self._look()
        if self._claims and self._is_slow():
            self._give_back()
        if self._over and (not self._claims or self._store_at <= time.monotonic()):
            self._store()

    def _is_slow(self) -> bool:
        """Whether the claimed batches take longer than those before them."""
        return time.monotonic() - self._claimed_at > _BITE_S

    def _give_back(self) -> None:
        """Let others have what was claimed in the belief that it would be quick."""
        with self._desk.store.write() as connection:
            batches.give_back(connection, self._claims)
        self._ring(len(self._claims))
        self._claims.clear()

    def _start(self, claim: Claim) -> None:
        started = time.monotonic()
        launch.tell_claimed(self._desk, claim)
        running = launch.run_here(self._desk, claim)
        if running is not None:
            self._wait_for(_Flight(*running, started))

    def _wait_for(self, flight: _Flight) -> None:
        if not self._flights:
            self._cancel_at = time.monotonic() + _CANCEL_LOOK_S
        self._flights.append(flight)

        def look_now(_: Any) -> None:
            flight.next_look = 0.0
            self._wake()

        if Adapter.call_when_over(flight.job, look_now):
            flight.wait_s = _LOOK_LONGEST_S  # looking is the exception then
            flight.next_look = time.monotonic() + flight.wait_s if not Adapter.is_over(flight.job) else 0.0

    def _look(self) -> None:
        for flight in [flight for flight in self._flights if flight.next_look <= time.monotonic()]:
            try:
                if not Adapter.is_over(flight.job):
                    flight.wait_s = min(flight.wait_s * 1.5, _LOOK_LONGEST_S)
                    flight.next_look = time.monotonic() + flight.wait_s
                    continue
                self._fetch(flight)
            except StoreUnreachable:
                flight.next_look = time.monotonic() + _STORE_AWAY_S
                raise
            except Exception as error:
                trouble.after_result(self._desk, flight.work.claim, error)
            self._flights.remove(flight)

    def _cancel(self) -> None:
        """Cancel runs of jobs that were cancelled, where they can be; the others go on to their end, and are kept."""
        self._cancel_at = time.monotonic() + _CANCEL_LOOK_S
        flights = [flight for flight in self._flights if not flight.asked_to_cancel]
        with self._desk.store.read() as connection:
            cancelled = cancelling.cancelled_jobs(connection, {flight.work.claim.job_id for flight in flights})
        for flight in [flight for flight in flights if flight.work.claim.job_id in cancelled]:
            flight.asked_to_cancel = True
            if not Adapter.cancel_here(flight.job):
                continue
            self._flights.remove(flight)
            with self._desk.store.write() as connection:
                held, why = flight.work.claim, "its job was cancelled"
                batches.put_back(connection, held, why, 0.0, counts=False, state=RunState.CANCELLED)

    def _fetch(self, flight: _Flight) -> None:
        data = Adapter.fetch(flight.job, flight.work.claim.num_circuits)
        over_at = time.monotonic()
        claim, seconds = flight.work.claim, over_at - flight.started
        log("run.over", logging.DEBUG, batch=claim.batch_id, backend=claim.backend, seconds=seconds)
        run = landing.landed(self._desk, flight.work, data, self._desk.adapter.job_id(flight.job), over_at)
        if run is None:
            return
        if not self._over:
            self._store_at = time.monotonic() + _STORE_TOGETHER_S
        self._over.append(run)
        seconds = time.monotonic() - flight.started
        self._longest = max(self._longest, seconds)
        self._bite.note(seconds)

    def _store(self) -> None:
        self._store_at = time.monotonic() + _STORE_AWAY_S  # if this fails
        landing.store(self._desk, self._over, durable=self._longest > _WORTH_S)
        self._over, self._store_at, self._longest = [], math.inf, 0.0
