"""Tokens, the audit, and health."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import select

from pubworks.states import Scope
from pubworks.store import audit, tokens
from pubworks.store.authors import concerning
from pubworks.store.engine import now
from pubworks.views import documents
from pubworks.web import models
from pubworks.web.desk import Admin, AtDesk, Reader

router = APIRouter(prefix="/v1", tags=["access"])


class TokenRequest(BaseModel):
    """A token to be made."""

    model_config = ConfigDict(extra="forbid")

    owner: str = Field(min_length=1, max_length=200, pattern=r"^[\w.@+-]+$", examples=["ann"])
    scopes: list[Scope] = Field(min_length=1, max_length=4, examples=[["submit"]])
    lasts_s: float | None = Field(None, gt=0, le=1e10, description="Seconds until it is over.", examples=[2592000])


@router.get("/health", response_model=models.Health, dependencies=[])
def health(desk: AtDesk) -> dict[str, Any]:
    """Tell whether the server and its database answer; needs no token."""
    with desk.session.store.read() as connection:
        time = connection.execute(select(now())).scalar_one()
    return {"status": "ok", "now": time}


@router.get("/me", response_model=models.Me)
def me(who: Reader) -> dict[str, Any]:
    """Tell whose token was sent, and what it is good for."""
    return {"owner": who.owner, "token": who.token, "scopes": sorted(who.scopes)}


@router.get("/tokens", response_model=models.Tokens)
def list_tokens(desk: AtDesk, _who: Admin) -> dict[str, Any]:
    """List all tokens, without their secrets."""
    with desk.session.store.read() as connection:
        return {"tokens": [documents.of_token(row) for row in tokens.list_tokens(connection)]}


@router.post("/tokens", response_model=models.NewToken, status_code=201)
def create_token(asked: TokenRequest, desk: AtDesk, _who: Admin) -> dict[str, Any]:
    """Make a token. The answer is the only place where it is ever shown."""
    scopes = sorted(set(asked.scopes))
    with concerning(f"{asked.owner} {','.join(scopes)}"), desk.session.store.write() as connection:
        token_id, token = tokens.create(connection, asked.owner, scopes, asked.lasts_s)
    return {"id": token_id, "owner": asked.owner, "scopes": scopes, "token": token}


@router.delete("/tokens/{token_id}", response_model=models.RevokedToken)
def revoke_token(
    token_id: Annotated[str, Path(description="The token's id.", max_length=64)], desk: AtDesk, _who: Admin
) -> dict[str, Any]:
    """Revoke a token at once."""
    with desk.session.store.write() as connection:
        return {"id": token_id, "revoked": tokens.revoke(connection, token_id)}


@router.get("/audit", response_model=models.Audit)
def read_audit(
    desk: AtDesk, _who: Admin,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    before: Annotated[int | None, Query(ge=1, lt=2**63, description="Only entries with a smaller id.")] = None,
) -> dict[str, Any]:  # fmt: skip
    """Show who changed what, and why, newest first."""
    with desk.session.store.read() as connection:
        return {"entries": [documents.of_audit(row) for row in audit.entries(connection, limit, before)]}
