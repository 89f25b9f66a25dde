"""What a shell completes with Tab: ids, backends and tags.

It must be quick, change nothing, and be silent whatever is wrong. What a shell could take for more than a word is left
out: names and tags come from others.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sqlalchemy import Connection

#: Most words that are offered.
_MOST = 50

#: Seconds until nothing is offered, as when the database is away.
_PATIENCE_S = 1.5

_WORD = re.compile(r"[\w.,:@%+=/-]+")
_NOT_PLAIN = re.compile(r"[^\w .,-]")


def job_ids(incomplete: str) -> list[tuple[str, str]]:
    """Return ids that begin so, the newest first, with state and name."""
    from pubworks.store import listing

    rows = _ask(lambda connection: listing.ids_like(connection, incomplete, _MOST))
    return [(job_id, _NOT_PLAIN.sub("?", f"{state} {name or ''}".strip())) for job_id, state, name in rows]


def tags(incomplete: str) -> list[str]:
    """Return tags that begin so."""
    from pubworks.store import listing

    return [tag for tag in _ask(lambda connection: listing.tags_like(connection, incomplete, _MOST)) if _is_word(tag)]


def session_ids(incomplete: str) -> list[tuple[str, str]]:
    """Return ids of sessions and batches that begin so, the newest first, with kind, state and backend."""
    from pubworks.store import sessions

    found = [
        one for one in _ask(lambda connection: sessions.newest(connection, _MOST)) if one.id.startswith(incomplete)
    ]
    return [(one.id, _NOT_PLAIN.sub("?", f"{one.mode} {one.status}, {one.backend}")) for one in found]


def backends(incomplete: str) -> list[str]:
    """Return names of registered backends that begin so."""
    try:
        from pubworks.backends import registry
        from pubworks.settings import load_settings

        names = registry.registered(load_settings())
    except Exception:
        return []
    return sorted(name for name in names if name.startswith(incomplete) and _is_word(name))


def _is_word(text: str) -> bool:
    return _WORD.fullmatch(text) is not None


def _ask(query: Callable[[Connection], list[Any]]) -> list[Any]:
    """Return what a query gives; nothing, where the database is not there, or does not answer soon."""
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.extend(_read(query)), daemon=True)
    thread.start()
    thread.join(_PATIENCE_S)
    return list(found)


def _read(query: Callable[[Connection], list[Any]]) -> list[Any]:
    try:
        from pubworks.settings import load_settings
        from pubworks.store.place import missing_file
        from pubworks.store.store import Store

        settings = load_settings()
        url = settings.database_url
        if settings.is_remote or missing_file(url):
            return []  # to open it would make it
        with Store(url).read() as connection:
            return query(connection)
    except Exception:
        return []
