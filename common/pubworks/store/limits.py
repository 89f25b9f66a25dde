"""How much of a backend the whole fleet may use: rates (GCRA), runs in flight (AIMD), pauses, and the breaker.

One row per backend holds it all, and everything is decided under that row's lock with the database's clock, in the
transaction that uses what was granted: exact with any number of workers, and kept through restarts. A backend without
a row is not limited and costs nothing here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, and_, bindparam, func, select, update

from pubworks.policy import Policy, Quota, Rate
from pubworks.states import AT_PROVIDER, BatchState
from pubworks.store.engine import now
from pubworks.store.records import Resumed
from pubworks.store.statements import insert_new, one_of
from pubworks.store.tables import batches, limits

#: Seconds that one run has to show that a backend works again, before another one may try.
_PROBE_S = 60.0

#: Seconds to leave a provider alone that asks for it without saying how long: at first, doubled up to the longest.
_SNOOZE_S = 0.5
_SNOOZE_LONGEST_S = 60.0

#: Longest seconds that a provider is believed at once; after them it is asked again.
_ASKED_LONGEST_S = 3600.0

#: Most times that the breaker doubles its wait.
_DOUBLINGS = 4

#: Seconds after which to look again when what is waited for is not a time: a run in flight that must end.
_LOOK_AGAIN_S = 0.1


@dataclass(frozen=True)
class Grant:
    """What may be done now, and what else must wait for."""

    #: Submissions, or requests, that are granted.
    count: int
    #: Seconds until more may be granted, if less was than asked for.
    wait_s: float = 0.0
    #: What is waited for, for people.
    why: str | None = None


_ROW = select(limits, now().label("now")).where(limits.c.backend == bindparam("p_backend"))
_LOCK = _ROW.with_for_update()
#: One whose result is being fetched is over at the provider.
_IS_OVER = and_(batches.c.state == BatchState.IN_FLIGHT, batches.c.lease_owner.is_not(None))
_IN_FLIGHT = select(func.count()).where(
    batches.c.backend == bindparam("p_backend"), batches.c.finished_at.is_(None), one_of(batches.c.state, AT_PROVIDER),
    ~_IS_OVER,
)  # fmt: skip
_CALLED = _IN_FLIGHT.where(batches.c.state != BatchState.CLAIMED)
_SPEND = (
    update(limits)
    .where(limits.c.backend == bindparam("p_backend"))
    .values(submit_at=bindparam("p_submit_at"), request_at=bindparam("p_request_at"), probe_at=bindparam("p_probe_at"))
)


def lock(connection: Connection, backend: str) -> Row[Any] | None:
    """Return a backend's limits, which nobody else changes until this transaction ends; None: it has none."""
    return connection.execute(_LOCK, {"p_backend": backend}).one_or_none()


def submissions(connection: Connection, row: Row[Any], most: int, policy: Policy) -> Grant:
    """Return how many submissions may be made now; nothing is used up before :func:`spend`."""
    pause = _pause(row, policy)
    if pause is not None:
        return pause
    if is_open(row, policy) or row.submit_interval or row.request_interval:
        most = 1  # a probe; or a call that must come when it was granted, and not after others of a group
    grants = [
        _room(connection, row, most),
        _rate(row, "submit", most, "submissions"),
        _rate(row, "request", most, "requests"),
    ]
    return min(grants, key=lambda grant: (grant.count, -grant.wait_s))


def requests(row: Row[Any], most: int) -> Grant:
    """Return how many requests of any kind may be made now; nothing is used up before :func:`spend`."""
    if row.snoozed_until > row.now:
        return Grant(0, row.snoozed_until - row.now, row.snooze_reason)
    return _rate(row, "request", most, "requests")


def take_request(connection: Connection, backend: str, policy: Policy) -> float:
    """Use up one request, if one may be made now. Returns seconds until then, else 0."""
    row = lock(connection, backend)
    if row is None:
        return 0.0
    grant = requests(row, 1)
    spend(connection, row, policy, requests=grant.count)
    return 0.0 if grant.count else grant.wait_s


def use_requests(connection: Connection, backend: str, count: int, policy: Policy) -> None:
    """Use up requests that were made already: what comes next waits for them."""
    row = lock(connection, backend)
    if row is not None:
        spend(connection, row, policy, requests=count)


def spend(connection: Connection, row: Row[Any], policy: Policy, *, submissions: int = 0, requests: int = 0) -> None:
    """Use up what was granted in this transaction; a submission is a request too."""
    if not submissions and not requests:
        return
    probing = submissions and is_open(row, policy)
    connection.execute(_SPEND, {
        "p_backend": row.backend,
        "p_submit_at": _advance(row.submit_at, row.submit_interval, row.now, submissions),
        "p_request_at": _advance(row.request_at, row.request_interval, row.now, submissions + requests),
        "p_probe_at": row.now + _PROBE_S if probing else row.probe_at,
    })  # fmt: skip


