"""The handle of a job: an id, and where to look."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from qiskit.primitives import BasePrimitiveJob, PrimitiveResult, PubResult
from qiskit.providers import JobStatus

from pubworks.codec.results import decode
from pubworks.errors import JobCancelled, JobFailed, PubworksError
from pubworks.primitives.filters import STATUS
from pubworks.primitives.waiting import Bar, Completed, Deadline
from pubworks.states import JobState

if TYPE_CHECKING:
    from qiskit.primitives.containers.estimator_pub import EstimatorPub
    from qiskit.primitives.containers.observables_array import ObservablesArrayLike
    from qiskit.primitives.containers.sampler_pub import SamplerPub

    from pubworks.ledger.contract import Ledger
    from pubworks.notebook.gantt import Gantt
    from pubworks.primitives.pub import PubView
    from pubworks.primitives.timeline import Event
    from pubworks.store.records import JobRecord, Progress


class Job(BasePrimitiveJob[PrimitiveResult[PubResult], JobStatus]):  # type: ignore[misc]
    """A job, from whichever process it was submitted.

    Two handles of one job are equal. A handle that is pickled is the id and where to look, without password or token.

    Args:
        job_id: Its id.
        ledger: Where it is kept.
        record: Its row, if it was read already; only what never changes is taken from it.
    """

    def __init__(self, job_id: str, ledger: Ledger, *, record: JobRecord | None = None) -> None:
        super().__init__(job_id)
        self._ledger = ledger
        self._known = record

    def __eq__(self, other: object) -> bool:
        return self._job_id == other._job_id if isinstance(other, Job) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._job_id)

    def __repr__(self) -> str:
        try:
            record, progress = self.record(), self.progress()
        except PubworksError as error:  # whoever looks at it is not to be interrupted by it
            return f"<Job {self._job_id}: {error}>"
        name = f' "{"".join(char if char.isprintable() else "?" for char in record.name)}"' if record.name else ""
        done = f"{progress.batches_done}/{progress.num_batches} batches"
        return f"<Job {record.id}{name} {record.state} {done} on {record.backend}>"

    def _repr_html_(self) -> str:
        from html import escape

        from pubworks.primitives.display import sheet

        try:
            return sheet(self)
        except PubworksError:
            return escape(repr(self))

    def draw(self) -> Gantt:
        """Return a chart of the provider jobs over time, which a notebook shows; ``save(path)`` writes it as SVG."""
        from pubworks.primitives.display import gantt

        return gantt(self)

    def record(self) -> JobRecord:
        """Return the job's row.

        Raises:
            JobNotFound: The database has no such job.
        """
        return self._ledger.record(self._job_id)

    @property
    def name(self) -> str | None:
        """The name that it was given."""
        return self._fixed().name

    @property
    def primitive(self) -> str:
        """``sampler`` or ``estimator``."""
        return self._fixed().primitive

    @property
    def backend_name(self) -> str:
        """The name of the backend that it was submitted to."""
        return self._fixed().backend

    @property
    def session_id(self) -> str | None:
        """The id of the session, or batch, that it was submitted to; None: to none."""
        return self._fixed().session

    @property
    def creation_date(self) -> datetime:
        """When it was submitted, by the database's clock, in UTC."""
        from pubworks.clock import utc

        return utc(self._fixed().created_at)

    @property
    def state(self) -> JobState:
        """The state as it is now; unlike ``status()``, it tells ``PARTIAL`` from ``FAILED``."""
        return self._state()

    @property
    def options(self) -> dict[str, Any]:
        """The options that it was submitted with."""
        return self._ledger.options(self._job_id)

    @property
    def inputs(self) -> list[SamplerPub] | list[EstimatorPub]:
        """The PUBs as they were submitted; ``run`` takes them again."""
        from pubworks.primitives.inputs import load_inputs

        return load_inputs(self._ledger, self._job_id)

    @property
    def tags(self) -> list[str]:
        """The tags as they are now, sorted; set them, or call :meth:`update_tags`."""
        return self._ledger.tags(self._job_id)

    @tags.setter
    def tags(self, tags: Iterable[str]) -> None:
        self.update_tags(tags)

    def update_tags(self, tags: Iterable[str]) -> list[str]:
        """Give the job these tags and no others. Returns them, sorted.

        Raises:
            TypeError: They are no list of texts.
            SubmissionError: One is empty or too long.
        """
        from pubworks.primitives.labels import check_tags

        checked = check_tags(tags)
        self._ledger.set_tags(self._job_id, checked)
        return list(checked)

    @property
    def shared(self) -> bool:
        """Whether every user of the server may see it, with what went in and what came out; set it to change that."""
        return self.record().shared

    @shared.setter
    def shared(self, shared: bool) -> None:
        if not isinstance(shared, bool):
            raise TypeError(f"Whether a job is shared is True or False, not {shared!r}.")
        self._ledger.set_shared(self._job_id, shared)

    def usage(self) -> dict[str, Any]:
        """Return what the runs that gave results used: ``provider_jobs``, ``circuits``, ``shots`` and ``seconds``.

        ``backends`` holds the same by backend. Shots are counted over all circuits. Seconds go from the moment when the
        provider took a run to the one when its result was stored, its queue included. Where a price is known there is
        ``cost``, with ``amount`` and ``currency``: an estimate, of the runs that gave results.

        Raises:
            ConfigError: A price model fails.
        """
        return self._ledger.usage(self._job_id)

    def metrics(self) -> dict[str, Any]:
        """Return ``queue_s``, ``run_s`` and ``collect_s``, and the ``timestamps`` created, running and finished.

        What has not ended yet is None. Timestamps are ISO 8601 in UTC.
        """
        return self._ledger.metrics(self._job_id)

    def timeline(self) -> list[Event]:
        """Return what happened to the job, in order; ``print(*job.timeline(), sep="\\n")`` shows it."""
        return self._ledger.timeline(self._job_id)

    def error(self) -> str | None:
        """Return what went wrong and what to do about it; None when nothing did."""
        return self._ledger.error(self._job_id)

    def progress(self) -> Progress:
        """Return how many batches and shots are in which state, by backend too, and how many PUBs have results.

        ``estimated_s_left`` is an estimate of the seconds until the last batch has ended, from the runs of late on the
        backend; None where there were none.
        """
        return self._ledger.progress(self._job_id)

    def status(self) -> JobStatus:
        """Return the state as Qiskit's ``JobStatus``; a job that failed in part is ``ERROR``."""
        return STATUS[self._state()]

    def done(self) -> bool:
        """Return whether every PUB has its result."""
        return self._state() == JobState.DONE

    def running(self) -> bool:
        """Return whether a batch was claimed and the job has not ended."""
        return self._state() == JobState.RUNNING

    def cancelled(self) -> bool:
        """Return whether the job was cancelled."""
        return self._state() == JobState.CANCELLED

    def in_final_state(self) -> bool:
        """Return whether nothing will move the job on by itself."""
        return self._state().is_final

    def cancel(self) -> bool:
        """Cancel the job: what waits is never run, and the provider is asked to cancel what it runs.

        What has a result keeps it, and what the provider completes all the same is stored when it comes:
        ``result(partial=True)`` and ``usage()`` tell what was paid for, and :meth:`retry` runs the rest.

        Returns:
            Whether the job was still open.
        """
        return self._ledger.cancel(self._job_id)

    def retry(self) -> int:
        """Run what is missing of the job again: what failed, and of a cancelled job what was never run.

        Everything that has a result keeps it, and seeds stay the same: the completed result is that of an undisturbed
        run. A batch of which it is in doubt whether the provider took it is held for a person to decide.

        Returns:
            The number of batches that are run again.

        Raises:
            NothingToRetry: The job has not ended, or has all of its results.
            JobNotFound: The database has no such job.
        """
        return self._ledger.retry(self._job_id).batches

    def wait_for_final_state(self, timeout: float | None = None) -> JobState:
        """Wait until the job has ended.

        Args:
            timeout: Seconds to wait at most; None waits for ever.

        Raises:
            JobTimeout: It has not ended; it goes on.
        """
        for state in self._states(timeout):
            if state.is_final:
                return state
        raise AssertionError("unreachable")  # pragma: no cover

    def result(self, timeout: float | None = None, *, partial: bool = False) -> PrimitiveResult[PubResult]:
        """Wait for the job and return its result.

        A progress bar is shown where standard error is a terminal, and in notebooks.

        Args:
            timeout: Seconds to wait at most; None waits for ever.
            partial: Return the results there are now, without waiting; ``metadata["missing"]`` names the other PUBs.

        Raises:
            JobFailed: Names the PUBs without a result and why.
            JobCancelled: The job was cancelled.
            JobTimeout: It has not ended; it goes on.
        """
        if partial:
            return self._partial_result()
        with self._interruptible(), Bar(self) as bar:
            for state in self._states(timeout):
                bar.update()
                if state.is_final:
                    break
        self._raise_unless_done(state)
        results = self._load()
        return PrimitiveResult([results[pub] for pub in sorted(results)], metadata={"version": 2})

    async def aresult(self, timeout: float | None = None) -> PrimitiveResult[PubResult]:
        """Wait for the job without blocking the event loop, and return its result; as :meth:`result` otherwise."""
        import asyncio

        async for _ in self._astates(timeout):
            pass
        return await asyncio.to_thread(self.result)

    def as_completed(self, timeout: float | None = None) -> Completed:
        """Give (position, result) of each PUB as it finishes, until the job has ended, to ``for`` and ``async for``.

        Raises:
            JobFailed: After the last result, if PUBs have none.
            JobCancelled: After the last result, if the job was cancelled.
            JobTimeout: It has not ended; it goes on.
        """
        return Completed(self, timeout)

    def pub(self, position: int) -> PubView:
        """Return how one PUB stands: its ``state``, the ``reason`` for it, and its ``result`` if there is one.

        Raises:
            IndexError: The job has no such PUB.
            JobNotFound: The database has no such job.
        """
        from pubworks.primitives.pub import view_of

        return view_of(self._ledger, self._job_id, position)

    def reestimate(self, observables: Sequence[ObservablesArrayLike]) -> PrimitiveResult[PubResult]:
        """Return expectation values of other observables from the counts of this job; nothing is run.

        Args:
            observables: For each PUB of the job, as in ``Estimator.run``; the bases that were measured must cover them.

        Raises:
            NotMeasured: They do not; the message names the terms. Or counts are missing.
            ValueError: The observables do not fit the PUBs.
        """
        from pubworks.primitives.again import reestimate

        return reestimate(self._ledger, self._job_id, observables)

    def provider_jobs(self) -> list[dict[str, Any]]:
        """Return every run of the job's batches, those of halves and those that a person or a look-up found included.

        Each has ``batch_id``, ``backend``, ``num_circuits``, ``shots``, ``attempt`` (1, 2, … of its batch), ``state``,
        ``provider_job_id``, ``by_hand`` (whether a person gave it), ``error``, ``worker``, ``claimed_at``,
        ``accepted_at`` and ``finished_at`` (seconds since 1970).
        """
        return self._ledger.runs(self._job_id)

    def _fixed(self) -> JobRecord:
        """Return a row of the job, perhaps an old one: what is read from it never changes."""
        if self._known is None:
            self._known = self.record()
        return self._known

    def _state(self) -> JobState:
        return self._ledger.state(self._job_id)

    def _states(self, timeout: float | None) -> Iterator[JobState]:
        """Yield the job's state again and again, each time something may have changed, up to the final one."""
        deadline = Deadline(self._job_id, timeout)
        with self._ledger.watch(self._job_id) as watch:
            while True:
                state = watch.look()
                yield state
                if state.is_final:
                    return
                watch.pause(deadline.left_s(state))

    async def _astates(self, timeout: float | None) -> AsyncIterator[JobState]:
        """Yield as :meth:`_states` does; no thread waits, so that a task that is cancelled leaves none behind."""
        deadline = Deadline(self._job_id, timeout)
        with self._ledger.watch(self._job_id) as watch:
            while True:
                state = await watch.alook()
                yield state
                if state.is_final:
                    return
                await watch.apause(deadline.left_s(state))

    def _finished(self, seen: set[int]) -> list[int]:
        """Return the PUBs that finished since the last call, and note them as seen."""
        new = [pub for pub in self._ledger.finished(self._job_id) if pub not in seen]
        seen.update(new)
        return new

    def _load(self, positions: list[int] | None = None) -> dict[int, PubResult]:
        return {pub: decode(data) for pub, data in self._ledger.results(self._job_id, positions)}

    def _partial_result(self) -> PrimitiveResult[PubResult]:
        results, total = self._load(), self.record().num_pubs
        missing = [pub for pub in range(total) if pub not in results]
        metadata = {"version": 2, "pubs": sorted(results), "missing": missing}
        return PrimitiveResult([results[pub] for pub in sorted(results)], metadata=metadata)

    def _raise_unless_done(self, state: JobState) -> None:
        if state == JobState.DONE:
            return
        why = self._ledger.error(self._job_id) or f"Job {self._job_id} was {state}, and goes on by now."
        raise (JobCancelled if state == JobState.CANCELLED else JobFailed)(why)

    @contextlib.contextmanager
    def _interruptible(self) -> Iterator[None]:
        try:
            yield
        except KeyboardInterrupt:
            print(f"\nJob {self._job_id} goes on; job.cancel() cancels it.", file=sys.stderr)
            raise
