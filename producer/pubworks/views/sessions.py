"""Sessions, and batches of jobs, as people see them; without Qiskit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pubworks.clock import iso

if TYPE_CHECKING:
    from pubworks.store.records import SessionProgress, SessionRecord
    from pubworks.views.session import Session


@dataclass(frozen=True)
class SessionView:
    """A session as it stands, and how far its jobs are."""

    record: SessionRecord
    progress: SessionProgress
    usage_s: float


def look(session: Session, session_id: str) -> SessionView:
    """Return a session, or batch, of an id or of enough of its beginning or end.

    Raises:
        SessionNotFound: None fits, or several do.
    """
    from pubworks.store import sessions

    with session.store.read() as connection:
        record = sessions.get(connection, sessions.find(connection, session_id))
        progress, usage_s = sessions.progress(connection, record.id), sessions.usage_s(connection, record)
    return SessionView(record, progress, usage_s)


def of_record(record: SessionRecord) -> dict[str, Any]:
    """Return a session without its jobs, as ``list`` shows it."""
    return {
        "id": record.id,
        "mode": str(record.mode),
        "backend": record.backend,
        "status": record.status,
        "accepting_jobs": record.takes_jobs,
        "max_time_s": record.max_time_s,
        "interactive_timeout_s": record.idle_s,
        "created_at": iso(record.created_at),
        "started_at": iso(record.started_at),
        "ends_at": iso(record.ends_at),
        "closed_at": iso(record.closed_at),
    }


def of_view(view: SessionView) -> dict[str, Any]:
    """Return a session with its jobs, as ``show`` shows it."""
    return {
        **of_record(view.record),
        "usage_s": view.usage_s,
        "jobs": dict(sorted(view.progress.jobs.items())),
        "batches": dict(sorted(view.progress.batches.items())),
    }


def in_full(found: SessionRecord | SessionView) -> dict[str, Any]:
    """Return a session, with its jobs or without, and all that its state is made from."""
    record, document = (found.record, of_view(found)) if isinstance(found, SessionView) else (found, of_record(found))
    raw = {name: _plain(name, value) for name, value in vars(record).items()}
    return {**raw, **document}


def _plain(name: str, value: Any) -> Any:
    return iso(value) if name.endswith(("_at", "_since")) else value
