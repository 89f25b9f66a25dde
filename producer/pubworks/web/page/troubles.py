"""What needs a person: errors, and batches that are held for a decision."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Form, Path, Query
from fastapi.responses import Response

from pubworks.errors import ConfigError
from pubworks.states import Scope
from pubworks.store.audit import because
from pubworks.views.held import Decision, document, find_held
from pubworks.web.desk import Operator, Submitter
from pubworks.web.page.live import Sheet
from pubworks.web.page.visit import CHECKED, Visit, Visiting, Why, done, serve
from pubworks.web.routes import held as held_api
from pubworks.web.routes import overview as api
from pubworks.web.routes.overview import ErrorChoice

router = APIRouter()

_BatchId = Annotated[str, Path(max_length=64)]
_Choice = Annotated[ErrorChoice, Query()]


def _errors_sheet(visit: Visiting) -> Sheet:
    look = partial(api.list_errors, visit.desk, visit.who)
    return Sheet("errors", "Errors", look, ("rows",), ("errors", visit.sees))


def _held_sheet(visit: Visiting) -> Sheet:
    visit.needs(Scope.OPERATE)
    return Sheet("held", "Held", partial(_held, visit), ("rows",), ("held", visit.sees))


def _held(visit: Visit) -> dict[str, Any]:
    return held_api.held(visit.desk, visit.who)


serve(router, "/errors", _errors_sheet)
serve(router, "/held", _held_sheet)


@router.get("/errors/retry")
def ask_to_retry(visit: Visiting, choice: _Choice, _who: Submitter) -> Response:
    """Ask whether to retry all jobs with an error."""
    found = api.list_errors(visit.desk, visit.who)["errors"]
    same = (choice.backend, choice.kind or None, choice.message)
    error = next((one for one in found if (one["backend"], one["kind"], one["message"]) == same), None)
    return visit.ask("Retry all with this error", "errors_retry", error=error)


@router.post("/errors/retry", dependencies=CHECKED)
def retry(visit: Visiting, choice: _Choice, who: Submitter, why: Why = "") -> Response:
    """Retry all jobs with an error."""
    with because(why):
        api.retry_errors(choice.model_copy(update={"kind": choice.kind or None}), visit.desk, who)
    return done("/errors")


@router.get("/held/{batch_id}")
def ask_what_becomes(visit: Visiting, batch_id: _BatchId, _who: Operator) -> Response:
    """Ask what becomes of a held batch."""
    return visit.ask("Decide on a held batch", "held_decide", batch=document(find_held(visit.desk.session, batch_id)))


@router.post("/held/{batch_id}", dependencies=CHECKED)
def decide(
    visit: Visiting, batch_id: _BatchId, who: Operator, *, decision: Annotated[Decision, Form()],
    provider_id: Annotated[str, Form(max_length=1000)] = "", why: Why = "",
) -> Response:  # fmt: skip
    """Decide on a held batch."""
    named = provider_id.strip() if decision == Decision.ADOPT else None
    if named == "":
        raise ConfigError("To adopt a run, give the id by which the provider knows it.")
    resolution = held_api.Resolution(decision=decision, provider_id=named)
    with because(why):
        held_api.resolve(batch_id, resolution, visit.desk, who)
    return done("/held")
