"""The runner: one backend's batches in this process.

Every call of the provider's code (build, run, status, result) happens in the runner's one thread.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pubworks.backends.adapter import Adapter
from pubworks.codec.outcomes import Outcomes
from pubworks.collector.collect import collect, merge_alone
from pubworks.errors import ConfigError, StoreUnreachable
from pubworks.settings import Settings
from pubworks.store import batches, fleet
from pubworks.store.records import Claim
from pubworks.store.store import Store
from pubworks.telemetry import log
from pubworks.worker.submission import Work, prepare

#: Seconds between two looks at a run: from the first, growing by half, to the second.
_POLL_FIRST_S = 0.0005
_POLL_LONGEST_S = 0.1

#: Seconds between two tries to build a backend that cannot be built, or to reach a database that is away.
_REBUILD_S = 30.0
_STORE_AWAY_S = 1.0


@dataclass
class Flight:
    """A run that this process waits for."""

    work: Work
    job: Any
    started: float
    wait_s: float = _POLL_FIRST_S
    next_look: float = 0.0
    #: What came back, while it waits to be stored.
    outcomes: list[Outcomes] | None = None


class Runner:
    """Claims, runs and stores the batches of one backend.

    Args:
        store: The database.
        settings: Lease times.
        backend: The backend's name.
        build: Makes the ``BackendV2``; called in the runner's thread.
        owner: Id of this process in leases.
        room: Most runs in flight at once.
    """

    def __init__(
        self, store: Store, settings: Settings, backend: str, build: Callable[[], Any], *,
        owner: str, room: int,
    ) -> None:  # fmt: skip
        self.backend = backend
        self._store, self._settings, self._build = store, settings, build
        self._owner, self._room = owner, room
        self._bell = threading.Condition()
        self._rings = 0
        self._flights: list[Flight] = []
        self._held: set[str] = set()
        self._adapter: Adapter | None = None
        self._build_again_at = 0.0
        self._stopping = False
        self._thread = threading.Thread(target=self._loop, name=f"pubworks-{backend}", daemon=True)
        self._thread.start()

    def ring(self, times: int) -> None:
        """Say how many batches are due."""
        with self._bell:
            self._rings += times
            self._bell.notify_all()

    def wait_for_room(self) -> None:
        """Return when every ring was answered and another run would fit, or when the runner stops."""
        with self._bell:
            self._bell.wait_for(lambda: self._stopping or (not self._rings and len(self._flights) < self._room))

    def held(self) -> list[str]:
        """Return the ids of the batches whose leases this runner needs."""
        with self._bell:
            return sorted(self._held)

    def stop(self, wait_s: float) -> None:
        """Take no more batches; wait up to ``wait_s`` seconds for the thread to leave the provider's code."""
        with self._bell:
            self._stopping = True
            self._bell.notify_all()
        self._thread.join(wait_s)

    def _loop(self) -> None:
        while self._sleep():
            try:
                while self._wants_more() and self._launch():
                    pass
                for flight in [flight for flight in self._flights if flight.next_look <= time.monotonic()]:
                    self._look_at(flight)
            except StoreUnreachable as error:
                log("store.away", logging.WARNING, error=error)
                time.sleep(_STORE_AWAY_S)
            except Exception:  # a bug must not end the thread: what it holds would wait for the lease
                logging.getLogger("pubworks").exception("runner of %s", self.backend)
                time.sleep(_STORE_AWAY_S)

    def _sleep(self) -> bool:
        """Wait for a ring or the next look. Returns whether to go on."""
        with self._bell:
            if not self._stopping and not self._wants_more():
                self._bell.wait(self._until_next_look())
            return not self._stopping

    def _until_next_look(self) -> float | None:
        looks = [flight.next_look for flight in self._flights]
        return max(0.0, min(looks) - time.monotonic()) if looks else None

    def _wants_more(self) -> bool:
        return self._rings > 0 and len(self._flights) < self._room

    def _launch(self) -> bool:
        """Claim and start one batch. Returns whether there was one."""
        adapter = self._get_adapter()
        if adapter is None:
            self._answer_all_rings()
            return False
        with self._store.write(durable=adapter.outlives_process) as connection:
            claim = batches.claim(connection, self.backend, self._owner, self._settings.lease_s)
        if claim is None:
            self._answer_all_rings()
            return False
        log("batch.claimed", batch=claim.batch_id, backend=self.backend, worker=self._owner, attempt=claim.attempt)
        self._start(adapter, claim)
        with self._bell:
            self._rings = max(0, self._rings - 1)
            self._bell.notify_all()
        return True

    def _answer_all_rings(self) -> None:
        with self._bell:
            self._rings = 0
            self._bell.notify_all()

    def _start(self, adapter: Adapter, claim: Claim) -> None:
        with self._bell:
            self._held.add(claim.batch_id)
        try:
            work = prepare(self._store, claim)
            job = self._call(adapter, work)
        except StoreUnreachable:
            self._let_go(claim)  # the lease ends, and the batch is due again
            raise
        except Exception as error:
            self._let_go(claim)
            self._fail(claim, error)
        else:
            if job is None:
                self._let_go(claim)
            else:
                self._watch(Flight(work, job, time.monotonic()))

    def _call(self, adapter: Adapter, work: Work) -> Any:
        """Return the provider's job of a batch: a new one, or the one already in flight."""
        claim = work.claim
        if claim.provider_job_id is not None:
            return adapter.retrieve(claim.provider_job_id)
        circuits = work.circuits(adapter)
        if not adapter.outlives_process:
            return adapter.run(circuits, claim.shots, claim.seed, claim.run_options, memory=work.wants_memory)
        with self._store.write() as connection:
            if not batches.begin_call(connection, claim):
                return None
        job = adapter.run(circuits, claim.shots, claim.seed, claim.run_options, memory=work.wants_memory)
        with self._store.write() as connection:
            batches.accept(connection, claim, adapter.job_id(job) or "")
        return job

    def _watch(self, flight: Flight) -> None:
        self._flights.append(flight)

        def look_now(_: Any) -> None:
            with self._bell:
                flight.next_look = 0.0
                self._bell.notify_all()

        if Adapter.call_when_over(flight.job, look_now):
            flight.wait_s = _POLL_LONGEST_S  # looking is the exception then
            flight.next_look = time.monotonic() + flight.wait_s if not Adapter.is_over(flight.job) else 0.0

    def _look_at(self, flight: Flight) -> None:
        """Store a run that is over; look at another one again later."""
        try:
            if flight.outcomes is None:
                if not Adapter.is_over(flight.job):
                    flight.wait_s = min(flight.wait_s * 1.5, _POLL_LONGEST_S)
                    flight.next_look = time.monotonic() + flight.wait_s
                    return
                data = Adapter.fetch(flight.job, sum(piece.num_circuits for piece in flight.work.claim.slices))
                flight.outcomes = flight.work.read(data)
            self._complete(flight, flight.outcomes)
        except StoreUnreachable:
            flight.next_look = time.monotonic() + _STORE_AWAY_S
            raise
        except Exception as error:
            self._fail(flight.work.claim, error)
        self._land(flight)

    def _complete(self, flight: Flight, outcomes: list[Outcomes]) -> None:
        claim, work = flight.work.claim, flight.work
        chunks = [part.to_bytes() for part in outcomes]
        merged = {pub: merge_alone(work.pubs[pub], outcomes[position]) for position, pub in work.covered_alone()}
        with self._store.write() as connection:
            ready = batches.complete(connection, claim, chunks, merged, Adapter.job_id(flight.job))
        seconds = time.monotonic() - flight.started
        log("batch.done", batch=claim.batch_id, backend=self.backend, seconds=round(seconds, 3))
        if ready:
            collect(self._store, claim.job_id, ready)

    def _land(self, flight: Flight) -> None:
        self._let_go(flight.work.claim)
        with self._bell:
            self._flights.remove(flight)
            self._bell.notify_all()

    def _let_go(self, claim: Claim) -> None:
        with self._bell:
            self._held.discard(claim.batch_id)

    def _fail(self, claim: Claim, error: Exception) -> None:
        reason = f"{type(error).__name__}: {error}"
        log("batch.failed", logging.WARNING, batch=claim.batch_id, backend=self.backend, error=reason)
        with self._store.write() as connection:
            batches.fail(connection, claim, reason)

    def _get_adapter(self) -> Adapter | None:
        if self._adapter is None and time.monotonic() >= self._build_again_at:
            try:
                self._adapter = Adapter(self._build())
            except ConfigError as error:
                log("backend.unbuildable", logging.ERROR, backend=self.backend, error=error)
                with self._store.write() as connection:
                    fleet.note_error(connection, self.backend, str(error))
                self._build_again_at = time.monotonic() + _REBUILD_S
        return self._adapter
