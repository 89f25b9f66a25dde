"""Waiting for a job: when to look, what is shown meanwhile, and PUBs as they finish."""

from __future__ import annotations

import sys
import time
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Any

from qiskit.primitives import PubResult

from pubworks.errors import JobTimeout
from pubworks.states import JobState

if TYPE_CHECKING:
    from pubworks.primitives.job import Job


class Completed(Iterator[tuple[int, PubResult]]):
    """(position, result) of each PUB of a job as it finishes, for ``for`` and for ``async for``.

    Args:
        job: The job.
        timeout: Seconds to wait at most; None waits for ever.
    """

    def __init__(self, job: Job, timeout: float | None) -> None:
        self._job, self._timeout = job, timeout
        self._results: Iterator[tuple[int, PubResult]] | None = None

    def __next__(self) -> tuple[int, PubResult]:
        if self._results is None:
            self._results = self._iterate()
        return next(self._results)

    def _iterate(self) -> Iterator[tuple[int, PubResult]]:
        job, seen = self._job, set[int]()
        for state in job._states(self._timeout):
            for pub in job._finished(seen):
                yield pub, job._load([pub])[pub]
            if state.is_final:
                job._raise_unless_done(state)

    async def __aiter__(self) -> AsyncIterator[tuple[int, PubResult]]:
        import asyncio

        job, seen = self._job, set[int]()
        async for state in job._astates(self._timeout):
            for pub in await asyncio.to_thread(job._finished, seen):
                yield pub, (await asyncio.to_thread(job._load, [pub]))[pub]
            if state.is_final:
                await asyncio.to_thread(job._raise_unless_done, state)


class Deadline:
    """When the waiting for a job ends.

    Args:
        job_id: The job.
        timeout: Seconds until then; None: never.
    """

    def __init__(self, job_id: str, timeout: float | None) -> None:
        self._job_id, self._timeout = job_id, timeout
        self._at = None if timeout is None else time.monotonic() + timeout

    def left_s(self, state: JobState) -> float | None:
        """Return the seconds that are left.

        Raises:
            JobTimeout: None are.
        """
        if self._at is None:
            return None
        left = self._at - time.monotonic()
        if left <= 0:
            raise JobTimeout(
                f"Job {self._job_id} is {state} after {self._timeout} s. It goes on: call result() again, "
                f"or `pubworks watch {self._job_id}`."
            )
        return left


class Bar:
    """A progress bar over the job's batches, on a terminal or in a notebook only."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._bar: Any = None
        self._shown = sys.stderr.isatty() or "ipykernel" in sys.modules

    def __enter__(self) -> Bar:
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
