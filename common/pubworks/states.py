"""States of jobs, batches and provider jobs; each says who moves it where."""

from __future__ import annotations

from enum import StrEnum


class JobState(StrEnum):
    """State of one ``run(pubs)`` call."""

    #: Stored. The first claim of one of its batches makes it RUNNING.
    QUEUED = "QUEUED"
    #: A batch was claimed. The collector ends it when no batch is left.
    RUNNING = "RUNNING"
    #: Every PUB has its result. Final.
    DONE = "DONE"
    #: Some PUBs have results, some failed. Final.
    PARTIAL = "PARTIAL"
    #: No PUB has a result. Final.
    FAILED = "FAILED"
    #: Cancelled by its owner. Final.
    CANCELLED = "CANCELLED"

    @property
    def is_final(self) -> bool:
        """Whether nothing will move the job on by itself."""
        return self in (JobState.DONE, JobState.PARTIAL, JobState.FAILED, JobState.CANCELLED)


class BatchState(StrEnum):
    """State of one batch of circuits."""

    #: Waits for a worker (from ``due_at`` on). A worker's claim makes it CLAIMED.
    PENDING = "PENDING"
    #: A worker holds the lease; the provider was not called in a way that costs anything.
    #: The worker moves it on; when its lease ends, the keeper makes it PENDING again.
    CLAIMED = "CLAIMED"
    #: ``backend.run`` of a job that outlives the worker is being called. When the lease ends here,
    #: nobody knows whether the provider took it: the keeper makes it HELD.
    SUBMITTING = "SUBMITTING"
    #: The provider's job id is stored. When the lease ends, another worker takes the job up by its id.
    IN_FLIGHT = "IN_FLIGHT"
    #: The outcome of a submission is in doubt and running again would cost: a person decides.
    HELD = "HELD"
    #: Its chunks are stored. Final.
    DONE = "DONE"
    #: It will not be run again by itself. Final.
    FAILED = "FAILED"
    #: Its job was cancelled before it was run. Final.
    CANCELLED = "CANCELLED"

    @property
    def is_final(self) -> bool:
        """Whether nothing will move the batch on by itself."""
        return self in (BatchState.DONE, BatchState.FAILED, BatchState.CANCELLED)


#: Batches that a worker holds under a lease.
LEASED = (BatchState.CLAIMED, BatchState.SUBMITTING, BatchState.IN_FLIGHT)


class RunState(StrEnum):
    """State of one provider job, that is one attempt at a batch."""

    #: Committed before ``backend.run`` is called.
    INTENT = "INTENT"
    #: The provider took it.
    ACCEPTED = "ACCEPTED"
    #: Its result is stored. Final.
    DONE = "DONE"
    #: It failed, with its error kept. Final.
    FAILED = "FAILED"
    #: The worker that held it died or handed it back. Final.
    LOST = "LOST"
