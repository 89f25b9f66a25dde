"""``pubworks watch`` without an id: all open jobs at once."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import typer

from pubworks.cli import exits, render
from pubworks.cli.session import working_on
from pubworks.states import OPEN, JobState
from pubworks.views import documents

if TYPE_CHECKING:
    from rich.table import Table

    from pubworks.ledger.contract import Ledger
    from pubworks.store.records import JobRecord

#: Most open jobs that are watched, the oldest ones; and ended ones that are still shown.
_OPEN, _ENDED = 500, 10


@dataclass(frozen=True)
class _Look:
    """Jobs as they stood at one moment: those that ended since the beginning, then those that are open."""

    jobs: Sequence[JobRecord]
    #: Backends that a worker serves.
    served: frozenset[str]


def watch_all(ledger: Ledger, *, as_json: bool) -> None:
    """Show all open jobs until none is left; where the broker is embedded, run them here meanwhile."""
    first = _look(ledger, ())
    if not first.jobs:
        render.say("No job is open. `pubworks list` shows those that have ended.")
        return
    failed: set[str] = set()
    with _detaching(ledger), working_on(ledger, first.jobs[0]), _detaching(ledger), _display(as_json) as show:
        for look in _looks(ledger, first):
            failed |= {job.id for job in look.jobs if job.state.is_final and job.state != JobState.DONE}
            show(look)
    without = f", {len(failed)} of them without all of their results" if failed else ""
    render.say(f"All jobs have ended{without}: pubworks list")
    raise typer.Exit(exits.FAILED if failed else exits.OK)


def _looks(ledger: Ledger, first: _Look) -> Iterator[_Look]:
    ended: deque[JobRecord] = deque(maxlen=_ENDED)
    look = first
    with ledger.watch_all() as watch:
        while True:
            yield _Look([*ended, *look.jobs], look.served)
            if not any(not job.state.is_final for job in look.jobs):
                return
            ended.extend(job for job in look.jobs if job.state.is_final)
            watch.pause(None)
            look = _look(ledger, {job.id for job in look.jobs if not job.state.is_final})


def _look(ledger: Ledger, seen: Iterable[str]) -> _Look:
    """Return the open jobs, and those of ``seen`` that are not open any more."""
    from pubworks.store.records import Wanted

    found = [record for record, _ in ledger.jobs(Wanted(_OPEN, states=OPEN, descending=False))]
    gone = [ledger.record(job_id) for job_id in sorted(set(seen) - {job.id for job in found})]
    served = frozenset(name for worker in ledger.workers() for name in worker["backends"])
    return _Look([*gone, *found], served)


@contextmanager
def _detaching(ledger: Ledger) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        on = "are kept and go on with the next worker or watch" if ledger.embedded else "go on"
        render.say(f"\nDetached. The jobs {on}. Watch them again: pubworks watch")
        raise typer.Exit(exits.INTERRUPTED) from None


@contextmanager
def _display(as_json: bool) -> Iterator[Callable[[_Look], None]]:
    """Give the function that shows a look: a live table on a terminal, a line for each change elsewhere."""
    if as_json or not sys.stderr.isatty():
        yield _changes(as_json)
        return
    from rich.live import Live

    with Live(console=render.errors(), refresh_per_second=4) as live:
        yield lambda look: live.update(_table(look))


def _changes(as_json: bool) -> Callable[[_Look], None]:
    last: dict[str, tuple[JobState, int]] = {}

    def show(look: _Look) -> None:
        for job in look.jobs:
            if last.get(job.id) != (job.state, job.batches_left):
                last[job.id] = job.state, job.batches_left
                if as_json:
                    render.emit(documents.of_record(job, ()), one_line=True)
                else:
                    render.say(f"{job.id}  {job.state}  {_done(job)}  {job.backend}  {_now(job, look)}".rstrip())

    return show


def _done(job: JobRecord) -> str:
    return f"{job.num_batches - job.batches_left}/{job.num_batches}"


def _now(job: JobRecord, look: _Look) -> str:
    return "" if job.state.is_final or job.backend in look.served else "no worker serves it now"


def _table(look: _Look) -> Table:
    from rich.progress_bar import ProgressBar
    from rich.table import Table

    grid = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for name in ("ID", "STATUS", "", "BATCHES", "BACKEND", "TIME", "NAME", ""):
        grid.add_column(name, no_wrap=True)
    for job in look.jobs:
        done = ProgressBar(total=max(1, job.num_batches), completed=job.num_batches - job.batches_left, width=24)
        took = render.span((job.finished_at or time.time()) - job.created_at)
        name, now = render.printable(job.name or ""), _now(job, look)
        grid.add_row(job.id, render.state_text(job.state), done, _done(job), job.backend, took, name, now)
    return grid
