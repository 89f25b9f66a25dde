"""Words for the completion of a shell."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query

from pubworks.views import words
from pubworks.views.words import Kind
from pubworks.web import models
from pubworks.web.desk import AtDesk, Reader

router = APIRouter(prefix="/v1", tags=["words"])


@router.get("/words", response_model=models.Words)
def complete(
    desk: AtDesk, who: Reader, kind: Kind,
    begins: Annotated[str, Query(max_length=200, description="How the words begin.")] = "",
) -> dict[str, Any]:  # fmt: skip
    """List ids, tags or names of backends that begin so: of what one may see."""
    if kind == Kind.BACKEND:
        found = words.backends(desk.session.settings, begins)
    else:
        with desk.session.store.read() as connection:
            found = words.stored(connection, kind, begins, who.viewer)
    return {"words": [{"word": word, "about": about} for word, about in found]}
