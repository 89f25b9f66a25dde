"""Words that a shell completes: ids, tags and names of backends."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from pubworks.settings import Settings

#: Most words that are offered.
MOST = 50


class Kind(StrEnum):
    """What a word names."""

    JOB = "job"
    SESSION = "session"
    TAG = "tag"
    BACKEND = "backend"


def backends(settings: Settings, beginning: str) -> list[tuple[str, str]]:
    """Return the names of registered backends that begin so, sorted, with nothing to say of them."""
    from pubworks.backends import registry

    return [(name, "") for name in sorted(registry.registered(settings)) if name.startswith(beginning)][:MOST]


def stored(connection: Connection, kind: Kind, beginning: str, viewer: str | None = None) -> list[tuple[str, str]]:
    """Return words of a database that begin so, each with what it is about.

    Args:
        connection: An open connection.
        kind: Jobs and sessions, batches too, by their ids, the newest first; or tags, sorted.
        beginning: How they begin.
        viewer: Only what this user of the server may see.
    """
    from pubworks.store import listing, sessions

    if kind == Kind.JOB:
        return [
            (job, f"{state} {name or ''}".strip())
            for job, state, name in listing.ids_like(connection, beginning, MOST, viewer)
        ]
    if kind == Kind.TAG:
        return [(tag, "") for tag in listing.tags_like(connection, beginning, MOST, viewer)]
    found = sessions.newest(connection, MOST, owner=viewer)
    return [(one.id, f"{one.mode} {one.status}, {one.backend}") for one in found if one.id.startswith(beginning)]
