"""``pubworks status`` and ``list``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from pubworks.cli import complete, render, story, times
from pubworks.cli.session import reached
from pubworks.clock import iso
from pubworks.states import JobState
from pubworks.views import documents
from pubworks.views.session import JobView

if TYPE_CHECKING:
    from rich.table import Table

    from pubworks.store.records import JobRecord

ID_HELP = "The job's id, or enough of its beginning or end."

JobId = Annotated[str, typer.Argument(metavar="ID", help=ID_HELP, autocompletion=complete.job_ids)]
AsJson = Annotated[bool, typer.Option("--json", help="Write JSON to standard output.")]


class Primitive(StrEnum):
    """The primitives, as an option names them."""

    sampler = "sampler"
    estimator = "estimator"


def status(job_id: JobId, as_json: AsJson = False) -> None:
    """Show a job: its state, what it waits for, how far it is."""
    with reached() as ledger:
        view = ledger.view(ledger.find(job_id))
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
        ("tags", ", ".join(view.tags)),
        ("session", record.session),
        ("shared", "with all users" if record.shared else None),
        ("status", record.state),
        ("", ""),
        ("now", story.waits_for(view)),
        *(("waits", line) for line in story.waits(view)),
        ("backend", record.backend),
        ("PUBs", f"{progress.pubs_done} of {progress.num_pubs} have results"),
        ("batches", story.batches_in_words(view)),
        ("left", story.time_left(view)),
        *((what, time and f"{render.ago(time)}  ({iso(time)})") for what, time in times),
        *(("why", reason) for reason in story.reasons(view)),
    ])  # fmt: skip


def list_jobs(
    *,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="Most jobs to show.")] = 10,
    skip: Annotated[int, typer.Option(min=0, help="Jobs to leave out before them.")] = 0,
    states: Annotated[
        list[JobState] | None,
        typer.Option("--status", case_sensitive=False, help="Only in this state; several: in any of them."),
    ] = None,
    backend: Annotated[
        str | None, typer.Option("--backend", "-b", help="Only for this backend.", autocompletion=complete.backends)
    ] = None,
    tags: Annotated[
        list[str] | None,
        typer.Option("--tag", help="Only with this tag; several: with all.", autocompletion=complete.tags),
    ] = None,
    of: Annotated[
        str | None,
        typer.Option(
            "--session", help="Only of this session or batch, by its id.", autocompletion=complete.session_ids
        ),
    ] = None,
    name: Annotated[str | None, typer.Option(help="Only with exactly this name.")] = None,
    primitive: Annotated[Primitive | None, typer.Option(help="Only of this primitive.")] = None,
    since: Annotated[str | None, typer.Option(metavar=times.METAVAR, help="Not submitted before.")] = None,
    before: Annotated[str | None, typer.Option(metavar=times.METAVAR, help="Submitted before.")] = None,
    oldest_first: Annotated[bool, typer.Option("--oldest-first", help="The oldest first.")] = False,
    as_json: AsJson = False,
) -> None:
    """List jobs, newest first.

    Times are ages (90s, 15min, 2h, 3d, 1w) or dates and times (2026-11-23, "2026-11-23 14:00").
    """
    from pubworks.store.records import Wanted

    wanted = Wanted(
        limit, skip, backend, tuple(states) if states else None, tuple(tags or ()), name, primitive,
        _time("--since", since), _time("--before", before), not oldest_first,
    )  # fmt: skip
    with reached() as ledger:
        wanted = wanted if of is None else replace(wanted, session=ledger.find_session(of))
        found = ledger.jobs(wanted)
    if as_json:
        render.emit({"jobs": [documents.of_record(record, tags) for record, tags in found]})
    elif not found:
        asked_for_all = wanted == Wanted(limit, descending=wanted.descending)
        render.say("No jobs yet. Submit one: pubworks submit FILE --backend NAME" if asked_for_all else "No such job.")
    else:
        render.show(_table(found))


def _time(option: str, text: str | None) -> float | None:
    try:
        return None if text is None else times.point_in_time(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=option) from None


def _table(found: Sequence[tuple[JobRecord, list[str]]]) -> Table:
    """Return a listing; names and tags have a column only where there are some."""
    columns = ["ID", "STATUS", "BACKEND", "PUBS", "BATCHES", "AGE"]
    rows = [
        [record.id, record.state, record.backend, record.num_pubs,
         f"{record.num_batches - record.batches_left}/{record.num_batches}", render.age(record.created_at)]
        for record, _ in found
    ]  # fmt: skip
    labels = {"NAME": [record.name or "" for record, _ in found], "TAGS": [", ".join(tags) for _, tags in found]}
    shown = {title: texts for title, texts in labels.items() if any(texts)}
    for texts in shown.values():
        rows = [[*row, text] for row, text in zip(rows, texts, strict=True)]
    return render.table([*columns, *shown], rows, gives_way=["BACKEND", *shown])
