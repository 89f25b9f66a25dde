"""Tokens of the server: made, judged, listed and revoked.

A token is ``pw_<id>_<secret>``. The secret is 256 random bits, so that its plain SHA-256 can be kept: there is
nothing to guess that a slow hash would protect.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, and_, exists, or_, select, update

from pubworks.errors import NotAuthenticated, TokenNotFound
from pubworks.states import Scope
from pubworks.store.engine import now
from pubworks.store.tables import tokens

_PREFIX = "pw"
_ID_BYTES, _SECRET_BYTES = 6, 32

_UNKNOWN = "The token is unknown. `pubworks token create NAME` makes one."

_SHOWN = [column for column in tokens.c if column.name != "hash"]
_VALID = (tokens.c.revoked_at.is_(None), or_(tokens.c.expires_at.is_(None), tokens.c.expires_at > now()))


@dataclass(frozen=True)
class Principal:
    """Who asks, and what they may do."""

    owner: str
    token: str
    scopes: frozenset[Scope]

    def may(self, scope: Scope) -> bool:
        """Return whether a scope of theirs reaches so far.

        >>> Principal("ann", "1", frozenset({Scope.OPERATE})).may(Scope.READ)
        True
        """
        return any(own.rank >= scope.rank for own in self.scopes)

    @property
    def viewer(self) -> str | None:
        """Whose jobs they see: None is everybody's."""
        return None if self.may(Scope.OPERATE) else self.owner


def create(
    connection: Connection, owner: str, scopes: Iterable[Scope], lasts_s: float | None = None
) -> tuple[str, str]:
    """Make a token. Returns its id, and the token itself, which is nowhere else and cannot be had again.

    Args:
        connection: An open transaction.
        owner: Who uses it.
        scopes: What it is good for; a scope includes those before it.
        lasts_s: Seconds until it is over; None: it never is.
    """
    token_id, secret = secrets.token_hex(_ID_BYTES), secrets.token_urlsafe(_SECRET_BYTES)
    ends = None if lasts_s is None else now() + lasts_s
    row = {"id": token_id, "hash": _hash(secret), "owner": owner, "scopes": sorted(scopes)}
    connection.execute(tokens.insert().values(created_at=now(), expires_at=ends, **row))
    return token_id, f"{_PREFIX}_{token_id}_{secret}"


def judge(connection: Connection, token: str) -> Principal:
    """Return whose token this is.

    Raises:
        NotAuthenticated: It is unknown, over or revoked.
    """
    prefix, _, rest = token.partition("_")
    token_id, _, secret = rest.partition("_")
    query = select(tokens, (tokens.c.expires_at <= now()).label("is_over")).where(tokens.c.id == token_id)
    row = connection.execute(query).one_or_none() if prefix == _PREFIX else None
    if not hmac.compare_digest(_hash(secret), row.hash if row else _hash("")) or row is None:
        raise NotAuthenticated(_UNKNOWN)
    return principal_of(row)


def principal_of(row: Row[Any]) -> Principal:
    """Return whose token a row is, which also says whether it ``is_over``.

    Raises:
        NotAuthenticated: It is over or revoked.
    """
    if row.revoked_at is not None or row.is_over:
        why = "was revoked" if row.revoked_at else "is over"
        raise NotAuthenticated(f"The token {row.id} {why}. Ask for another: pubworks token create NAME")
    return Principal(row.owner, row.id, frozenset(map(Scope, row.scopes)))


def list_tokens(connection: Connection) -> Sequence[Row[Any]]:
    """Return all tokens without their hashes, oldest first, each with whether it can be used (``valid``)."""
    shown: list[Any] = [*_SHOWN, and_(*_VALID).label("valid")]
    query = select(*shown).order_by(tokens.c.created_at, tokens.c.id)
    return connection.execute(query).all()


def any_valid(connection: Connection) -> bool:
    """Return whether somebody could use the server."""
    return bool(connection.execute(select(exists().where(*_VALID))).scalar_one())


def revoke(connection: Connection, token_id: str) -> bool:
    """Revoke a token at once. Returns whether it was not revoked before.

    Raises:
        TokenNotFound: There is none with this id.
    """
    mine = tokens.c.id == token_id
    if connection.execute(update(tokens).where(mine, tokens.c.revoked_at.is_(None)).values(revoked_at=now())).rowcount:
        return True
    if connection.execute(select(tokens.c.id).where(mine)).one_or_none() is None:
        raise TokenNotFound(f"No token has the id {token_id!r}. `pubworks token list` shows those there are.")
    return False


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
