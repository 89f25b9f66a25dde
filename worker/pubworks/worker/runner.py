"""The runner: one backend's batches in this process.

Every call of the provider's code (build, run, status, result) happens in the runner's one thread.
"""

from __future__ import annotations

import contextlib
import logging
import math
import threading
import time
from collections.abc import Callable, Sequence

from qiskit import QuantumCircuit

from pubworks.backends.adapter import Adapter
from pubworks.backends.causes import Cause, Phase, Verdict, judge
from pubworks.errors import ConfigError, StoreUnreachable
from pubworks.policy import Policy
from pubworks.store import batches, claiming, fleet, flights, limits
from pubworks.store.records import Claim, Taken
from pubworks.store.store import Store
from pubworks.telemetry import log
from pubworks.worker import launch, trouble
from pubworks.worker.bite import Bite
from pubworks.worker.desk import Desk
from pubworks.worker.here import RunsHere
from pubworks.worker.spool import Spool
from pubworks.worker.submission import warm_up
from pubworks.worker.watch import Watch

#: Seconds between two tries to build a backend that cannot be built, or to reach a database that is away.
_REBUILD_S = 30.0
_STORE_AWAY_S = 1.0

#: Why a backend that cannot be built now may be built soon, whatever its configuration.
_PASSES = (Cause.TRANSIENT, Cause.RATE_LIMITED, Cause.BACKEND_DOWN)

#: Seconds of one turn, a few calls of a provider that keeps its runs, after which its leases are not renewed.
_CALL_LONGEST_S = 300.0

#: Most batches that are claimed in one transaction, to be submitted one after the other, and the seconds for all.
_TOGETHER, _TOGETHER_S = 8, 2.0

#: Longest seconds that a runner waits for a limit or a pause before it looks again: an operator may have lifted it.
_WAIT_LONGEST_S = 5.0


