"""``pubworks cancel``: a job, or all jobs of a session or with a tag."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from pubworks.cli import complete, consent, render, story
from pubworks.cli.jobs import ID_HELP
from pubworks.cli.session import reached
from pubworks.cli.token import Why, by_hand
from pubworks.states import OPEN, BatchState, RunState

if TYPE_CHECKING:
    from pubworks.ledger.contract import Ledger
    from pubworks.views.session import JobView

NOTHING = "Nothing was cancelled."

#: Most seconds in which the provider is asked from here to cancel runs, and between two looks at how far that is.
_ASKING_S, _LOOK_S = 20.0, 0.1


def cancel(
    job_id: Annotated[str | None, typer.Argument(metavar="ID", help=ID_HELP, autocompletion=complete.job_ids)] = None,
    tags: Annotated[
        list[str] | None,
        typer.Option(
            "--tag", help="Instead: all open jobs with this tag; several: with all.", autocompletion=complete.tags
        ),
    ] = None,
    session_id: Annotated[
        str | None,
        typer.Option(
            "--session",
            help="Instead: all open jobs of this session or batch.",
            autocompletion=complete.session_ids,
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    why: Why = None,
) -> None:
    """Cancel a job, or all jobs of a session or with a tag.

    What waits is never run, and the provider is asked to cancel what it runs. What was paid for is kept.
    """
    if (job_id is None) == (not tags and session_id is None):
        raise typer.BadParameter("Give either the ID of a job, or --tag or --session.")
    with reached() as ledger, by_hand("cancel", why):
        if job_id is None:
            _cancel_all(ledger, tags or [], session_id, yes)
        else:
            _cancel_one(ledger, ledger.view(ledger.find(job_id)), yes)


def _cancel_one(ledger: Ledger, view: JobView, yes: bool) -> None:
    record = view.record
    if record.state.is_final:
        render.say(f"Job {record.id} is {record.state} already; there is nothing to cancel.")
        return
    if not yes:
        name = f" {render.printable(record.name)!r}" if record.name else ""
        question = f"Cancel job {record.id}{name} on {record.backend} ({story.batches_in_words(view)})?"
        consent.ask(f"Cancelling job {record.id}", question, otherwise=NOTHING)
    if not ledger.cancel(record.id):
        render.say(f"Job {record.id} ended before it could be cancelled.")
        return
    render.say(f"Job {record.id} is cancelled.")
    _ask_from_here(ledger, ledger.view(record.id))
    for line in story.kept(ledger.view(record.id)):
        render.say(line)


def _ask_from_here(ledger: Ledger, view: JobView) -> None:
    """Where the broker is embedded and nobody else works, ask the provider from here to cancel what it runs."""
    record, others_work = view.record, view.num_workers or not view.embedded or view.record.backend.startswith("live.")
    if others_work or not view.progress.batches.get(BatchState.IN_FLIGHT):
        return
    from pubworks.client import Client

    deadline = time.monotonic() + _ASKING_S
    with Client() as client:
        client.start_embedded(record.backend).ring(record.backend, 1)
        while time.monotonic() < deadline and _is_at_provider(ledger, record.id):
            time.sleep(_LOOK_S)


def _is_at_provider(ledger: Ledger, job_id: str) -> bool:
    return any(run["state"] == RunState.ACCEPTED for run in ledger.runs(job_id))


def _cancel_all(ledger: Ledger, tags: list[str], session_id: str | None, yes: bool) -> None:
    from pubworks.store.records import Wanted

    whole_id = None if session_id is None else ledger.find_session(session_id)
    found = ledger.jobs(Wanted(None, states=OPEN, tags=tuple(tags), session=whole_id))
    if found and not yes:
        what = story.count(len(found), "open job", "open jobs")
        consent.ask(f"Cancelling {what}", f"Cancel {what}?", otherwise=NOTHING)
    cancelled = ledger.cancel_jobs(tags, whole_id) if found else 0
    render.say(f"{story.count(cancelled, 'job is', 'jobs are')} cancelled." if cancelled else "No such job is open.")
