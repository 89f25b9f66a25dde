"""Backends with their limits, and workers."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import asdict
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Form, Path
from fastapi.responses import Response
from pydantic import ValidationError

from pubworks.errors import ConfigError
from pubworks.states import Scope
from pubworks.store import pace, parts
from pubworks.store.audit import because
from pubworks.views import limits
from pubworks.views.fleet import look_at_backends
from pubworks.web.desk import Operator
from pubworks.web.page.live import Sheet
from pubworks.web.page.visit import CHECKED, Visit, Visiting, Why, done, serve
from pubworks.web.routes import fleet as api
from pubworks.web.routes.fleet import LimitChanges, Name

router = APIRouter()

_Rate = Annotated[str, Form(max_length=100)]
_WorkerId = Annotated[str, Path(max_length=64)]


def _backends_sheet(visit: Visiting) -> Sheet:
    return Sheet("backends", "Backends", partial(_backends, visit), ("cards",), ("backends", visit.sees), tick_s=2.0)


def _backends(visit: Visit) -> dict[str, Any]:
    session = visit.desk.session
    known = {view.name for view in look_at_backends(session) if view.spec is not None}
    found = []
    for backend in api.backends(visit.desk, visit.who)["backends"]:
        name = backend["name"]
        stands = limits.document(name, limits.look(session, name)) if name in known else None
        with session.store.read() as connection:
            speed = pace.pace(connection, name)
        found.append({**backend, "stands": stands, "pace": speed and asdict(speed)})
    return {"backends": sorted(found, key=lambda one: not (one["workers"] or one["waiting_batches"] or one["pace"]))}


def _workers_sheet(visit: Visiting) -> Sheet:
    return Sheet("workers", "Workers", partial(_workers, visit), ("rows",), ("workers", visit.sees), tick_s=2.0)


def _workers(visit: Visit) -> dict[str, Any]:
    with visit.desk.session.store.read() as connection:
        held = parts.in_hand(connection, visit.who.viewer)
    by_worker = defaultdict(list)
    for batch in held:
        by_worker[str(batch.lease_owner).partition("/")[0]].append(batch)
    workers = api.workers(visit.desk, visit.who)["workers"]
    return {"workers": [{**worker, "in_hand": by_worker[worker["id"]]} for worker in workers]}


serve(router, "/backends", _backends_sheet)
serve(router, "/workers", _workers_sheet)


@router.get("/backends/{name}/limits")
def ask_for_limits(visit: Visiting, name: Name, who: Operator) -> Response:
    """Ask how much of a backend the fleet may use."""
    return visit.ask(f"Limits of {name}", "backend_limits", stands=api.get_limits(name, visit.desk, who))


@router.post("/backends/{name}/limits", dependencies=CHECKED)
def set_limits(
    visit: Visiting, name: Name, who: Operator, *,
    submit: _Rate = "", requests: _Rate = "", in_flight: _Rate = "", why: Why = "",
) -> Response:  # fmt: skip
    """Set all limits of a backend; what is empty is not limited."""
    said = {"submit": submit.strip(), "requests": requests.strip(), "in_flight": in_flight.strip()}
    try:
        changes = LimitChanges.model_validate({key: text or None for key, text in said.items()})
    except ValidationError as error:
        raise ConfigError("; ".join(f"{item['loc'][0]}: {item['msg']}" for item in error.errors())) from None
    with because(why):
        api.set_limits(name, changes, visit.desk, who)
    return done("/backends")


@router.get("/backends/{name}/resume")
def ask_to_resume(visit: Visiting, name: Name, who: Operator) -> Response:
    """Ask whether the work of a backend is to go on."""
    return visit.ask(f"Resume {name}", "backend_resume", stands=api.get_limits(name, visit.desk, who))


@router.post("/backends/{name}/resume", dependencies=CHECKED)
def resume(visit: Visiting, name: Name, who: Operator, why: Why = "") -> Response:
    """Have the work of a backend go on."""
    with because(why):
        api.resume(name, visit.desk, who)
    return done("/backends")


@router.get("/workers/{worker_id}/drain")
def ask_to_drain(visit: Visiting, worker_id: _WorkerId) -> Response:
    """Ask whether to drain a worker."""
    visit.needs(Scope.OPERATE)
    worker = next((one for one in _workers(visit)["workers"] if one["id"] == worker_id), None)
    return visit.ask("Drain the worker", "worker_drain", worker=worker, worker_id=worker_id)


@router.post("/workers/{worker_id}/drain", dependencies=CHECKED)
def drain(visit: Visiting, worker_id: _WorkerId, who: Operator, why: Why = "") -> Response:
    """Drain a worker."""
    with because(why):
        api.drain_worker(worker_id, visit.desk, who)
    return done("/workers")
