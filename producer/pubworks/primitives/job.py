"""The handle of a job: an id, and where to look."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from qiskit.primitives import BasePrimitiveJob, PrimitiveResult, PubResult
from qiskit.providers import JobStatus

from pubworks.codec.results import decode
from pubworks.errors import JobCancelled, JobFailed, JobTimeout
from pubworks.states import JobState

if TYPE_CHECKING:
    from qiskit.primitives.containers.observables_array import ObservablesArrayLike

    from pubworks.store.records import JobRecord, Progress
    from pubworks.store.store import Store

_STATUS = {
    JobState.QUEUED: JobStatus.QUEUED,
    JobState.RUNNING: JobStatus.RUNNING,
    JobState.DONE: JobStatus.DONE,
    JobState.PARTIAL: JobStatus.ERROR,
    JobState.FAILED: JobStatus.ERROR,
    JobState.CANCELLED: JobStatus.CANCELLED,
}

#: Seconds between two looks at the database: from the first, growing, to the second. Changes that this very process
#: makes are seen at once.
_LOOK_FIRST_S = 0.02
_LOOK_LONGEST_S = 0.5


class Job(BasePrimitiveJob[PrimitiveResult[PubResult], JobStatus]):  # type: ignore[misc]
    """A job in the database, from whichever process it was submitted.

    Args:
        job_id: Its id.
        store: The database that holds it.
    """

    def __init__(self, job_id: str, store: Store) -> None:
        super().__init__(job_id)
        self._store = store

    def __repr__(self) -> str:
        record, progress = self.record(), self.progress()
        name = f' "{record.name}"' if record.name else ""
        done = f"{progress.batches_done}/{progress.num_batches} batches"
        return f"<Job {record.id}{name} {record.state} {done} on {record.backend}>"

    def record(self) -> JobRecord:
        """Return the job's row.

        Raises:
            JobNotFound: The database has no such job.
        """
        from pubworks.store import jobs

        with self._store.read() as connection:
            return jobs.get(connection, self._job_id)

    def progress(self) -> Progress:
        """Return how many batches are in which state, and how many PUBs have results."""
        from pubworks.store import jobs

        with self._store.read() as connection:
            return jobs.progress(connection, self._job_id)

    def status(self) -> JobStatus:
        """Return the state as Qiskit's ``JobStatus``; a job that failed in part is ``ERROR``."""
        return _STATUS[self._state()]

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
        """Cancel the job: batches that wait are never run; what is in flight is stored when it comes.

        Returns:
            Whether the job was still open.
        """
        from pubworks.store import jobs

        with self._store.write() as connection:
            return jobs.cancel(connection, self._job_id)

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
        with self._interruptible(), _Bar(self) as bar:
            for state in self._states(timeout):
                bar.update()
                if state.is_final:
                    break
        self._raise_unless_done(state)
        results = self._load()
        return PrimitiveResult([results[pub] for pub in sorted(results)], metadata={"version": 2})

    def as_completed(self, timeout: float | None = None) -> Iterator[tuple[int, PubResult]]:
        """Yield (position, result) of each PUB as it finishes, until the job has ended.

        Raises:
            JobFailed: After the last result, if PUBs have none.
        """
        from pubworks.store import results

        seen: set[int] = set()
        for state in self._states(timeout):
            with self._store.read() as connection:
                new = [pub for pub in results.finished_pubs(connection, self._job_id) if pub not in seen]
            seen.update(new)
            yield from ((pub, self._load([pub])[pub]) for pub in new)
            if state.is_final:
                self._raise_unless_done(state)
                return

    def reestimate(self, observables: Sequence[ObservablesArrayLike]) -> PrimitiveResult[PubResult]:
        """Return expectation values of other observables from the counts of this job; nothing is run.

        Args:
            observables: For each PUB of the job, as in ``Estimator.run``; the bases that were measured must cover them.

        Raises:
            NotMeasured: They do not; the message names the terms. Or counts are missing.
            ValueError: The observables do not fit the PUBs.
        """
        from pubworks.primitives.again import reestimate

        return reestimate(self._store, self._job_id, observables)

    def provider_jobs(self) -> list[dict[str, Any]]:
        """Return every run of the job's batches: provider id, state, error, worker and times (seconds since 1970).

        ``attempt`` counts the runs of a batch from 1 on.
        """
        from pubworks.store import jobs

        with self._store.read() as connection:
            rows = [dict(row._mapping) for row in jobs.runs(connection, self._job_id)]
        for row in rows:
            row["attempt"] = row.pop("number")
        return rows

    def _state(self) -> JobState:
        from pubworks.store import jobs

        if ended := self._store.ended.get(self._job_id):
            return JobState(ended)
        with self._store.read() as connection:
            return jobs.state(connection, self._job_id)

    def _states(self, timeout: float | None) -> Iterator[JobState]:
        """Yield the job's state again and again, each time something may have changed, up to the final one."""
        deadline = None if timeout is None else time.monotonic() + timeout
        wait = _LOOK_FIRST_S
        while True:
            with self._store.changed:
                seen = self._store.changes
            state = self._state()
            yield state
            if state.is_final:
                return
            left = wait if deadline is None else min(wait, deadline - time.monotonic())
            if left <= 0:
                raise JobTimeout(
                    f"Job {self._job_id} is {state} after {timeout} s. It goes on: call result() again, "
                    f"or `pubworks watch {self._job_id}`."
                )
            with self._store.changed:
                self._store.changed.wait_for(lambda seen=seen: self._store.changes != seen, left)  # type: ignore[misc]
            wait = min(wait * 1.5, _LOOK_LONGEST_S)

    def _load(self, positions: list[int] | None = None) -> dict[int, PubResult]:
        from pubworks.store import results

        with self._store.read() as connection:
            stored = results.load_results(connection, self._job_id, positions)
        return {pub: decode(data) for pub, data in stored.items()}

    def _partial_result(self) -> PrimitiveResult[PubResult]:
        results, total = self._load(), self.record().num_pubs
        missing = [pub for pub in range(total) if pub not in results]
        metadata = {"version": 2, "pubs": sorted(results), "missing": missing}
        return PrimitiveResult([results[pub] for pub in sorted(results)], metadata=metadata)

    def _raise_unless_done(self, state: JobState) -> None:
        from pubworks.store import jobs

        if state == JobState.DONE:
            return
        if state == JobState.CANCELLED:
            raise JobCancelled(f"Job {self._job_id} was cancelled. result(partial=True) gives what was done before.")
        with self._store.read() as connection:
            failed = jobs.failed_pubs(connection, self._job_id)
        reasons = "; ".join(f"PUB {pub}: {reason}" for pub, reason in list(failed.items())[:3])
        more = f" and {len(failed) - 3} more" if len(failed) > 3 else ""
        rest = " result(partial=True) gives the other PUBs." if state == JobState.PARTIAL else ""
        raise JobFailed(f"Job {self._job_id}: {len(failed)} PUBs failed. {reasons}{more}.{rest}")

    @contextlib.contextmanager
    def _interruptible(self) -> Iterator[None]:
        try:
            yield
        except KeyboardInterrupt:
            print(f"\nJob {self._job_id} goes on; job.cancel() cancels it.", file=sys.stderr)
            raise


class _Bar:
    """A progress bar over the job's batches, on a terminal or in a notebook only."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._bar: Any = None
        self._shown = sys.stderr.isatty() or "ipykernel" in sys.modules

    def __enter__(self) -> _Bar:
        return self

    def update(self) -> None:
        """Show the batches that are done."""
        if not self._shown:
            return
        progress = self._job.progress()
        if progress.num_batches < 2:
            return  # nothing to see between none and all
        if self._bar is None:
            from tqdm.auto import tqdm

            self._bar = tqdm(total=progress.num_batches, unit="batch", desc=self._job.job_id()[-6:])
        self._bar.update(progress.batches_done - self._bar.n)

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()
