"""How the limits of a backend stand, for people."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, func, select

from pubworks.policy import Policy, Quota, Rate
from pubworks.states import AT_PROVIDER
from pubworks.store import limits
from pubworks.store.statements import one_of
from pubworks.store.tables import batches


@dataclass(frozen=True)
class Standing:
    """The limits of one backend, and what is left of them. Times are seconds since 1970 by the database's clock."""

    quota: Quota
    #: What may come at once now; None where it is not limited.
    submissions_left: int | None
    requests_left: int | None
    #: Provider jobs that occupy, or may occupy, a place.
    in_flight: int
    #: Provider jobs at once that the provider seems to bear; None until it refused one.
    window: int | None
    #: The provider asked to be left alone until then, in which words; None: it did not.
    snoozed_until: float | None
    snooze_reason: str | None
    #: Failures in a row, and the last one.
    failures: int
    failure_reason: str | None
    #: While the breaker is open: when one run may try; None: it is closed.
    probe_at: float | None
    #: The database's time.
    now: float


def standing(connection: Connection, backend: str, policy: Policy) -> Standing | None:
    """Return how the limits of a backend stand; None: it has none, and never had trouble."""
    row = limits.standing(connection, [backend]).get(backend)
    return None if row is None else to_standing(row, _in_flight(connection, backend), policy)


def to_standing(row: Row[Any], in_flight: int, policy: Policy) -> Standing:
    """Return what a row of :func:`limits.standing` means.

    Args:
        row: The row.
        in_flight: Provider jobs that occupy, or may occupy, a place.
        policy: The backend's, for its breaker.
    """
    snoozed = row.snoozed_until > row.now
    return Standing(
        _quota(row), _left(row, "submit"), _left(row, "request"), in_flight,
        row.window and int(row.window), row.snoozed_until if snoozed else None, row.snooze_reason if snoozed else None,
        row.failures, row.failure_reason, row.probe_at if row.failures >= policy.breaker_failures else None, row.now,
    )  # fmt: skip


def _quota(row: Row[Any]) -> Quota:
    return Quota(submit=_rate(row, "submit"), requests=_rate(row, "request"), in_flight=row.max_in_flight)


def _rate(row: Row[Any], kind: str) -> Rate | None:
    interval, burst = getattr(row, f"{kind}_interval"), getattr(row, f"{kind}_burst")
    return Rate(interval, burst or 1) if interval else None


def _left(row: Row[Any], kind: str) -> int | None:
    rate, at = _rate(row, kind), getattr(row, f"{kind}_at")
    if rate is None:
        return None
    return max(0, int((row.now + rate.burst * rate.interval_s - max(at, row.now)) / rate.interval_s + 1e-6))


def _in_flight(connection: Connection, backend: str) -> int:
    of_backend = (batches.c.backend == backend, batches.c.finished_at.is_(None), one_of(batches.c.state, AT_PROVIDER))
    return int(connection.execute(select(func.count()).where(*of_backend)).scalar_one())
