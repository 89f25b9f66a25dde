"""What a job used and how long it took."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any, TypeAlias

from pubworks.backends.price import Cost, PricedRun, PriceModel, sum_of, total
from pubworks.clock import iso
from pubworks.store import account, jobs
from pubworks.store.store import Store

#: Gives the price model of a backend, by its name; None: nobody says what it costs.
PriceOf: TypeAlias = Callable[[str], PriceModel | None]


def usage(store: Store, job_id: str, price_of: PriceOf) -> dict[str, Any]:
    """Return what the runs that gave results used, and about what they cost: in all, and by backend."""
    with store.read() as connection:
        rows = account.usage(connection, job_id)
    by_backend = {name: list(used) for name, used in groupby(rows, lambda row: row.backend)}
    costs = {name: _cost(used, price_of(name)) for name, used in by_backend.items()}
    known = [cost for cost in costs.values() if cost is not None]
    of_all = sum_of(known) if len(known) == len(costs) else None
    return {
        **_used(rows, of_all),
        "backends": {name: _used(used, costs[name]) for name, used in by_backend.items()},
    }


def _used(rows: Sequence[account.Used], cost: Cost | None) -> dict[str, Any]:
    used = {
        "provider_jobs": sum(row.runs for row in rows),
        "circuits": sum(row.runs * row.circuits for row in rows),
        "shots": sum(row.runs * row.circuits * row.shots for row in rows),
        "seconds": sum(row.seconds for row in rows),
    }
    return used if cost is None else {**used, "cost": {**vars(cost), "is_estimate": True}}


def _cost(rows: Sequence[account.Used], model: PriceModel | None) -> Cost | None:
    return total(model, ((PricedRun(row.circuits, row.shots, row.seconds / row.runs), row.runs) for row in rows))


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


def _between(start: float | None, end: float | None) -> float | None:
    return None if start is None or end is None else max(0.0, end - start)
