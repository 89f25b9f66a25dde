"""The JSON of every read. Keys are added, never renamed or removed; times are ISO 8601 in UTC."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pubworks.clock import iso

if TYPE_CHECKING:
    from pubworks.primitives.timeline import Event
    from pubworks.store.records import JobRecord
    from pubworks.views.session import JobView


def of_record(record: JobRecord, tags: Sequence[str]) -> dict[str, Any]:
    """Return a job without its progress, as ``list`` shows it."""
    return {
        "id": record.id,
        "name": record.name,
        "tags": list(tags),
        "primitive": record.primitive,
        "backend": record.backend,
        "session": record.session,
        "owner": record.owner or None,
        "shared": record.shared,
        "status": str(record.state),
        "num_pubs": record.num_pubs,
        "num_batches": record.num_batches,
        "batches_left": record.batches_left,
        "created_at": iso(record.created_at),
        "started_at": iso(record.started_at),
        "finished_at": iso(record.finished_at),
    }


def of_view(view: JobView) -> dict[str, Any]:
    """Return a job with its progress, as ``submit``, ``status`` and ``watch`` show it."""
    progress = view.progress
    return {
        **of_record(view.record, view.tags),
        "pubs_done": progress.pubs_done,
        "batches": dict(sorted(progress.batches.items())),
        "shots": dict(sorted(progress.shots.items())),
        "backends": progress.backends,
        "estimated_s_left": progress.estimated_s_left and round(progress.estimated_s_left, 1),
        "reasons": progress.reasons,
        "workers": view.num_workers,
        "waits": [
            {
                "status": str(wait.state),
                "batches": wait.num_batches,
                "reason": wait.reason,
                "due_in_s": wait.due_in_s and round(wait.due_in_s, 3),
            }
            for wait in view.waits
        ],
    }


def of_event(event: Event) -> dict[str, Any]:
    """Return what happened to a job, as ``timeline`` shows it."""
    return {
        "at": iso(event.at.timestamp()),
        "what": event.what,
        "batch": event.batch,
        "detail": event.detail,
        "text": event.text,
    }


def of_token(row: Any) -> dict[str, Any]:
    """Return a token, without its secret, as ``token list`` shows it."""
    return {
        "id": row.id,
        "owner": row.owner,
        "scopes": list(row.scopes),
        "valid": bool(row.valid),
        "created_at": iso(row.created_at),
        "expires_at": iso(row.expires_at),
        "revoked_at": iso(row.revoked_at),
    }


def of_audit(row: Any) -> dict[str, Any]:
    """Return who changed what, as ``audit`` shows it."""
    return {
        "id": row.id,
        "at": iso(row.at),
        "who": row.who,
        "token": row.token,
        "what": row.what,
        "jobs": list(row.jobs),
        "why": row.why,
    }
