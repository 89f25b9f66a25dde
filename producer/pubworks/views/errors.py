"""Errors of batches that failed, those that say the same together, and their JSON."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pubworks.clock import iso
from pubworks.states import JobState

if TYPE_CHECKING:
    from sqlalchemy import Connection

#: What differs from one error to the next and says nothing: attempts, ids, long numbers.
_ATTEMPT = re.compile(r" \(attempt \d+ of \d+\)$")
_IDS = re.compile(r"\b(?=\w*\d)[0-9A-Za-z]{16,}\b|\b[0-9a-f]{8}-[0-9a-f-]{20,}\b|\b\d{5,}\b")


@dataclass
class ErrorGroup:
    """Batches of one backend that failed with the same class and message."""

    backend: str
    kind: str
    message: str
    batches: int = 0
    #: Job -> whether it has ended, so that it can be retried.
    jobs: dict[str, bool] = field(default_factory=dict)
    #: Seconds since 1970.
    last_at: float = 0.0


def group(connection: Connection, viewer: str | None) -> list[ErrorGroup]:
    """Return the errors of jobs of which something is missing, the newest first."""
    from pubworks.store import failures

    found: dict[tuple[str, str, str], ErrorGroup] = {}
    for job, _, state, backend, reason, count, last_at in map(tuple, failures.failed_batches(connection, viewer)):
        kind, message = told(reason or "")
        one = found.setdefault((backend, kind, message), ErrorGroup(backend, kind, message))
        one.batches += count
        one.jobs[job] = JobState(state).is_final
        one.last_at = max(one.last_at, last_at or 0.0)
    return sorted(found.values(), key=lambda one: -one.last_at)


def told(reason: str) -> tuple[str, str]:
    """Return the class and the message of an error, without what differs each time.

    >>> told("QpuError: job 4f0cbb1d9e0a4c35 is gone (attempt 2 of 3)")
    ('QpuError', 'job … is gone')
    """
    kind, _, message = _ATTEMPT.sub("", reason).partition(": ")
    if not message or not kind.isidentifier():
        kind, message = "", _ATTEMPT.sub("", reason)
    return kind, _IDS.sub("\u2026", message)


def document(one: ErrorGroup) -> dict[str, Any]:
    """Return a group of errors as JSON values."""
    return {
        "backend": one.backend,
        "kind": one.kind or None,
        "message": one.message,
        "batches": one.batches,
        "jobs": list(one.jobs),
        "last_at": iso(one.last_at),
        "retryable_jobs": [job for job, has_ended in one.jobs.items() if has_ended],
    }
