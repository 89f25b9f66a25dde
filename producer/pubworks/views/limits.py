"""The limits of a backend: how they stand, how they are changed, and their JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pubworks.clock import iso

if TYPE_CHECKING:
    from pubworks.policy import Quota
    from pubworks.store.standing import Standing
    from pubworks.views.session import Session


@dataclass(frozen=True)
class Limits:
    """The limits of a backend: as they stand, and as this process's configuration has them."""

    quota: Quota
    configured: Quota
    #: None: no worker has taken the configured limits yet, and none were set.
    standing: Standing | None


def check_name(session: Session, name: str) -> None:
    """Raise unless a backend of this name is registered.

    Raises:
        ConfigError: There is none; the message names those that are near.
    """
    from pubworks.backends import registry

    registry.find(session.settings, name)


def change(session: Session, name: str, changes: dict[str, Any]) -> None:
    """Change limits of a backend for the whole fleet; None lifts one."""
    from pubworks.store import limits as store
    from pubworks.store.authors import concerning

    said = " ".join(f"{limit}={'none' if value is None else value}" for limit, value in changes.items())
    with concerning(said), session.store.write() as connection:
        row = store.standing(connection, [name]).get(name)
        if row is None or row.configured is None:  # else the first worker would put them in place of these
            store.configure(connection, name, _configured(session, name))
        store.set_quota(connection, name, **changes)
    session.ring(name)


def _configured(session: Session, name: str) -> Quota:
    from pubworks.backends import registry

    return registry.find(session.settings, name).quota


def look(session: Session, name: str) -> Limits:
    """Return the limits of a backend, and how they stand."""
    from pubworks.store.standing import standing

    configured = _configured(session, name)
    with session.store.read() as connection:
        stands = standing(connection, name, session.policy(name))
    return Limits(stands.quota if stands else configured, configured, stands)


def document(name: str, found: Limits) -> dict[str, Any]:
    """Return the limits of a backend as JSON values."""
    stands = found.standing
    return {
        "name": name,
        "limits": found.quota.model_dump(mode="json"),
        "configured": found.configured.model_dump(mode="json"),
        "submissions_left": stands and stands.submissions_left,
        "requests_left": stands and stands.requests_left,
        "in_flight": stands.in_flight if stands else 0,
        "window": stands and stands.window,
        "snoozed_until": iso(stands.snoozed_until) if stands else None,
        "snooze_reason": stands and stands.snooze_reason,
        "breaker": "open" if stands and stands.probe_at is not None else "closed",
        "failures": stands.failures if stands else 0,
        "failure_reason": stands and stands.failure_reason,
        "next_probe_at": iso(stands.probe_at) if stands else None,
    }
