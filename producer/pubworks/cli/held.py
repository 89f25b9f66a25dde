"""``pubworks held`` and ``resolve``: batches of which nobody knows whether the provider took them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pubworks.cli import exits, render
from pubworks.cli.jobs import AsJson
from pubworks.cli.session import Session, opened
from pubworks.errors import BatchNotHeld

if TYPE_CHECKING:
    from sqlalchemy import Connection

#: Batches whose commands are written out.
_SPELLED_OUT = 3


class Decision(StrEnum):
    """What can become of a held batch."""

    #: The provider took it: its job is watched and fetched.
    ADOPT = "adopt"
    #: The provider did not take it, or paying twice is fine: it is run again.
    RESUBMIT = "resubmit"
    #: It is given up.
    FAIL = "fail"


@dataclass(frozen=True)
class HeldBatch:
    """A batch that waits for a decision."""

    id: str
    job: str
    backend: str
    num_circuits: int
    shots: int
    #: When the run was begun that is in doubt; seconds since 1970.
    since: float | None
    why: str
    #: What the call of the provider came to.
    error: str | None


def held(as_json: AsJson = False) -> None:
    """List the batches that wait for a decision: nobody knows whether the provider took them.

    Look for each in the provider's own list of jobs, by its id as tag or name, or by its time and size.
    """
    with opened() as session, session.store.read() as connection:
        found = list_held(connection)
    if as_json:
        render.emit({"held": [_document(batch) for batch in found]})
        return
    if not found:
        render.say("No batch is held.")
        return
    columns = ("ID", "JOB", "BACKEND", "CIRCUITS", "SHOTS", "SINCE", "WHY")
    render.show(render.table(columns, [_row(batch) for batch in found]))
    _say_what_to_do(found)


def list_held(connection: Connection) -> list[HeldBatch]:
    """Return the batches that wait for a decision, oldest first."""
    from pubworks.store import doubts, waiting

    rows = doubts.held(connection)
    runs = waiting.runs_in_doubt(connection, [row.id for row in rows])
    return [
        HeldBatch(
            row.id, row.job_id, row.backend, row.num_circuits, row.shots,
            runs[row.id].claimed_at if row.id in runs else None,
            row.reason, runs[row.id].error if row.id in runs else None,
        )
        for row in rows
    ]  # fmt: skip


def _document(batch: HeldBatch) -> dict[str, Any]:
    return {
        "id": batch.id,
        "job": batch.job,
        "backend": batch.backend,
        "circuits": batch.num_circuits,
        "shots": batch.shots,
        "since": render.iso(batch.since),
        "why": batch.why,
        "error": batch.error,
        "resolve": _commands(batch),
    }


def _row(batch: HeldBatch) -> tuple[Any, ...]:
    since = render.ago(batch.since)
    return (batch.id, batch.job, batch.backend, batch.num_circuits, batch.shots, since, batch.error or batch.why)


def _commands(batch: HeldBatch) -> list[str]:
    return [f"pubworks resolve {batch.id} {choice}" for choice in ("adopt PROVIDER_ID", "resubmit", "fail")]


def _say_what_to_do(found: Sequence[HeldBatch]) -> None:
    render.say("Look in the provider's list of jobs. The run is there: adopt it. It is not: resubmit, or fail.")
    for batch in found[:_SPELLED_OUT]:
        render.say("\n" + "\n".join(f"  {command}" for command in _commands(batch)))
    if len(found) > _SPELLED_OUT:
        render.say(f"\nAnd so for the other {len(found) - _SPELLED_OUT}.")


def resolve(
    batch_id: Annotated[str, typer.Argument(metavar="ID", help="The batch's id, or enough of its beginning or end.")],
    decision: Annotated[Decision, typer.Argument(metavar="DECISION", help="What becomes of it.", case_sensitive=False)],
    provider_id: Annotated[
        str | None, typer.Argument(metavar="PROVIDER_ID", help="For adopt: the provider's id of the run.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Decide on a held batch.

    adopt: the provider took it, its run is watched and fetched. resubmit: it is run again, and paid for again if the
    provider took it after all. fail: it is given up, and its PUBs have no result.
    """
    _check(decision, provider_id)
    from pubworks.store import doubts

    with opened() as session:
        batch = _find(session, batch_id)
        if decision != Decision.ADOPT and not yes:
            _ask(batch, decision)
        with session.store.write() as connection:
            doubts.resolve(connection, batch.id, str(decision), provider_id)
        session.ring(batch.backend)
    _conclude(batch, decision, provider_id)


def _check(decision: Decision, provider_id: str | None) -> None:
    if decision == Decision.ADOPT and not (provider_id or "").strip():
        raise typer.BadParameter("adopt needs the provider's id of the run: pubworks resolve ID adopt PROVIDER_ID")
    if decision != Decision.ADOPT and provider_id is not None:
        raise typer.BadParameter(f"{decision} takes no provider's id. To go on with that run: adopt {provider_id}")


def _find(session: Session, batch_id: str) -> HeldBatch:
    """Return the one held batch whose id starts, or ends, so.

    Raises:
        BatchNotHeld: None fits, or several do.
    """
    with session.store.read() as connection:
        found = [one for one in list_held(connection) if _fits(one, batch_id.strip())]
    exact = [one for one in found if one.id == batch_id] or found
    if len(exact) != 1:
        problem = "Several held batches fit" if found else "No held batch has the id"
        raise BatchNotHeld(f"{problem} {batch_id!r}. `pubworks held` shows those there are.")
    return exact[0]


def _fits(batch: HeldBatch, part: str) -> bool:
    return bool(part) and (batch.id.startswith(part) or batch.id.endswith(part))  # an unset variable fits nothing


def _ask(batch: HeldBatch, decision: Decision) -> None:
    if not sys.stdin.isatty():
        render.fail(f"To {decision} batch {batch.id} needs a yes, and there is no terminal to ask on. Pass --yes.")
        raise typer.Exit(exits.USAGE)
    size = f"{batch.num_circuits} circuits of {batch.shots} shots on {batch.backend}"
    if decision == Decision.RESUBMIT:
        question = f"Run {batch.id} again ({size})? If the provider took it after all, it is paid for twice."
    else:
        question = f"Give {batch.id} up ({size})? Its PUBs get no result."
    if not typer.confirm(question, err=True):
        render.say("Nothing was decided.")
        raise typer.Exit(exits.OK)


def _conclude(batch: HeldBatch, decision: Decision, provider_id: str | None) -> None:
    words = {
        Decision.ADOPT: f"goes on with the provider's job {provider_id}",
        Decision.RESUBMIT: "is run again",
        Decision.FAIL: "is given up",
    }
    render.say(f"Batch {batch.id} {words[decision]}. Watch its job: pubworks watch {batch.job}")
