"""Runs at a provider that keeps them: asked about when due, fetched when over, looked up when in doubt.

Nothing of them lives here but a list of times at which to look: another worker can go on at any moment.
"""

from __future__ import annotations

import heapq
import logging
import math
import time
from collections import deque

from qiskit.providers.jobstatus import JobStatus
from sqlalchemy import Connection

from pubworks.backends.causes import Phase
from pubworks.errors import ProviderError, StoreUnreachable
from pubworks.store import cancelling, doubts, flights
from pubworks.store.records import Claim, Look, Run
from pubworks.telemetry import log
from pubworks.worker import landing, trouble
from pubworks.worker.bite import Bite
from pubworks.worker.desk import Desk
from pubworks.worker.submission import Work, prepare, warm_up

#: Requests for the status of runs that are made before something else gets its turn.
_CALLS = 4

#: Most results that are fetched and then stored in one transaction, and the seconds for all.
_FETCH, _FETCH_S = 16, 2.0

#: Batches in doubt that are looked up before something else gets its turn.
_LOOK_UPS = 4

#: Longest seconds that a limit is believed: an operator may have lifted it.
_WAIT_LONGEST_S = 5.0

#: How a run stands whose result is to be fetched; None: it is not listed. Only the result ends its trouble.
_OVER = (JobStatus.DONE, JobStatus.ERROR, None)

#: Seconds between two looks at least: what becomes due meanwhile is asked for in one request.
_APART_S = 0.03


