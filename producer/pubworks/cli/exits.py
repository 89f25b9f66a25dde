"""Exit codes, and which error ends with which."""

from __future__ import annotations

from pubworks import errors
from pubworks.states import JobState

OK = 0
#: The job failed, in whole or in part, or was cancelled; or a check of ``doctor`` failed.
FAILED = 1
#: The command line, the configuration or the workload is wrong, or not for a job in this state; nothing was stored.
USAGE = 2
NOT_FOUND = 3
TIMED_OUT = 4
UNREACHABLE = 5
SCHEMA_OUT_OF_DATE = 6
INTERRUPTED = 130

#: The first class that fits decides, so classes stand before their bases.
_BY_ERROR: tuple[tuple[type[errors.PubworksError], int], ...] = (
    (errors.ConfigError, USAGE),
    (errors.SubmissionError, USAGE),
    (errors.NothingToRetry, USAGE),
    (errors.JobNotFound, NOT_FOUND),
    (errors.BatchNotHeld, NOT_FOUND),
    (errors.SessionNotFound, NOT_FOUND),
    (errors.TokenNotFound, NOT_FOUND),
    (errors.WorkerNotFound, NOT_FOUND),
    (errors.JobTimeout, TIMED_OUT),
    (errors.StoreUnreachable, UNREACHABLE),
    (errors.BrokerUnreachable, UNREACHABLE),
    (errors.SchemaOutOfDate, SCHEMA_OUT_OF_DATE),
    (errors.PubworksError, FAILED),
)


def code_of(error: errors.PubworksError) -> int:
    """Return the exit code of an error.

    >>> code_of(errors.JobNotFound("no such job"))
    3
    """
    return next(code for kind, code in _BY_ERROR if isinstance(error, kind))


def code_of_state(state: JobState) -> int:
    """Return the exit code of a job that has ended."""
    return OK if state == JobState.DONE else FAILED
