"""What a job used and how long it took."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from pubworks.store import account, jobs
from pubworks.store.store import Store


def usage(store: Store, job_id: str) -> dict[str, Any]:
    """Return what the runs that gave results used: in all, and by backend."""
    with store.read() as connection:
        rows = account.usage(connection, job_id)
    names = ("provider_jobs", "circuits", "shots", "seconds")
    by_backend = {used.backend: {name: getattr(used, name) for name in names} for used in rows}
    total = {name: sum(used[name] for used in by_backend.values()) for name in names}
    return {**total, "backends": by_backend}


def metrics(store: Store, job_id: str) -> dict[str, Any]:
    """Return how long a job queued, ran and was collected, in seconds; None for what has not ended."""
    with store.read() as connection:
        record = jobs.get(connection, job_id)
        last = account.last_batch_ended(connection, job_id) if record.finished_at else None
    created, started, finished = record.created_at, record.started_at, record.finished_at
    ran_until = min(last, finished) if last and finished else None
    return {
        "timestamps": {"created": iso(created), "running": iso(started), "finished": iso(finished)},
        "queue_s": _between(created, started),
        "run_s": _between(started, ran_until),
        "collect_s": _between(ran_until, finished),
    }


def utc(seconds: float) -> datetime:
    """Return a time of the database as a ``datetime`` in UTC."""
    return datetime.fromtimestamp(seconds, UTC)


def iso(seconds: float | None) -> str | None:
    """Return a time of the database as ISO 8601 in UTC."""
    return None if seconds is None else utc(seconds).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _between(start: float | None, end: float | None) -> float | None:
    return None if start is None or end is None else max(0.0, end - start)