class Watch:
    """Watches the runs of one backend.

    Args:
        desk: The backend.
    """

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._times: list[float] = []
        self._not_before = 0.0
        self._over: deque[Look] = deque()
        self._ends: dict[str, tuple[JobStatus | None, float]] = {}
        self._fetch_at = 0.0
        self._look_up_at = math.inf
        self._fetching: list[Claim] = []
        self._bite = Bite(_FETCH, _FETCH_S)
        self._unstored: list[Run] = []

    def expect(self, in_s: float) -> None:
        """Look in so many seconds."""
        heapq.heappush(self._times, time.monotonic() + in_s)

    def look_up(self) -> None:
        """Look batches in doubt up at the next turn."""
        self._look_up_at = 0.0

    def held(self) -> list[str]:
        """Return the batches whose leases are needed: their results are being fetched."""
        return [claim.batch_id for claim in self._fetching]

    def next_look(self) -> float:
        """Return the time, by the monotonic clock, of the next thing to do."""
        ask = max(self._times[0], self._not_before) if self._times and not self._over else math.inf
        fetch = self._fetch_at if self._over or self._unstored else math.inf
        return min(ask, fetch, self._look_up_at)

    def turn(self) -> None:
        """Do what is due, a little of each."""
        if (self._over or self._unstored) and self._fetch_at <= time.monotonic():
            self._fetch()  # first: where requests are few, a result is worth more than a status
        time_now = time.monotonic()
        if self._times and not self._over and max(self._times[0], self._not_before) <= time_now:
            self._ask(time_now)
        if self._look_up_at <= time_now:
            self._look_up_doubts()

    def _ask(self, time_now: float) -> None:
        per_call = self._desk.adapter.status_batch
        with self._desk.store.write(durable=False) as connection:
            looks, wait = flights.due(
                connection, self._desk.backend, calls=_CALLS, per_call=per_call, policy=self._desk.policy
            )
        while self._times and self._times[0] <= time_now + _APART_S:
            heapq.heappop(self._times)
        self._not_before = time_now + _APART_S
        if wait is not None:
            self._not_before = time_now + min(wait, _WAIT_LONGEST_S)
        if wait is not None or len(looks) == _CALLS * per_call:
            self.expect(0.0)  # there is more
        for look in looks:
            self.expect(look.due_in_s)
        if not self._cancel([look for look in looks if look.cancel]):
            return
        looks = [look for look in looks if not look.cancel]
        for first in range(0, len(looks), per_call):
            if not self._ask_about(looks[first : first + per_call]):
                break  # the others are due again by themselves

    def _ask_about(self, looks: list[Look]) -> bool:
        """Ask how runs go. Returns whether the provider answered."""
        ids = [look.provider_job_id or "" for look in looks]
        try:
            found = self._desk.adapter.statuses(ids)
        except StoreUnreachable:
            raise
        except Exception as error:
            if not (trouble.is_gone(self._desk, error) and len(looks) == 1):
                self._not_before = time.monotonic() + trouble.after_question(self._desk, error, Phase.STATUS)
                self._bear_silence(looks, error)
                return False
            found = {}
        self._heard_of(
            [look for look in looks if look.failing_s and found.get(look.provider_job_id or "") not in _OVER]
        )
        self._end_cancelled([look for look in looks if found.get(look.provider_job_id or "") == JobStatus.CANCELLED])
        for look, one in zip(looks, ids, strict=True):
            status = found.get(one)
            if status is None and look.age_s < self._desk.policy.listing_delay_s:
                continue  # it may not be visible yet
            if status in _OVER:
                self._see_end(look, status)
        return True

    def _see_end(self, look: Look, status: JobStatus | None) -> None:
        log(
            "run.over", logging.DEBUG,
            batch=look.batch_id, backend=self._desk.backend, status=status, seconds=look.age_s,
        )  # fmt: skip
        self._over.append(look)
        self._ends[look.batch_id] = (status, time.monotonic())

    def _cancel(self, looks: list[Look]) -> bool:
        """Ask the provider to cancel runs of jobs that were cancelled. Returns whether it answered."""
        for look in looks:
            desk, refusal = self._desk, None
            try:
                if not desk.adapter.cancel(look.provider_job_id or ""):
                    refusal = "the provider says that it does not cancel it"
            except Exception as error:
                refusal, again_in_s = trouble.after_cancel(desk, look, error)
                if again_in_s is not None:
                    self.expect(again_in_s)
                    return False
            log("run.asked_to_cancel", batch=look.batch_id, provider_job_id=look.provider_job_id, refusal=refusal)
            with desk.store.write() as connection:
                cancelling.asked(connection, look, refusal)
            self.expect(flights.FIRST_LOOK_S)
            self.expect(0.0)  # there may be more
        return True

    def _end_cancelled(self, looks: list[Look]) -> None:
        if looks:
            with self._desk.store.write() as connection:
                cancelling.carried_out(connection, looks)
            self._desk.adapter.forget([look.provider_job_id or "" for look in looks])
            self._desk.claim_in(0.0)  # there is room at the provider

    def _heard_of(self, looks: list[Look]) -> None:
        if looks:
            with self._desk.store.write(durable=False) as connection:
                flights.note_silence(connection, looks, None)

    def _bear_silence(self, looks: list[Look], error: Exception) -> None:
        """Note since when nothing is told about runs; after too long a time a person is to see to them."""
        desk = self._desk
        given_up = [look for look in looks if look.failing_s > desk.policy.max_total_s]
        with desk.store.write() as connection:
            flights.note_silence(connection, looks, f"no answer about it: {type(error).__name__}")
        if given_up:
            self._hold(given_up)

    def _hold(self, looks: list[Look]) -> None:
        desk = self._desk
        with desk.store.write() as connection:  # limits, then batches: the order in which all lock them
            claims, _ = flights.take_up(
                connection, desk.backend, looks, owner=desk.owner, lease_s=desk.lease_s, policy=desk.policy
            )
            for claim in claims:
                doubts.hold_again(
                    connection, claim, f"the provider told nothing about {claim.provider_job_id} for long"
                )

    def _fetch(self) -> None:
        if not self._unstored:
            self._fetch_some()
        if self._unstored:
            landing.store(self._desk, self._unstored)
            self._desk.adapter.forget([run.provider_job_id or "" for run in self._unstored])
            self._unstored, self._fetching = [], []

    def _fetch_some(self) -> None:
        desk, claims = self._desk, self._take_up()
        try:
            warm_up(desk.store, claims, circuits=False)
            desk.asked_to_wait = False
            for claim in claims:
                if desk.asked_to_wait:
                    self._fetch_later(claim)
                    continue
                log("run.fetching", logging.DEBUG, batch=claim.batch_id, backend=desk.backend)
                with self._bite.call():
                    self._fetch_one(claim)
        finally:
            self._fetching = [run.claim for run in self._unstored]  # where the database was away, other leases end

    def _take_up(self) -> list[Claim]:
        """Take leases on some of the runs that are over, and forget those that other workers have."""
        looks = [self._over[number] for number in range(min(self._bite.size(), len(self._over)))]
        desk = self._desk
        with desk.store.write() as connection:
            claims, wait = flights.take_up(
                connection, desk.backend, looks, owner=desk.owner, lease_s=desk.lease_s, policy=desk.policy
            )
        self._fetching = claims
        if claims and desk.claim_at < math.inf:
            desk.claim_in(0.0)  # there is room at the provider
        taken = {claim.batch_id for claim in claims}
        others = {look.batch_id for look in looks} - taken if wait is None else set()
        for batch_id in others:
            self._ends.pop(batch_id, None)
        self._over = deque(look for look in self._over if look.batch_id not in taken | others)
        if wait is not None:
            self._fetch_at = time.monotonic() + min(wait, _WAIT_LONGEST_S)
        return claims

    def _fetch_later(self, claim: Claim) -> None:
        with self._desk.store.write() as connection:
            flights.look_again(connection, claim, None, flights.FIRST_LOOK_S)
        self.expect(flights.FIRST_LOOK_S)

    def _fetch_one(self, claim: Claim) -> None:
        assert claim.provider_job_id is not None
        status, over_at = self._ends.pop(claim.batch_id, (None, time.monotonic()))
        try:
            work = prepare(self._desk.store, claim)
            run = self._land(work, claim.provider_job_id, over_at)
        except StoreUnreachable:
            raise  # its lease ends, and it is due again
        except Exception as error:
            self.expect(trouble.after_result(self._desk, claim, _as_told(error, status)))
        else:
            self._unstored += [run] if run is not None else []

    def _land(self, work: Work, provider_job_id: str, over_at: float) -> Run | None:
        job = self._desk.adapter.retrieve(provider_job_id)
        data = self._desk.adapter.fetch(job, work.claim.num_circuits)
        return landing.landed(self._desk, work, data, provider_job_id, over_at)

    def _look_up_doubts(self) -> None:
        desk = self._desk
        with desk.store.write() as connection:
            looks, wait = doubts.due(connection, desk.backend, _LOOK_UPS, desk.policy)
        waits = [0.0 if len(looks) == _LOOK_UPS else look.due_in_s for look in looks]
        self._look_up_at = time.monotonic() + min([*waits, math.inf if wait is None else wait])
        for look in looks:
            self._look_one_up(look)

    def _look_one_up(self, look: Look) -> None:
        """Adopt a run that is found by its tag, run one again that is surely not there, hold another."""
        desk = self._desk
        try:
            found = desk.adapter.find(look.batch_id)
        except Exception as error:
            trouble.after_question(desk, error, Phase.LOOKUP)
            if look.age_s > desk.policy.max_total_s:
                with desk.store.write() as connection:
                    doubts.hold(connection, look.batch_id, look.fence, _HELD)
            return
        log("run.looked_up", logging.DEBUG, batch=look.batch_id, backend=desk.backend, found=found)
        with desk.store.write() as connection:
            found = found and doubts.unseen(connection, look.batch_id, found)
            adopted = found and doubts.adopt(connection, look.batch_id, look.fence, found[0])
            if not found:
                self._without_a_job(connection, look, may_be_listed=found is not None)
        if found and adopted:
            log("run.adopted", batch=look.batch_id, backend=desk.backend, provider_job_id=found[0])
            self.expect(flights.FIRST_LOOK_S)
            for surplus in found[1:]:
                self._cancel_surplus(look, surplus)

    def _without_a_job(self, connection: Connection, look: Look, *, may_be_listed: bool) -> None:
        """Decide on a batch in doubt of which the provider shows no job."""
        policy, batch = self._desk.policy, (look.batch_id, look.fence)
        if look.attempts + 1 >= policy.max_attempts:
            doubts.hold(connection, *batch, f"in doubt {look.attempts + 1} times; {_HELD}")
        elif policy.free:
            doubts.run_again(connection, *batch, "running it again is free", counts=True)
        elif not may_be_listed:
            doubts.hold(connection, *batch, _HELD)
        elif look.age_s > policy.listing_delay_s:
            doubts.run_again(connection, *batch, "the provider does not know it", counts=True)
        self._desk.claim_in(0.0)

    def _cancel_surplus(self, look: Look, provider_job_id: str) -> None:
        log(
            "run.twice", logging.ERROR, batch=look.batch_id, backend=self._desk.backend, provider_job_id=provider_job_id
        )
        self._desk.adapter.more_requests += 1
        try:
            self._desk.adapter.cancel(provider_job_id)
        except Exception as error:
            log(
                "cancel.failed",
                logging.WARNING,
                backend=self._desk.backend,
                provider_job_id=provider_job_id,
                error=error,
            )


def _as_told(error: Exception, status: JobStatus | None) -> Exception:
    """Return an error as what it is: the provider said before that the run came to nothing."""
    if status == JobStatus.ERROR and not isinstance(error, ProviderError):
        failed = ProviderError(str(error))
        failed.__cause__ = error
        return failed
    return error


_HELD = (
    "nobody knows whether the provider took it, and it cannot be looked up; see the provider's list of jobs, then: "
    "pubworks resolve ID adopt PROVIDER_ID | resubmit | fail"
)
