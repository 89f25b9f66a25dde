"""``pubworks held`` and ``resolve``: batches of which nobody knows whether the provider took them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from pubworks.cli import consent, render
from pubworks.cli.jobs import AsJson
from pubworks.cli.session import reached
from pubworks.cli.token import Why, by_hand
from pubworks.views.held import Decision, HeldBatch, commands, document, pick

#: Batches whose commands are written out.
_SPELLED_OUT = 3


def held(as_json: AsJson = False) -> None:
    """List the batches that wait for a decision.

    Nobody knows whether the provider took them. Look for each in the provider's own list of jobs, by its id as tag or
    name, or by its time and size.
    """
    with reached() as ledger:
        found = ledger.held()
    if as_json:
        render.emit({"held": [document(batch) for batch in found]})
        return
    if not found:
        render.say("No batch is held.")
        return
    columns = ("ID", "JOB", "BACKEND", "CIRCUITS", "SHOTS", "SINCE", "WHY")
    render.show(render.table(columns, [_row(batch) for batch in found]))
    _say_what_to_do(found)


def _row(batch: HeldBatch) -> tuple[Any, ...]:
    since = render.ago(batch.since)
    return (batch.id, batch.job, batch.backend, batch.num_circuits, batch.shots, since, batch.error or batch.why)


def _say_what_to_do(found: Sequence[HeldBatch]) -> None:
    render.say("Look in the provider's list of jobs. The run is there: adopt it. It is not: resubmit, or fail.")
    for batch in found[:_SPELLED_OUT]:
        render.say("\n" + "\n".join(f"  {command}" for command in commands(batch)))
    if len(found) > _SPELLED_OUT:
        render.say(f"\nAnd so for the other {len(found) - _SPELLED_OUT}.")


def resolve(
    batch_id: Annotated[str, typer.Argument(metavar="ID", help="The batch's id, or enough of its beginning or end.")],
    decision: Annotated[Decision, typer.Argument(metavar="DECISION", help="What becomes of it.", case_sensitive=False)],
    provider_id: Annotated[
        str | None, typer.Argument(metavar="PROVIDER_ID", help="For adopt: the provider's id of the run.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    why: Why = None,
) -> None:
    """Decide on a held batch.

    adopt: the provider took it, its run is watched and fetched. resubmit: it is run again, and paid for again if the
    provider took it after all. fail: it is given up, and its PUBs have no result.
    """
    _check(decision, provider_id)
    with reached() as ledger:
        batch = pick(ledger.held(), batch_id)
        if decision != Decision.ADOPT and not yes:
            _ask(batch, decision)
        with by_hand(f"resolve {batch.id} {decision}", why):
            ledger.resolve(batch, decision, provider_id)
    _conclude(batch, decision, provider_id)


def _check(decision: Decision, provider_id: str | None) -> None:
    if decision == Decision.ADOPT and not (provider_id or "").strip():
        raise typer.BadParameter("adopt needs the provider's id of the run: pubworks resolve ID adopt PROVIDER_ID")
    if decision != Decision.ADOPT and provider_id is not None:
        raise typer.BadParameter(f"{decision} takes no provider's id. To go on with that run: adopt {provider_id}")


def _ask(batch: HeldBatch, decision: Decision) -> None:
    size = f"{batch.num_circuits} circuits of {batch.shots} shots on {batch.backend}"
    if decision == Decision.RESUBMIT:
        question = f"Run {batch.id} again ({size})? If the provider took it after all, it is paid for twice."
    else:
        question = f"Give {batch.id} up ({size})? Its PUBs get no result."
    consent.ask(f"To {decision} batch {batch.id}", question, otherwise="Nothing was decided.")


def _conclude(batch: HeldBatch, decision: Decision, provider_id: str | None) -> None:
    words = {
        Decision.ADOPT: f"goes on with the provider's job {provider_id}",
        Decision.RESUBMIT: "is run again",
        Decision.FAIL: "is given up",
    }
    render.say(f"Batch {batch.id} {words[decision]}. Watch its job: pubworks watch {batch.job}")