class Runner:
    """Claims, runs and stores the batches of one backend.

    Args:
        make: Builds the backend; called in the runner's thread.
        store: The database.
        backend: Its name.
        spool: Where provider ids go while the database is away.
        room: Most runs that live in this process at once.
    """

    def __init__(self, make: Callable[[], Desk], store: Store, backend: str, spool: Spool, *, room: int) -> None:
        self.backend = backend
        self._make, self._store, self._spool, self._room = make, store, spool, room
        self._bell = threading.Condition()
        self._rings = 0
        self._desk: Desk | None = None
        self._here: RunsHere | None = None
        self._watch: Watch | None = None
        self._claimed: set[str] = set()
        self._bite = Bite(_TOGETHER, _TOGETHER_S)
        self._build_at = 0.0
        self._unanswered = 0
        self._turned_at = math.inf
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
            self._bell.wait_for(lambda: self._stopping or (not self._rings and self._has_room()))

    def held(self) -> list[str]:
        """Return the ids of the batches whose leases this runner needs."""
        if self._watch is not None and time.monotonic() - self._turned_at > _CALL_LONGEST_S:
            return []  # the provider's code does not come back: others may go on
        parts = [part.held() for part in (self._here, self._watch) if part is not None]
        return sorted({*list(self._claimed), *(batch for part in parts for batch in part)})

    def stop(self, wait_s: float) -> None:
        """Take no more batches; wait up to ``wait_s`` seconds for the thread to leave the provider's code."""
        with self._bell:
            self._stopping = True
            self._bell.notify_all()
        self._thread.join(wait_s)

    def _loop(self) -> None:
        while self._sleep():
            self._turned_at = time.monotonic()
            try:
                self._turn()
            except StoreUnreachable as error:
                log("store.away", logging.WARNING, error=error)
                time.sleep(_STORE_AWAY_S)
            except Exception:  # a bug must not end the thread: what it holds would wait for the lease
                logging.getLogger("pubworks").exception("runner of %s", self.backend)
                time.sleep(_STORE_AWAY_S)

    def _sleep(self) -> bool:
        """Wait for a ring or for what is due next. Returns whether to go on."""
        self._turned_at = math.inf
        with self._bell:
            if not self._stopping and not (self._rings and self._has_room()):
                wait = self._next_turn() - time.monotonic()
                if wait > 0:
                    self._bell.wait(min(wait, threading.TIMEOUT_MAX))
            return not self._stopping

    def _next_turn(self) -> float:
        if self._desk is None:
            return self._build_at if self._unanswered else math.inf
        parts = [part.next_look() for part in (self._here, self._watch) if part is not None]
        claim_at = self._desk.claim_at if self._has_room() else math.inf
        return min([claim_at, *parts])

    def _has_room(self) -> bool:
        return self._here is None or self._here.has_room()

    def _turn(self) -> None:
        """Do what is due, a little of each."""
        if self._desk is None and not self._build():
            return
        assert self._desk is not None
        assert self._here is not None
        if self._watch is not None:
            if self._rings:  # perhaps for runs that another worker left behind
                self._watch.expect(0.0)
                self._watch.look_up()
            self._watch.turn()
        self._here.turn()
        if (self._rings or self._desk.claim_at <= time.monotonic()) and self._has_room():
            self._claim(self._desk)
            self._here.turn()
        self._count_requests(self._desk)
        self._wake()  # who waits for room

    def _count_requests(self, desk: Desk) -> None:
        """Use up the requests that a call of the adapter made besides its first."""
        if desk.adapter.more_requests:
            with self._store.write(durable=False) as connection:
                limits.use_requests(connection, self.backend, desk.adapter.more_requests, desk.policy)
            desk.adapter.more_requests = 0

    def _claim(self, desk: Desk) -> None:
        """Claim and start what is due."""
        assert self._here is not None
        desk.claim_at = math.inf
        with self._store.write(durable=desk.adapter.detachable) as connection:
            taken = claiming.claim(
                connection, self.backend, desk.owner, desk.lease_s, policy=desk.policy,
                most=self._bite.size() if desk.adapter.detachable else self._here.bite(self._rings),
            )  # fmt: skip
        desk.troubled = desk.troubled or taken.troubled
        self._claimed = {claim.batch_id for claim in taken.claims}
        try:
            warm_up(self._store, taken.claims)
            if self._watch is None:
                self._here.take(taken.claims)
            else:
                self._submit(desk, self._watch, taken.claims)
        finally:
            self._claimed = set()
        self._go_on(taken, desk)

    def _submit(self, desk: Desk, watch: Watch, claims: Sequence[Claim]) -> None:
        desk.asked_to_wait = False
        for number, claim in enumerate(claims):
            if self._stopping:
                return  # the rest is handed back
            if desk.asked_to_wait:
                with self._store.write() as connection:
                    batches.give_back(connection, claims[number:])
                return
            launch.tell_claimed(desk, claim)
            with self._bite.call():
                is_accepted = launch.submit(desk, self._spool, claim)
            if is_accepted:
                watch.expect(flights.FIRST_LOOK_S)
            else:
                watch.look_up()  # it may be in doubt

    def _go_on(self, taken: Taken, desk: Desk) -> None:
        """Come again when a limit allows more, at once while there is more, or at the next ring.

        A ring is worth one run where runs occupy the process, so that others get their share; a provider that keeps its
        runs, or has them done in no time, is given all that is due.
        """
        if taken.wait_s is not None:
            log("backend.waits", logging.DEBUG, backend=self.backend, seconds=round(taken.wait_s, 3), why=taken.why)
            desk.claim_in(min(taken.wait_s, _WAIT_LONGEST_S))
        elif taken.claims and desk.adapter.detachable:
            desk.claim_in(0.0)
        elif taken.claims:
            if len(taken.claims) > 1:
                desk.claim_in(0.0)
            self._answer(len(taken.claims))
            return
        self._answer()

    def _answer(self, rings: int | None = None) -> None:
        """Count rings as answered: some, or all."""
        with self._bell:
            self._rings = max(0, self._rings - rings) if rings is not None else 0
            self._bell.notify_all()

    def _wake(self) -> None:
        with self._bell:
            self._bell.notify_all()

    def _build(self) -> bool:
        """Build the backend, which may ask the provider. Returns whether that was possible."""
        if time.monotonic() < self._build_at:
            self._answer()
            return False
        with self._store.write(durable=False) as connection:
            wait = limits.take_request(connection, self.backend, Policy())
        if wait:
            time.sleep(min(wait, _STORE_AWAY_S))
            return False
        try:
            self._desk = self._make()
        except ConfigError as error:
            self._build_later(error)
            return False
        if self._unanswered:
            self._unanswered = 0
            self._desk.claim_in(0.0)
            with self._store.write() as connection:
                limits.answers(connection, self.backend)
        self._here = RunsHere(self._desk, self._room, self._wake, self.ring)
        if self._desk.adapter.detachable:
            self._watch = Watch(self._desk)
            _transpile_one(self._desk.adapter)
        return True

    def _build_later(self, error: ConfigError) -> None:
        """Note why the backend cannot be built: a provider that does not answer is soon asked again."""
        verdict = judge(error.__cause__, Phase.BUILD) if error.__cause__ else None
        if verdict is not None and verdict.cause in _PASSES:
            self._unanswered += 1
            self._build_at = time.monotonic() + self._note_silence(verdict)
        else:
            log("backend.unbuildable", logging.ERROR, backend=self.backend, error=error)
            self._unanswered = 0
            self._build_at = time.monotonic() + _REBUILD_S
            with self._store.write() as connection:
                fleet.note_error(connection, self.backend, str(error))
        self._answer()

    def _note_silence(self, verdict: Verdict) -> float:
        """Have the whole fleet know that the provider cannot be asked. Returns seconds until it is asked again."""
        log("backend.silent", logging.WARNING, backend=self.backend, call=Phase.BUILD, error=verdict.message)
        with self._store.write() as connection:
            if verdict.retry_after or verdict.cause == Cause.RATE_LIMITED:
                wait = limits.snooze(connection, self.backend, verdict.message, verdict.retry_after)
                return min(_WAIT_LONGEST_S, wait)
            limits.failed(connection, self.backend, verdict.message, Policy())
        return min(_REBUILD_S, trouble.backoff(Policy(), self._unanswered))


def _transpile_one(adapter: Adapter) -> None:
    """Transpile a circuit for nothing: a process's first takes long, and a submission that was granted is for now."""
    circuit = QuantumCircuit(1, 1)
    circuit.h(0)
    circuit.measure(0, 0)
    with contextlib.suppress(Exception):  # those that are to be run tell what is wrong
        adapter.prepare([circuit])
