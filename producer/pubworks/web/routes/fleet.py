"""Backends, their limits, and workers."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path
from pydantic import BaseModel, ConfigDict, Field, field_validator

from pubworks.policy import Quota, Rate
from pubworks.states import Scope
from pubworks.store import fleet
from pubworks.store.tokens import Principal
from pubworks.views import limits
from pubworks.views.fleet import document, in_full, learned, look_at, look_at_backends, worker_document
from pubworks.web import models
from pubworks.web.desk import AtDesk, Operator, Reader

router = APIRouter(prefix="/v1", tags=["fleet"])

Name = Annotated[str, Path(description="The backend's name.", max_length=200)]


class LimitChanges(BaseModel):
    """Limits to set; null lifts one, and what is left out stays."""

    model_config = ConfigDict(extra="forbid")

    submit: str | None = Field(None, description="Submissions, as 5/min or '20/s burst 4'.", examples=["5/min"])
    requests: str | None = Field(None, description="Calls of any kind.", examples=["20/s burst 4"])
    in_flight: int | None = Field(None, gt=0, lt=2**31, description="Most provider jobs at once.", examples=[3])

    @field_validator("submit", "requests")
    @classmethod
    def _is_a_rate(cls, text: str | None) -> str | None:
        return None if text is None else str(Rate.parse(text))


@router.get("/backends", response_model=models.Backends)
def backends(desk: AtDesk, who: Reader) -> dict[str, Any]:
    """List the registered backends, and what workers found out about them."""
    found = look_at_backends(desk.session)
    return {"backends": [_shown({**document(view), "learned": learned(view)}, who) for view in found]}


@router.get("/backends/{name}", response_model=models.BackendInFull)
def backend(name: Name, desk: AtDesk, who: Reader) -> dict[str, Any]:
    """Show a registered backend: what it is set to, and what workers found out about it."""
    return _shown(in_full(look_at(desk.session, name)), who)


def _shown(known: dict[str, Any], who: Principal) -> dict[str, Any]:
    """Return a backend without what is for operators: names of code, also in its price."""
    hidden = {} if who.may(Scope.OPERATE) else dict.fromkeys(known.keys() & {"factory", "adapter", "price"})
    return {**known, **hidden}


@router.get("/backends/{name}/limits", response_model=models.Limits)
def get_limits(name: Name, desk: AtDesk, _who: Reader) -> dict[str, Any]:
    """Show how much of a backend the fleet may use, and how that stands."""
    limits.check_name(desk.session, name)
    return limits.document(name, limits.look(desk.session, name))


@router.patch("/backends/{name}/limits", response_model=models.Limits)
def set_limits(name: Name, changes: LimitChanges, desk: AtDesk, _who: Operator) -> dict[str, Any]:
    """Change limits of a backend for the whole fleet, at once, until those in the settings change."""
    limits.check_name(desk.session, name)
    said = changes.model_dump(exclude_unset=True)
    if said:
        quota = Quota(**said)
        limits.change(desk.session, name, {key: getattr(quota, key) for key in said})
    return limits.document(name, limits.look(desk.session, name))


@router.post("/backends/{name}/forget", response_model=models.Forgotten)
def forget(name: Name, desk: AtDesk, _who: Operator) -> dict[str, Any]:
    """Forget the limits that a backend's provider taught by refusing runs; it may teach them again."""
    limits.check_name(desk.session, name)
    with desk.session.store.write() as connection:
        return {"forgotten": fleet.forget(connection, name)}


@router.post("/backends/{name}/resume", response_model=models.Resumed)
def resume(name: Name, desk: AtDesk, _who: Operator) -> dict[str, Any]:
    """Close a backend's breaker, and end the pause that its provider asked for: what waits for it goes on at once."""
    breaker, pause, waiting = desk.client.ledger.resume(name)
    return {"breaker_closed": breaker, "pause_ended": pause, "waiting_batches": waiting}


@router.get("/workers", response_model=models.Workers)
def workers(desk: AtDesk, _who: Reader) -> dict[str, Any]:
    """List the workers that are alive."""
    with desk.session.store.read() as connection:
        rows = fleet.list_workers(connection, desk.session.settings.lease_s)
    return {"workers": [worker_document(row) for row in rows]}


@router.post("/workers/{worker_id}/drain", response_model=models.Worker)
def drain_worker(
    worker_id: Annotated[str, Path(description="The worker's id.", max_length=64)], desk: AtDesk, _who: Operator
) -> dict[str, Any]:
    """Have a worker take nothing more, finish what it runs, hand back what takes too long, and end."""
    with desk.session.store.write() as connection:
        return worker_document(fleet.drain(connection, worker_id, desk.session.settings.lease_s))