def _pause(row: Row[Any], policy: Policy) -> Grant | None:
    if row.snoozed_until > row.now:
        return Grant(0, row.snoozed_until - row.now, f"the provider asked to slow down: {row.snooze_reason}")
    if is_open(row, policy) and row.probe_at > row.now:
        why = f"the backend fails again and again, last: {row.failure_reason}"
        return Grant(0, row.probe_at - row.now, why)
    return None


def is_open(row: Row[Any], policy: Policy) -> bool:
    """Return whether the breaker is open, so that runs are probes."""
    return row.probe_at is not None and row.failures >= policy.breaker_failures


def _room(connection: Connection, row: Row[Any], most: int) -> Grant:
    caps = [cap for cap in (row.max_in_flight, row.window and int(row.window)) if cap]
    if not caps:
        return Grant(most)
    flying = connection.execute(_IN_FLIGHT, {"p_backend": row.backend}).scalar_one()
    count = max(0, min(most, min(caps) - flying))
    return Grant(count, _LOOK_AGAIN_S, f"{flying + count} runs are in flight, and no more than {min(caps)} may be")


def _rate(row: Row[Any], kind: str, most: int, what: str) -> Grant:
    """Grant by the generic cell rate algorithm; ``…_at`` is the theoretical arrival time of the next one."""
    at, interval, burst = (getattr(row, f"{kind}_{name}") for name in ("at", "interval", "burst"))
    if not interval:
        return Grant(most)
    rate = Rate(interval, burst or 1)
    slack = row.now + rate.burst * interval - max(at, row.now)
    count = max(0, min(most, int(slack / interval + 1e-6)))
    return Grant(count, max(0.0, (count + 1) * interval - slack), f"no more than {rate} {what}")


def _advance(at: float, interval: float | None, time: float, count: int) -> float:
    return max(at, time) + count * interval if interval and count else at


def snooze(connection: Connection, backend: str, reason: str, wait_s: float | None) -> float:
    """Leave a provider alone that asked for it: for the whole fleet, until it may be asked again.

    Args:
        connection: An open transaction.
        backend: The backend.
        reason: The provider's words.
        wait_s: Seconds that it named, if it did; else the wait doubles from one to the next.

    Returns:
        Seconds until then.
    """
    row = _lock_or_make(connection, backend)
    wait = wait_s if wait_s is not None else min(_SNOOZE_LONGEST_S, _SNOOZE_S * 2.0 ** min(row.snoozes, 10))
    wait = min(wait, _ASKED_LONGEST_S)
    connection.execute(
        update(limits)
        .where(limits.c.backend == backend)
        .values(
            snoozed_until=max(row.snoozed_until, row.now + wait), snoozes=row.snoozes + 1, snooze_reason=reason,
        )
    )  # fmt: skip
    return float(wait)


def shrink(connection: Connection, backend: str) -> None:
    """Halve the number of runs in flight that a provider seems to bear: it refused one for their number."""
    row = _lock_or_make(connection, backend)
    flying = connection.execute(_CALLED, {"p_backend": backend}).scalar_one() - 1  # the refused one is not
    if row.window is not None and row.window < flying:
        return  # refused because of those that were submitted under the window before
    window = max(1.0, min(row.window or flying, flying) / 2.0) if flying > 1 else 1.0
    connection.execute(update(limits).where(limits.c.backend == backend).values(window=window))


def failed(
    connection: Connection, backend: str, reason: str, policy: Policy, *, surely: bool = False, probes: bool = False
) -> None:
    """Count a failure of the backend itself; enough of them in a row, or one that is sure, open its breaker.

    Args:
        connection: An open transaction.
        backend: The backend.
        reason: What it said.
        policy: The backend's.
        surely: Whether it will fail again until somebody does something about it.
        probes: Whether the run tried whether the backend works again. While the breaker is open, others do not count:
            they began before.
    """
    row = _lock_or_make(connection, backend)
    if is_open(row, policy) and not probes:
        return
    failures = max(row.failures + 1, policy.breaker_failures if surely else 0)
    probe_at = None
    if failures >= policy.breaker_failures:
        probe_at = row.now + policy.breaker_s * 2.0 ** min(failures - policy.breaker_failures, _DOUBLINGS)
    values = {"failures": failures, "probe_at": probe_at, "failure_reason": reason}
    connection.execute(update(limits).where(limits.c.backend == backend).values(**values))


