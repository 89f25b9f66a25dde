"""The errors of pubworks, one tree.

::

    PubworksError
    ├── ConfigError                  a setting is missing, unknown or wrong
    ├── SubmissionError              a workload cannot be planned or stored as asked
    │   ├── SessionClosed            its session, or batch, takes no more jobs
    │   └── TooLarge                 an upload is over a limit
    ├── ProviderError                what a backend did wrong
    │   ├── Transient                worth trying again
    │   ├── RateLimited              try again after ``retry_after`` seconds
    │   ├── Rejected                 the provider will never accept this
    │   ├── Uncertain                nobody knows whether the provider accepted the run
    │   └── Incomplete               a result has fewer experiments than there were circuits
    ├── JobError                     a job did not give what was asked
    │   ├── JobFailed
    │   ├── JobCancelled
    │   ├── JobTimeout
    │   ├── NothingToRetry           it has not ended, or has all of its results
    │   └── NotMeasured              stored counts say nothing about an observable
    ├── StoreError                   the database
    │   ├── StoreUnreachable
    │   │   └── ServerUnreachable    at a URL nobody answers, or something else than pubworks
    │   ├── SchemaOutOfDate
    │   ├── JobNotFound
    │   ├── SessionNotFound
    │   ├── TokenNotFound
    │   ├── WorkerNotFound
    │   └── BatchNotHeld
    ├── BrokerUnreachable            the queue
    └── AccessError                  who asks may not have it
        ├── NotAuthenticated
        ├── NotAllowed
        └── TooManyRequests          try again after ``retry_after`` seconds
"""

from __future__ import annotations


class PubworksError(Exception):
    """Base of every error that pubworks raises on purpose; its text says what to do next."""


class ConfigError(PubworksError):
    """A setting is missing, unknown or wrong."""


class SubmissionError(PubworksError, ValueError):
    """A workload cannot be planned or stored as asked; nothing was stored."""


class SessionClosed(SubmissionError):
    """The session, or batch, takes no more jobs: it was closed, or its time is over."""


class TooLarge(SubmissionError):
    """What is uploaded, or what it claims to hold, is over a limit."""


class ProviderError(PubworksError):
    """A backend failed or answered nonsense."""


class Transient(ProviderError):
    """A failure that is likely to pass."""


class RateLimited(ProviderError):
    """The provider asks to slow down.

    Args:
        message: What the provider said.
        retry_after: Seconds to wait, if the provider named them.
    """

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Rejected(ProviderError):
    """The provider will not run this, however often it is asked."""


class Uncertain(ProviderError):
    """It is not known whether the provider accepted the run."""


class Incomplete(ProviderError):
    """A run gave fewer results than it had circuits, and nobody knows whose are missing."""


class JobError(PubworksError):
    """A job did not give what was asked of it."""


class JobFailed(JobError):
    """Some or all PUBs of a job failed."""


class JobCancelled(JobError):
    """The job was cancelled before it was complete."""


class JobTimeout(JobError, TimeoutError):
    """The job was not done in the time given; it goes on."""


class NothingToRetry(JobError):
    """The job has not ended, or has all of its results."""


class NotMeasured(JobError, ValueError):
    """What a job measured says nothing about some terms of an observable."""


class StoreError(PubworksError):
    """The database did not give what was asked of it."""


class StoreUnreachable(StoreError):
    """The database does not answer."""


class ServerUnreachable(StoreUnreachable):
    """The server at the URL of the settings does not answer, or what answers is no server of pubworks."""


class SchemaOutOfDate(StoreError):
    """The database has another schema than this version of pubworks."""


class JobNotFound(StoreError, KeyError):
    """No job has this id."""

    def __str__(self) -> str:
        return str(self.args[0])  # KeyError would show the repr


class SessionNotFound(StoreError, KeyError):
    """No session, or batch, has this id."""

    def __str__(self) -> str:
        return str(self.args[0])


class TokenNotFound(StoreError, KeyError):
    """No token has this id."""

    def __str__(self) -> str:
        return str(self.args[0])


class WorkerNotFound(StoreError, KeyError):
    """No worker that could be asked to end has this id."""

    def __str__(self) -> str:
        return str(self.args[0])


class BatchNotHeld(StoreError, KeyError):
    """No batch with this id waits for a decision."""

    def __str__(self) -> str:
        return str(self.args[0])


class BrokerUnreachable(PubworksError):
    """The broker of the Celery queue does not answer."""


class AccessError(PubworksError):
    """Who asks may not have what is asked for."""


class NotAuthenticated(AccessError):
    """There is no token, or it is unknown, over or revoked."""


class NotAllowed(AccessError):
    """The token's scopes do not reach that far."""


class TooManyRequests(AccessError):
    """The token was used too often.

    Args:
        message: What its limit is.
        retry_after: Seconds to wait.
    """

    def __init__(self, message: str, retry_after: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after
