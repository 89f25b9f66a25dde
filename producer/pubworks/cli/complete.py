"""What a shell completes with Tab: ids, backends and tags.

It must be quick, change nothing, and be silent whatever is wrong. What a shell could take for more than a word is left
out: names and tags come from others.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from contextlib import closing, suppress
from functools import partial
from typing import TYPE_CHECKING

from pubworks.views.words import Kind

if TYPE_CHECKING:
    from pubworks.ledger.remote import RemoteLedger
    from pubworks.store.store import Store

#: Seconds until nothing is offered, as when the database or the server is away.
_PATIENCE_S = 1.5

_WORD = re.compile(r"[\w.,:@%+=/-]+")
_NOT_PLAIN = re.compile(r"[^\w .,-]")


def job_ids(incomplete: str) -> list[tuple[str, str]]:
    """Return ids that begin so, the newest first, with state and name."""
    return _ask(Kind.JOB, incomplete)


def tags(incomplete: str) -> list[str]:
    """Return tags that begin so."""
    return [tag for tag, _ in _ask(Kind.TAG, incomplete)]


def session_ids(incomplete: str) -> list[tuple[str, str]]:
    """Return ids of sessions and batches that begin so, the newest first, with kind, state and backend."""
    return _ask(Kind.SESSION, incomplete)


def backends(incomplete: str) -> list[str]:
    """Return names of registered backends that begin so."""
    return [name for name, _ in _ask(Kind.BACKEND, incomplete)]


def _ask(kind: Kind, beginning: str) -> list[tuple[str, str]]:
    """Return words with what they are about; none where nobody answers soon."""
    found: list[tuple[str, str]] = []
    with suppress(Exception):
        look = _way(kind, beginning)
        thread = threading.Thread(target=lambda: found.extend(_quietly(look)), daemon=True)
        thread.start()
        thread.join(_PATIENCE_S)
    return [(word, _NOT_PLAIN.sub("?", about)) for word, about in list(found) if _WORD.fullmatch(word)]


def _quietly(look: Callable[[], list[tuple[str, str]]]) -> list[tuple[str, str]]:
    try:
        return look()
    except Exception:
        return []


def _way(kind: Kind, beginning: str) -> Callable[[], list[tuple[str, str]]]:
    """Return what asks for the words, with all imported that it needs: only who is asked may be slow."""
    from pubworks.settings import load_settings
    from pubworks.views import words

    settings = load_settings()
    if settings.is_remote:
        import httpx  # noqa: F401

        from pubworks.ledger.remote import RemoteLedger

        return partial(_served, RemoteLedger(settings), kind, beginning)
    if kind == Kind.BACKEND:
        return partial(words.backends, settings, beginning)
    from pubworks.store.place import missing_file
    from pubworks.store.store import Store

    url = settings.database_url
    return list if missing_file(url) else partial(_stored, Store(url), kind, beginning)  # to open it would make it


def _served(ledger: RemoteLedger, kind: Kind, beginning: str) -> list[tuple[str, str]]:
    with closing(ledger):
        return ledger.words(kind, beginning)


def _stored(store: Store, kind: Kind, beginning: str) -> list[tuple[str, str]]:
    from pubworks.views import words

    with closing(store), store.read() as connection:
        return words.stored(connection, kind, beginning)
