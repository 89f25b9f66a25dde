"""Logins at the page: the cookie of a browser stands for a token, for some hours at most.

A cookie is 256 random bits, of which the database has the SHA-256 only, as of a token. Every request looks both of them
up, so that whatever ends the token ends its logins.
"""

from __future__ import annotations

import hashlib
import secrets

from sqlalchemy import Connection, delete, select

from pubworks.errors import NotAuthenticated
from pubworks.store import tokens as token_store
from pubworks.store.engine import now
from pubworks.store.tables import logins, tokens
from pubworks.store.tokens import Principal

#: Seconds that a login lasts.
LASTS_S = 12 * 3600.0

_SECRET_BYTES = 32
_LONGEST = 200


def begin(connection: Connection, token: str) -> str:
    """Log in with a token. Returns the secret of the cookie, which is nowhere else.

    Raises:
        NotAuthenticated: The token is unknown, over or revoked.
    """
    principal, secret = token_store.judge(connection, token), secrets.token_urlsafe(_SECRET_BYTES)
    connection.execute(delete(logins).where(logins.c.ends_at <= now()))
    row = {"hash": key_of(secret), "token": principal.token}
    connection.execute(logins.insert().values(created_at=now(), ends_at=now() + LASTS_S, **row))
    return secret


def judge(connection: Connection, secret: str) -> Principal:
    """Return who has logged in with this cookie.

    Raises:
        NotAuthenticated: Nobody has, or it was too long ago, or the token is over or revoked.
    """
    query = (
        select(tokens, (tokens.c.expires_at <= now()).label("is_over"))
        .join(logins, logins.c.token == tokens.c.id)
        .where(logins.c.hash == key_of(secret[:_LONGEST]), logins.c.ends_at > now())
    )
    row = connection.execute(query).one_or_none()
    if row is None:
        raise NotAuthenticated("Your login is over. Log in again.")
    return token_store.principal_of(row)


def end(connection: Connection, secret: str) -> None:
    """Log out."""
    connection.execute(delete(logins).where(logins.c.hash == key_of(secret)))


def valid(connection: Connection) -> set[str]:
    """Return the keys of the logins that have not ended; their tokens may have."""
    return set(connection.execute(select(logins.c.hash).where(logins.c.ends_at > now())).scalars())


def key_of(secret: str) -> str:
    """Return under which key the database has a cookie."""
    return hashlib.sha256(secret.encode()).hexdigest()
