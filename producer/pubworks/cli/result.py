"""``pubworks result``."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pubworks.cli import exits, render, story
from pubworks.cli.jobs import AsJson, JobId
from pubworks.cli.session import reached
from pubworks.cli.watch import follow
from pubworks.errors import JobTimeout
from pubworks.states import JobState

if TYPE_CHECKING:
    from pubworks.ledger.contract import Ledger
    from pubworks.views.outcomes import Outcome


def result(
    job_id: JobId,
    *,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Write everything to this .npz or .json file instead."),
    ] = None,
    partial: Annotated[
        bool, typer.Option("--partial", help="Show the results there are, also while the job goes on.")
    ] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until the job has ended.")] = False,
    timeout_s: Annotated[
        float | None, typer.Option("--timeout", min=0, metavar="SECONDS", help="Wait so long at most.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show the results of a job.

    The table names the most frequent outcomes of each PUB and register, or the first expectation values of each PUB
    with their standard errors; --json and -o give everything.
    A job that failed in part gives the results there are, with exit code 1. One that goes on gives none, or with
    --partial those there are.
    """
    with reached() as ledger:
        whole_id = ledger.find(job_id)
        if output is not None:
            _check_name(output)
        if wait or timeout_s is not None:
            follow(ledger, whole_id, timeout_s=timeout_s)
        outcome = _load(ledger, whole_id, partial=partial)
    _deliver(outcome, output, as_json)
    _conclude(outcome)


def _check_name(output: Path) -> None:
    from pubworks.cli import outcomes

    outcomes.check_name(output)


def _load(ledger: Ledger, job_id: str, *, partial: bool) -> Outcome:
    view = ledger.view(job_id)
    if not view.record.state.is_final and not partial:
        raise JobTimeout(
            f"Job {job_id} is {view.record.state}: {story.batches_in_words(view)}; {story.waits_for(view)}. "
            f"Wait for it: pubworks result {job_id} --wait. Or take what there is: pubworks result {job_id} --partial"
        )
    from pubworks.views.outcomes import load

    return load(ledger, job_id)


def _deliver(outcome: Outcome, output: Path | None, as_json: bool) -> None:
    from pubworks.cli import outcomes
    from pubworks.views.outcomes import document

    if output is not None:
        outcomes.write(outcome, output)
        render.say(f"{story.count(len(outcome.results), 'PUB', 'PUBs')} written to {output}.")
    elif as_json:
        render.emit(document(outcome))
    elif outcome.results:
        _show_table(outcome)


def _show_table(outcome: Outcome) -> None:
    from pubworks.cli import outcomes

    rows = outcomes.rows(outcome)
    shown = list(islice(rows, outcomes.MAX_ROWS))
    render.show(render.table(outcomes.columns(outcome), shown))
    if left := sum(1 for _ in rows):
        render.say(f"... and {left} more rows; --json or -o FILE gives everything.")


def _conclude(outcome: Outcome) -> None:
    record = outcome.record
    if record.state == JobState.DONE:
        return
    reasons = list(outcome.missing.items())
    if not record.state.is_final:
        render.say(f"Job {record.id} is {record.state}: {len(reasons)} of {record.num_pubs} PUBs have no result yet.")
        return
    render.fail(f"Job {record.id} is {record.state}: {len(reasons)} of {record.num_pubs} PUBs have no result.")
    for pub, reason in reasons[:5]:
        render.say(f"  PUB {pub}: {render.printable(reason)}")
    render.say(f"Run what is missing, once the cause is mended: pubworks retry {record.id}")
    raise typer.Exit(exits.code_of_state(record.state))
