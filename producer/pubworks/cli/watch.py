"""``pubworks watch``, and the waiting of ``submit --wait`` and ``result --wait``."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from pubworks.cli import complete, exits, render, story
from pubworks.cli.jobs import ID_HELP, AsJson
from pubworks.cli.session import reached, working_on
from pubworks.cli.watch_all import watch_all
from pubworks.errors import JobTimeout
from pubworks.states import JobState
from pubworks.views import documents
from pubworks.views.session import JobView

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import RenderableType

    from pubworks.ledger.contract import Ledger

    Show = Callable[[JobView], None]


def watch(
    job_id: Annotated[
        str | None,
        typer.Argument(metavar="[ID]", help=f"{ID_HELP} Without: all open jobs.", autocompletion=complete.job_ids),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Watch a job until it ends, or all open jobs until none is left. Ctrl-C stops the watching, not the jobs.

    With --json every change is one JSON document on a line of standard output.
    """
    with reached() as ledger:
        if job_id is None:
            watch_all(ledger, as_json=as_json)
            return
        view = follow(ledger, ledger.find(job_id), each=_emit_line if as_json else None)
    conclude(view)


def conclude(view: JobView) -> None:
    """Say how a job ended, and end with its exit code."""
    record = view.record
    reasons = "".join(f"\n  {render.printable(reason)}" for reason in view.progress.reasons)
    render.say(f"Job {record.id} is {record.state}.{reasons}")
    if view.progress.pubs_done:
        render.say(f"Results: pubworks result {record.id}")
    if record.state in (JobState.PARTIAL, JobState.FAILED):
        render.say(f"Run what is missing: pubworks retry {record.id}")
    raise typer.Exit(exits.code_of_state(record.state))


def follow(ledger: Ledger, job_id: str, *, timeout_s: float | None = None, each: Show | None = None) -> JobView:
    """Wait for the end of a job and show how it goes; where the broker is embedded, run it here meanwhile.

    Args:
        ledger: Where the job is kept.
        job_id: The job's whole id.
        timeout_s: Seconds to wait at most; None waits for ever.
        each: Called with every change, instead of the display on standard error.

    Raises:
        JobTimeout: The job has not ended; it goes on.
    """
    view = ledger.view(job_id)
    if story.is_stuck(view):
        render.say(story.how_to_run(view))
    # Once while the worker starts, and once inside: the words come before the worker stops, which takes a moment.
    with _detaching(view), working_on(ledger, view.record), _detaching(view), _display(each) as show:
        for view in views_of(ledger, job_id, timeout_s):
            show(view)
    return view


def views_of(ledger: Ledger, job_id: str, timeout_s: float | None) -> Iterator[JobView]:
    """Yield a job again and again until it has ended, without working on it.

    Raises:
        JobTimeout: It has not ended after ``timeout_s`` seconds; it goes on.
    """
    deadline = math.inf if timeout_s is None else time.monotonic() + timeout_s
    with ledger.watch(job_id) as watch:
        while True:
            view = ledger.view(job_id)
            yield view
            if view.record.state.is_final:
                return
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                raise JobTimeout(
                    f"Job {job_id} is {view.record.state} after {timeout_s:g} s ({story.batches_in_words(view)}). "
                    f"Go on waiting: pubworks watch {job_id}"
                )
            watch.pause(None if timeout_s is None else left_s)


@contextmanager
def _detaching(view: JobView) -> Iterator[None]:
    """Say, when the user interrupts, what becomes of the job."""
    job_id = view.record.id
    try:
        yield
    except KeyboardInterrupt:
        on = "is kept and goes on with the next worker or watch" if view.embedded else "goes on"
        render.say(f"\nDetached. Job {job_id} {on}.")
        render.say(f"Watch it again: pubworks watch {job_id}\nCancel it:      pubworks cancel {job_id}")
        raise typer.Exit(exits.INTERRUPTED) from None


@contextmanager
def _display(each: Show | None) -> Iterator[Show]:
    """Give the function that shows a job: a live picture on a terminal, a line for each change elsewhere."""
    if each is not None:
        yield _once(each)
    elif not sys.stderr.isatty():
        yield _once(lambda view: render.say(_line(view)))
    else:
        from rich.live import Live

        with Live(console=render.errors(), refresh_per_second=8) as live:
            yield lambda view: live.update(_picture(view))


def _once(show: Show) -> Show:
    """Return ``show`` for changes only: a view with the same words as the last is left out."""
    last = ""

    def show_changes(view: JobView) -> None:
        nonlocal last
        if (line := _line(view)) != last:
            last = line
            show(view)

    return show_changes


def _emit_line(view: JobView) -> None:
    render.emit(documents.of_view(view), one_line=True)


def _line(view: JobView) -> str:
    now = [part for part in (story.waits_for(view), *story.waits(view, with_times=False)) if part]
    words = f"  ({render.printable('; '.join(now))})" if now else ""
    return f"{view.record.state}  {story.batches_in_words(view)}{words}"


def _picture(view: JobView) -> RenderableType:
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    record, progress = view.record, view.progress
    bar = ProgressBar(total=max(1, progress.num_batches), completed=progress.batches_done, width=40)
    started = record.started_at or record.created_at
    running = render.span((record.finished_at or time.time()) - started) if record.started_at else ""
    row = Table.grid(padding=(0, 2, 0, 0))
    counts = f"{progress.pubs_done}/{progress.num_pubs} PUBs"
    row.add_row(render.state_text(record.state), bar, story.batches_in_words(view), counts, running)
    title = f"{record.id}  {render.printable(record.name or '')}  on {record.backend}"
    lines = (story.waits_for(view), *story.waits(view), story.time_left(view))
    now = [render.printable(line) for line in lines if line]
    return Group(Text(title, style="bold"), row, *(Text(line, style="bright_black") for line in now))
