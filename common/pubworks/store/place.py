"""Where a database is, without what opens it: what may be written down or sent to another process."""

from __future__ import annotations

import re
from pathlib import Path

from sqlalchemy.engine import URL, make_url

from pubworks.store.memory import is_memory

#: Keys of a URL's query that hold, or lead to, secrets.
_SECRET = re.compile(r"password|passwd|secret|token|key|passfile|service", re.IGNORECASE)


def place_of(url: str) -> str:
    """Return a database's URL without secrets, with the whole path of a file.

    >>> place_of("postgresql+psycopg://lab:s3cret@db.lab/pubworks?sslpassword=s3cret")
    'postgresql+psycopg://lab@db.lab/pubworks'
    """
    parsed = make_url(url)
    is_file = parsed.database not in (None, "", ":memory:") and not is_memory(url)
    if parsed.get_backend_name() == "sqlite" and is_file:
        parsed = parsed.set(database=str(Path(str(parsed.database)).resolve()))
    return _without_secrets(parsed).render_as_string(hide_password=False)


def has_secrets(url: str) -> bool:
    """Return whether a URL holds what :func:`place_of` leaves out.

    >>> has_secrets("postgresql://lab@db.lab/pubworks"), has_secrets("postgresql://lab:s3cret@db.lab/pubworks")
    (False, True)
    """
    parsed = make_url(url)
    return _without_secrets(parsed) != parsed


def missing_file(url: str) -> Path | None:
    """Return the file of a SQLite database that is not there."""
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite" or not parsed.database or Path(parsed.database).exists():
        return None
    return Path(parsed.database)


def _without_secrets(url: URL) -> URL:
    safe = url.set(password=None) if url.password is None else URL.create(
        url.drivername, url.username, None, url.host, url.port, url.database, url.query
    )  # fmt: skip
    return safe.difference_update_query([key for key in url.query if _SECRET.search(key)])
