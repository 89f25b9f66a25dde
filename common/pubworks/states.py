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
    #: Some PUBs have results, some failed. Final, unless its owner retries it: QUEUED again.
    PARTIAL = "PARTIAL"
    #: No PUB has a result. Final, unless its owner retries it: QUEUED again.
    FAILED = "FAILED"
    #: Cancelled by its owner. Final, unless its owner retries it: QUEUED, or RUNNING if some of it still is.
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
    #: ``backend.run`` of a job that outlives the worker is being called. When the lease ends here, or the call
    #: fails in a way that tells nothing, nobody knows whether the provider took it: it becomes UNCERTAIN.
    SUBMITTING = "SUBMITTING"
    #: The provider's job id is stored. No worker holds it: whoever finds it due asks how it goes, and takes a lease
    #: only to fetch the result.
    IN_FLIGHT = "IN_FLIGHT"
    #: Perhaps the provider took it. A worker looks it up by its tag: found, it is IN_FLIGHT; surely not there, or
    #: free to run again, it is PENDING; otherwise HELD.
    UNCERTAIN = "UNCERTAIN"
    #: In doubt for good, and running again would cost: a person decides with ``pubworks resolve``.
    HELD = "HELD"
    #: Its chunks are stored. Final.
    DONE = "DONE"
    #: It will not be run again by itself. Final, unless its job is retried: PENDING, or HELD if it is in doubt.
    FAILED = "FAILED"
    #: The provider refused it as a whole; its halves are batches of their own. Final.
    SPLIT = "SPLIT"
    #: Its job was cancelled before it was run, or its run with the job. Final, unless its job is retried: as FAILED.
    CANCELLED = "CANCELLED"

    @property
    def is_final(self) -> bool:
        """Whether nothing will move the batch on by itself."""
        return self in FINAL_BATCHES


FINAL_BATCHES = (BatchState.DONE, BatchState.FAILED, BatchState.SPLIT, BatchState.CANCELLED)

#: A job that has not ended.
OPEN = (JobState.QUEUED, JobState.RUNNING)

#: Batches that occupy, or may occupy, a place at the provider.
AT_PROVIDER = (BatchState.CLAIMED, BatchState.SUBMITTING, BatchState.UNCERTAIN, BatchState.IN_FLIGHT)

#: Batches that a worker may hold under a lease.
LEASED = (BatchState.CLAIMED, BatchState.SUBMITTING, BatchState.IN_FLIGHT)


class RunState(StrEnum):
    """State of one provider job, that is one attempt at a batch."""

    #: Committed before ``backend.run`` is called.
    INTENT = "INTENT"
    #: Perhaps the provider took it.
    UNCERTAIN = "UNCERTAIN"
    #: The provider took it.
    ACCEPTED = "ACCEPTED"
    #: The provider took it, and was asked to cancel it, which it may do, refuse, or do too late.
    CANCELLING = "CANCELLING"
    #: Its result is stored. Final.
    DONE = "DONE"
    #: It failed, with its error kept. Final.
    FAILED = "FAILED"
    #: It never reached the provider, or was given up with its worker. Final.
    LOST = "LOST"
    #: It was cancelled before it was over. Final.
    CANCELLED = "CANCELLED"


class Mode(StrEnum):
    """How jobs that belong together are run."""

    #: Each in its place in the queue.
    BATCH = "batch"
    #: Before the jobs of others, while it is active.
    SESSION = "session"


#: Seconds that a session may last, and be without a job, where nobody says; as on IBM's runtime.
LONGEST_S: dict[Mode, float | None] = {Mode.SESSION: 8 * 3600.0, Mode.BATCH: None}
IDLE_S = 60.0


class SessionState(StrEnum):
    """State of a session, or of a batch of jobs, as IBM's runtime names them; it is read from times, not stored."""

    #: None of its batches was claimed yet.
    OPEN = "open"
    #: It has jobs, or had some a moment ago: those of a session go first.
    ACTIVE = "active"
    #: It had no job for too long: the next one waits in the queue like others.
    INACTIVE = "inactive"
    #: Its time is over, or it was closed and all of its jobs have ended. Final.
    CLOSED = "closed"


class Scope(StrEnum):
    """What a token of the server is good for; each includes those before it."""

    #: See one's own jobs and what is shared, backends and workers.
    READ = "read"
    #: Submit jobs, and cancel and retry one's own.
    SUBMIT = "submit"
    #: See and change everybody's jobs, change limits, decide on held batches.
    OPERATE = "operate"
    #: Make and revoke tokens, read the audit.
    ADMIN = "admin"

    @property
    def rank(self) -> int:
        """How far it reaches."""
        return list(Scope).index(self)
