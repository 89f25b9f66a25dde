"""What the simulated QPU refuses, and in which words."""

from __future__ import annotations

import time
from collections.abc import Iterable
from fnmatch import fnmatchcase

from pubworks.testing.qpu.faults import Chance
from pubworks.testing.qpu.job import Request
from pubworks.testing.qpu.settings import Fault, QpuSettings


class Refusal(Exception):
    """An answer that is not 2xx.

    Args:
        status: The HTTP status.
        code: A word for programs.
        message: A sentence for people.
        retry_after: Seconds after which to come again, if the answer says so.
    """

    def __init__(self, status: int, code: str, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.status, self.code, self.retry_after = status, code, retry_after


class Dropped(Exception):
    """The connection is closed without an answer."""


def unavailable(settings: QpuSettings) -> Refusal:
    """Return the answer of a server that has a bad moment."""
    return Refusal(settings.error_status, "server_error", "Something went wrong on our side.")


def too_many(settings: QpuSettings, code: str, message: str, wait_s: float) -> Refusal:
    """Return a 429 that says when to come again, as the settings have it."""
    return Refusal(429, code, message, wait_s if settings.retry_after_s is None else settings.retry_after_s)


def in_maintenance(settings: QpuSettings) -> Refusal | None:
    """Return the answer during maintenance; None outside."""
    left = settings.maintenance_until - time.time()
    if left <= 0:
        return None
    return Refusal(
        503, "maintenance", "The device is in maintenance.", left if settings.maintenance_retry_after else None
    )


def before_acceptance(settings: QpuSettings, chance: Chance) -> None:
    """Let go wrong what goes wrong before a job is accepted.

    Raises:
        Dropped: There is no answer.
        Refusal: A server error.
    """
    if chance.strikes(Fault.DROP_BEFORE):
        raise Dropped
    if chance.strikes(Fault.ERROR_BEFORE):
        raise unavailable(settings)


def after_acceptance(settings: QpuSettings, chance: Chance) -> None:
    """Let go wrong what goes wrong when a job is accepted already.

    Raises:
        Dropped: There is no answer.
        Refusal: A server error.
    """
    if chance.strikes(Fault.DROP_AFTER):
        raise Dropped
    if chance.strikes(Fault.ERROR_AFTER):
        raise unavailable(settings)


def limits(settings: QpuSettings, request: Request, payload_bytes: int) -> Refusal | None:
    """Return the refusal of a submission that is too large; None of one that is not."""
    sizes = (
        (400, "too_many_circuits", "circuits", len(request.circuits), settings.max_circuits),
        (400, "too_many_shots", "shots", request.shots, settings.max_shots),
        (400, "too_many_qubits", "qubits", request.num_qubits, settings.num_qubits),
        (413, "payload_too_large", "bytes of QPY", payload_bytes, settings.max_payload_bytes),
    )
    for status, code, what, size, limit in sizes:
        if limit is not None and size > limit:
            if not settings.names_limits:
                return Refusal(status, "invalid_job", "The job is invalid.")
            return Refusal(status, code, f"The job has {size} {what}; at most {limit} are allowed.")
    return None


def validity(settings: QpuSettings, request: Request) -> Refusal | None:
    """Return the refusal of a submission with an invalid circuit; None of one without."""
    invalid = matching(request.circuits, settings.invalid_circuits)
    if not invalid:
        return None
    which = f"Circuit {invalid[0]!r} is invalid." if settings.names_invalid else "The job holds an invalid circuit."
    return Refusal(400, "invalid_circuit", which)


def matching(names: Iterable[str], patterns: Iterable[str]) -> list[str]:
    """Return the names that match any of some patterns.

    >>> matching(["good", "bad-17"], ["bad*"])
    ['bad-17']
    """
    patterns = list(patterns)
    return [name for name in names if any(fnmatchcase(name, pattern) for pattern in patterns)]
