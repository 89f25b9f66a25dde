"""Batches of which nobody knows whether the provider took them."""

from __future__ import annotations

from typing import Annotated, Any, Self

from fastapi import APIRouter, Path
from pydantic import BaseModel, ConfigDict, Field, model_validator

from pubworks.store import doubts
from pubworks.views import documents
from pubworks.views.held import Decision, document, find_held, list_held
from pubworks.web import models
from pubworks.web.desk import AtDesk, Operator

router = APIRouter(prefix="/v1/held", tags=["held"])


class Resolution(BaseModel):
    """What becomes of a held batch."""

    model_config = ConfigDict(extra="forbid")

    decision: Decision
    provider_id: str | None = Field(None, max_length=1000, description="For adopt: the provider's id of the run.")

    @model_validator(mode="after")
    def _adopts_something(self) -> Self:
        if (self.decision == Decision.ADOPT) != bool((self.provider_id or "").strip()):
            raise ValueError("adopt, and nothing else, needs the provider's id of the run: provider_id")
        return self


@router.get("", response_model=models.HeldBatches)
def held(desk: AtDesk, _who: Operator) -> dict[str, Any]:
    """List the batches that wait for a decision, oldest first."""
    with desk.session.store.read() as connection:
        return {"held": [document(batch) for batch in list_held(connection)]}


@router.post("/{batch_id}", response_model=models.JobStatus)
def resolve(
    batch_id: Annotated[str, Path(max_length=64)], resolution: Resolution, desk: AtDesk, _who: Operator
) -> dict[str, Any]:
    """Decide on a held batch, and show its job. What is resubmitted although the provider took it is paid for twice."""
    batch = find_held(desk.session, batch_id)
    with desk.session.store.write() as connection:
        doubts.resolve(connection, batch.id, str(resolution.decision), resolution.provider_id)
    desk.session.ring(batch.backend)
    return documents.of_view(desk.session.view(batch.job))
