"""The simulated QPU itself: accepts jobs, lets them wait and run, and keeps their results."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
import zlib
from typing import Any, TextIO

from pubworks.testing.qpu import checks
from pubworks.testing.qpu.checks import Refusal
from pubworks.testing.qpu.faults import Chance
from pubworks.testing.qpu.job import Job, Ledger, Request, State
from pubworks.testing.qpu.settings import Fault, QpuSettings
from pubworks.testing.qpu.simulator import SimulationFailed, Simulator
from pubworks.testing.qpu.traffic import Bucket, Traffic

#: Seconds that a 429 names where nobody knows when things will be better.
_WAIT_S = 1.0


class Qpu:
    """All that one server holds. Its methods must be called in the server's event loop.

    Args:
        settings: Those at the start, and after a reset.
        log: Gets one line of JSON for each request.
    """

    def __init__(self, settings: QpuSettings, log: TextIO | None = None) -> None:
        self._at_start, self._log = settings, log
        self.simulator = Simulator()
        self._lives: dict[str, asyncio.Task[None]] = {}
        self._unpaused = asyncio.Event()
        self.ledger = Ledger()
        self.reset()

    def reset(self) -> None:
        """Forget all jobs, counts and changes of settings."""
        for job_id in list(self._lives):
            self._end(self.ledger.jobs[job_id], State.CANCELLED)
            self._lives.pop(job_id).cancel()
        self.traffic, self.ledger = Traffic(), Ledger()
        self.settings = self._at_start.model_copy(deep=True)
        self.chance = Chance(self.settings)
        self._apply()

    def change(self, changes: dict[str, Any]) -> None:
        """Change some settings.

        Raises:
            ValidationError: A setting is unknown, or a value is wrong.
        """
        before, self.settings = self.settings, self.settings.changed(changes)
        self._apply(before)

    def admit(self, kind: str, token: str) -> None:
        """Count a request and decide whether it is let in.

        Raises:
            Refusal: It is not.
        """
        settings, now = self.settings, time.monotonic()
        self.traffic.arrive(kind, now, settings.requests_per_second)
        if token != settings.token:
            raise Refusal(401, "unauthorized", "The token is wrong.")
        if closed := checks.in_maintenance(settings):
            raise closed
        wait_s = self._bucket.take(now) if self._bucket else 0.0
        if wait_s or self.chance.strikes(Fault.TOO_MANY):
            raise checks.too_many(settings, "too_many_requests", "Too many requests. Slow down.", wait_s or _WAIT_S)
        if kind not in ("submit", "cancel") and self.chance.strikes(Fault.ERROR_READ):
            raise checks.unavailable(settings)

    def submit(self, request: Request, payload: bytes) -> Job:
        """Accept a job.

        Args:
            request: What it asks for.
            payload: Its circuits as QPY.

        Raises:
            Refusal: It is not accepted.
            Dropped: It is not accepted, and there is no answer.
        """
        settings = self.settings
        checks.before_acceptance(settings, self.chance)
        if refusal := checks.limits(settings, request, len(payload)) or checks.validity(settings, request):
            raise refusal
        if settings.max_jobs is not None and len(self._lives) >= settings.max_jobs:
            message = f"Too many jobs: at most {settings.max_jobs} may be queued or running."
            raise checks.too_many(settings, "too_many_jobs", message, _WAIT_S)
        job = self._new_job(request, len(payload))
        self.ledger.add(job)
        self._lives[job.id] = asyncio.create_task(self._live(job, zlib.compress(payload, 1)))
        return job

    def find(self, job_id: str, key: str = "") -> Job:
        """Return a job by its id, or by its id and key where the id alone does not do.

        Raises:
            Refusal: There is none.
        """
        job = self.ledger.jobs.get(job_id)
        if job is None or not (self.settings.find_by_id or key == job.key):
            raise Refusal(404, "no_such_job", f"There is no job {job_id}.")
        return job

    def with_tag(self, tag: str) -> list[Job]:
        """Return the jobs with a tag, oldest first; the newest may not be seen yet.

        Raises:
            Refusal: Jobs cannot be found so.
        """
        if not self.settings.find_by_tag:
            raise Refusal(404, "not_supported", "Jobs cannot be listed.")
        newest = time.time() - self.settings.listing_delay_s
        return [job for job in self.ledger.by_tag.get(tag, []) if job.accepted <= newest]

    def with_ids(self, ids: list[str]) -> list[Job]:
        """Return the jobs of some ids, without those that there are not.

        Raises:
            Refusal: Only one job can be asked for at once, or not so many.
        """
        if not self.settings.batched_status:
            raise Refusal(404, "not_supported", "Ask for one job at a time.")
        if len(ids) > self.settings.max_ids:
            raise Refusal(400, "too_many_ids", f"At most {self.settings.max_ids} ids in one request.")
        known = [self.ledger.jobs.get(id_) for id_ in ids] if self.settings.find_by_id else []
        return [job for job in known if job is not None]

    def result(self, job: Job) -> bytes:
        """Return the result of a job that is done, and count that it was fetched.

        Raises:
            Refusal: It is lost, or was fetched before and comes once.
        """
        if job.loses_result:
            raise Refusal(self.settings.lost_status, "result_lost", f"The result of job {job.id} is no more.")
        if job.fetched and self.settings.result_once:
            raise Refusal(410, "result_gone", f"The result of job {job.id} was fetched already.")
        job.fetched += 1
        return job.result

    def cancel(self, job: Job) -> bool:
        """End a job; return False if it was over.

        Raises:
            Refusal: Jobs cannot be cancelled.
        """
        if not self.settings.cancel:
            raise Refusal(404, "not_supported", "Jobs cannot be cancelled.")
        if job.state.is_over:
            return False
        self._end(job, State.CANCELLED)
        self._lives.pop(job.id).cancel()
        return True

    def log(self, line: dict[str, Any]) -> None:
        """Write one line of the log."""
        if self._log is not None:
            self._log.write(json.dumps(line) + "\n")
            self._log.flush()

    async def close(self) -> None:
        """End all jobs and the simulator."""
        self.reset()
        await self.simulator.stop()

    def _apply(self, before: QpuSettings | None = None) -> None:
        settings = self.settings
        self.chance.use(settings)
        if before is None or (before.requests_per_second, before.burst) != (
            settings.requests_per_second,
            settings.burst,
        ):
            rate = settings.requests_per_second
            self._bucket = Bucket.full(rate, settings.burst, time.monotonic()) if rate else None
        (self._unpaused.clear if settings.paused else self._unpaused.set)()

    def _new_job(self, request: Request, payload_bytes: int) -> Job:
        settings, chance = self.settings, self.chance
        fails = chance.strikes(Fault.FAIL) or checks.matching(request.circuits, settings.fail_circuits)
        return Job(
            id=uuid.uuid4().hex, key=uuid.uuid4().hex, accepted=time.time(), request=request,
            payload_bytes=payload_bytes,
            queue_s=chance.seconds("queue_s", settings.queue_s), run_s=chance.seconds("run_s", settings.run_s),
            delivered_shots=max(1, int(request.shots * settings.shots_fraction)),
            price_per_shot=settings.price_per_shot,
            loses_result=chance.strikes(Fault.LOSE_RESULT), error=settings.fail_text if fails else None,
        )  # fmt: skip

    async def _live(self, job: Job, payload: bytes) -> None:
        """Take an accepted job to its end."""
        await asyncio.sleep(job.queue_s)
        await self._unpaused.wait()
        job.state, job.started, begun = State.RUNNING, time.time(), time.monotonic()
        if job.error is None:
            try:
                job.result = await self.simulator.compute(job, payload, self.settings.seed)
            except (SimulationFailed, OSError) as error:
                job.error = str(error)
        await asyncio.sleep(job.run_s - (time.monotonic() - begun))
        self._end(job, State.FAILED if job.error else State.DONE)
        del self._lives[job.id]

    @staticmethod
    def _end(job: Job, state: State) -> None:
        job.state, job.done = state, time.time()