def is_troubled(row: Row[Any]) -> bool:
    """Return whether a success would change something."""
    return bool(row.failures or row.snoozes or row.window)


_WELL = (
    update(limits)
    .where(
        limits.c.backend == bindparam("p_backend"),
        (limits.c.failures > 0) | (limits.c.snoozes > 0) | limits.c.window.is_not(None),
    )
    .values(failures=0, probe_at=None, failure_reason=None, snoozes=0, window=limits.c.window + 1.0 / limits.c.window)
)


def succeeded(connection: Connection, backend: str) -> None:
    """Close the breaker, and let the window of runs in flight grow by one for each windowful that was taken."""
    connection.execute(_WELL, {"p_backend": backend})


_ANSWERS = (
    update(limits)
    .where(limits.c.backend == bindparam("p_backend"), limits.c.failures > 0)
    .values(failures=0, probe_at=None, failure_reason=None)
)


def answers(connection: Connection, backend: str) -> None:
    """Close the breaker: the backend answers, if only to refuse."""
    connection.execute(_ANSWERS, {"p_backend": backend})


def resume(connection: Connection, backend: str) -> Resumed:
    """Close the breaker and end a pause by hand: somebody knows that the backend works again.

    Rates, the number of runs in flight and the window stay. So does the number of pauses in a row: a provider that asks
    for another one without saying how long is left alone for longer.
    """
    waiting = connection.execute(_WAITING, {"p_backend": backend}).scalar_one()
    row = lock(connection, backend)
    if row is None:
        return Resumed(False, False, waiting)
    closed = {"failures": 0, "probe_at": None, "failure_reason": None}
    over = {"snoozed_until": min(row.snoozed_until, row.now)}
    connection.execute(update(limits).where(limits.c.backend == backend).values(**closed, **over))
    return Resumed(row.probe_at is not None, row.snoozed_until > row.now, waiting)


_WAITING = select(func.count()).where(
    batches.c.backend == bindparam("p_backend"), batches.c.finished_at.is_(None), batches.c.state == BatchState.PENDING
)  # fmt: skip


def _lock_or_make(connection: Connection, backend: str) -> Row[Any]:
    row = lock(connection, backend)
    if row is None:
        insert_new(connection, limits, [{"backend": backend}])
        row = lock(connection, backend)
    assert row is not None
    return row


def configure(connection: Connection, backend: str, quota: Quota) -> None:
    """Take the limits of the configuration, if they are not those taken last: what was set live stays until then.

    A configuration that names none changes nothing: a process that was set up without them must not lift them for all.
    """
    said = quota.model_dump(mode="json", exclude_none=True)
    known = connection.execute(select(limits.c.configured).where(limits.c.backend == backend)).scalar()
    if not said or known == said:
        return
    set_quota(connection, backend, **dict(quota))
    connection.execute(update(limits).where(limits.c.backend == backend).values(configured=said))


def set_quota(connection: Connection, backend: str, **quota: Rate | int | None) -> None:
    """Set limits of a backend for the whole fleet, from now on.

    Args:
        connection: An open transaction.
        backend: The backend.
        quota: ``submit``, ``requests`` (rates) and ``in_flight``; None lifts one; those left out stay.
    """
    row = _lock_or_make(connection, backend)
    values: dict[str, Any] = {}
    for name, prefix in (("submit", "submit"), ("requests", "request")):
        if name in quota:
            rate = quota[name]
            assert rate is None or isinstance(rate, Rate)
            values |= {f"{prefix}_interval": rate and rate.interval_s, f"{prefix}_burst": rate and rate.burst}
            if rate is not None:  # what was used under a stricter one must not hold for its time
                at = getattr(row, f"{prefix}_at")
                values[f"{prefix}_at"] = min(at, row.now + rate.burst * rate.interval_s)
    if "in_flight" in quota:
        values["max_in_flight"] = quota["in_flight"]
    if values:
        connection.execute(update(limits).where(limits.c.backend == backend).values(**values))


def standing(connection: Connection, names: Sequence[str] | None = None) -> Mapping[str, Row[Any]]:
    """Return the limits of backends and how they stand, with the database's time as ``now``."""
    query = select(limits, now().label("now"))
    rows = connection.execute(query if names is None else query.where(limits.c.backend.in_(names)))
    return {row.backend: row for row in rows}


def waits_for(connection: Connection, backend: str, policy: Policy) -> str | None:
    """Return what the next batch of a backend waits for, if not for a worker."""
    row = connection.execute(_ROW, {"p_backend": backend}).one_or_none()
    if row is None:
        return None
    grant = submissions(connection, row, 1, policy)
    return None if grant.count else f"{grant.why}; next in {grant.wait_s:.3g} s"
