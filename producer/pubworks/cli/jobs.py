"""``pubworks status``, ``list`` and ``cancel``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from pubworks.cli import documents, exits, render, story
from pubworks.cli.session import JobView, opened
from pubworks.states import JobState

if TYPE_CHECKING:
    from rich.table import Table

JobId = Annotated[str, typer.Argument(metavar="ID", help="The job's id, or enough of its beginning or end.")]
AsJson = Annotated[bool, typer.Option("--json", help="Write JSON to standard output.")]


def status(job_id: JobId, as_json: AsJson = False) -> None:
    """Show a job: its state, what it waits for, how far it is."""
    with opened() as session:
        view = session.view(session.find(job_id))
    if as_json:
        render.emit(documents.of_view(view))
        return
    render.show(_sheet(view))
    if not view.record.state.is_final and not view.num_workers:
        render.say(story.how_to_run(view))


def _sheet(view: JobView) -> Table:
    record, progress = view.record, view.progress
    times = [(what, record_time) for what, record_time in (
        ("submitted", record.created_at), ("started", record.started_at), ("ended", record.finished_at),
    )]  # fmt: skip
    return render.fields([
        ("job", record.id),
        ("name", record.name),
        ("status", record.state),
        ("", ""),
        ("now", story.waits_for(view)),
        *(("waits", line) for line in story.waits(view)),
        ("backend", record.backend),
        ("PUBs", f"{progress.pubs_done} of {progress.num_pubs} have results"),
        ("batches", story.batches_in_words(view)),
        *((what, time and f"{render.ago(time)}  ({render.iso(time)})") for what, time in times),
        *(("why", reason) for reason in story.reasons(view)),
    ])  # fmt: skip


def list_jobs(
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="Most jobs to show.")] = 10,
    state: Annotated[
        JobState | None, typer.Option("--status", case_sensitive=False, help="Only in this state.")
    ] = None,
    backend: Annotated[str | None, typer.Option(help="Only for this backend.")] = None,
    as_json: AsJson = False,
) -> None:
    """List jobs, newest first."""
    from pubworks.store import jobs

    with opened() as session, session.store.read() as connection:
        records = jobs.newest(connection, limit, state, backend)
    if as_json:
        render.emit({"jobs": [documents.of_record(record) for record in records]})
    elif not records:
        render.say(
            "No such job." if state or backend else "No jobs yet. Submit one: pubworks submit FILE --backend NAME"
        )
    else:
        rows = [
            (record.id, record.state, record.backend, record.num_pubs,
             f"{record.num_batches - record.batches_left}/{record.num_batches}",
             render.ago(record.created_at), record.name or "")
            for record in records
        ]  # fmt: skip
        render.show(render.table(("ID", "STATUS", "BACKEND", "PUBS", "BATCHES", "SUBMITTED", "NAME"), rows))


def cancel(
    job_id: JobId,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Cancel a job.

    What waits is never run; what a backend already runs is stored when it comes.
    """
    from pubworks.store import jobs

    with opened() as session:
        view = session.view(session.find(job_id))
        record = view.record
        if record.state.is_final:
            render.say(f"Job {record.id} is {record.state} already; there is nothing to cancel.")
            return
        if not yes:
            _ask(view)
        with session.store.write() as connection:
            cancelled = jobs.cancel(connection, record.id)
    render.say(
        f"Job {record.id} is cancelled." if cancelled else f"Job {record.id} ended before it could be cancelled."
    )


def _ask(view: JobView) -> None:
    record = view.record
    if not sys.stdin.isatty():
        render.fail(f"Cancelling job {record.id} needs a yes, and there is no terminal to ask on. Pass --yes.")
        raise typer.Exit(exits.USAGE)
    name = f" {render.printable(record.name)!r}" if record.name else ""
    question = f"Cancel job {record.id}{name} on {record.backend} ({story.batches_in_words(view)})?"
    if not typer.confirm(question, err=True):
        render.say("Nothing was cancelled.")
        raise typer.Exit(exits.OK)
