"""Who changes something, and why, as long as they do; without SQLAlchemy, for those who change it over a server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, replace

#: Longest reason that is kept, in characters.
LONGEST_WHY = 500


@dataclass(frozen=True)
class Author:
    """Who changes something."""

    #: A user of the server, or ``cli:`` and the name of the account.
    who: str
    what: str
    why: str | None = None
    #: Id of the token that was used.
    token: str | None = None


_author: ContextVar[Author | None] = ContextVar("pubworks_author", default=None)


@contextmanager
def acting(author: Author) -> Iterator[None]:
    """Have every transaction that writes in this context, and in threads that copy it, tell its author."""
    before = _author.set(author)
    try:
        yield
    finally:
        _author.reset(before)


def current() -> Author | None:
    """Return who is at work in this context."""
    return _author.get()


def because(why: str | None) -> AbstractContextManager[None]:
    """Have the author of this context, if there is one, give this reason."""
    author = _author.get()
    return nullcontext() if author is None else acting(replace(author, why=why))


def concerning(whom: str) -> AbstractContextManager[None]:
    """Have the author of this context, if there is one, tell what else it is about."""
    author = _author.get()
    return nullcontext() if author is None else acting(replace(author, what=f"{author.what} {whom}"))
