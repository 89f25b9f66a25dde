"""Times of the database, which are seconds since 1970, as people and programs read them."""

from __future__ import annotations

from datetime import UTC, datetime


def utc(seconds: float) -> datetime:
    """Return a time as a ``datetime`` in UTC."""
    return datetime.fromtimestamp(seconds, UTC)


def iso(seconds: float | None) -> str | None:
    """Return a time as ISO 8601 in UTC.

    >>> iso(0.0)
    '1970-01-01T00:00:00.000Z'
    """
    return None if seconds is None else utc(seconds).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def seconds_of(text: str) -> float:
    """Return what :func:`iso` was given, to the millisecond.

    >>> seconds_of("1970-01-01T00:00:01.500Z")
    1.5
    """
    return datetime.fromisoformat(text).timestamp()
