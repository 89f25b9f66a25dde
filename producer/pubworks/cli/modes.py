"""``pubworks batch`` and ``pubworks session``, the same commands: jobs that are held together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from pubworks.cli import complete, consent, render, story
from pubworks.cli.cancel import NOTHING
from pubworks.cli.jobs import AsJson
from pubworks.cli.session import reached
from pubworks.cli.submit import Backend
from pubworks.cli.token import Why, by_hand
from pubworks.clock import iso
from pubworks.errors import SessionNotFound
from pubworks.states import IDLE_S, LONGEST_S, Mode
from pubworks.views import sessions as documents

if TYPE_CHECKING:
    from rich.table import Table

    from pubworks.ledger.contract import Ledger
    from pubworks.views.sessions import SessionView

app = typer.Typer(rich_markup_mode=None, no_args_is_help=True)

Id = Annotated[
    str,
    typer.Argument(
        metavar="ID", help="Its id, or enough of its beginning or end.", autocompletion=complete.session_ids
    ),
]
Span = typer.Option(metavar="SPAN", help="How long from its first job on: 90s, 25m, '2h 30m'.")
Idle = typer.Option("--interactive-timeout", metavar="SPAN", help="How long without a job until it queues again.")


def _mode(context: typer.Context) -> Mode:
    """Return which of the two commands was called."""
    assert context.parent is not None
    return Mode(str(context.parent.info_name))


@app.command("open")
def open_one(
    context: typer.Context,
    backend: Backend,
    max_time: Annotated[str | None, Span] = None,
    idle: Annotated[str | None, Idle] = None,
    as_json: AsJson = False,
) -> None:
    """Open one, and print its id.

    Submit to it with `pubworks submit FILE --session ID`.
    """
    from ulid import ULID

    mode, session_id = _mode(context), str(ULID())
    longest_s = LONGEST_S[mode] if max_time is None else _seconds("--max-time", max_time)
    idle_s = IDLE_S if idle is None else _seconds("--interactive-timeout", idle)
    with reached() as ledger:
        name = ledger.enter(backend)
        ledger.open_session(session_id, mode=mode, backend=name, max_time_s=longest_s, idle_s=idle_s)
        if as_json:
            render.emit(documents.of_view(_look(ledger, mode, session_id)))
        else:
            typer.echo(session_id)


def _seconds(option: str, span: str) -> float:
    from pubworks.spans import seconds_of

    try:
        return seconds_of(span, "the time")
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=option) from None


def _look(ledger: Ledger, mode: Mode, session_id: str) -> SessionView:
    """Return a session, or a batch, whichever was asked for.

    Raises:
        SessionNotFound: None fits, or several do; or it is the other one.
    """
    view = ledger.session_view(ledger.find_session(session_id))
    if view.record.mode != mode:
        other = view.record.mode
        raise SessionNotFound(f"{view.record.id} is a {other}, no {mode}: pubworks {other} show {view.record.id}")
    return view


@app.command()
def close(context: typer.Context, session_id: Id, why: Why = None) -> None:
    """Have it take no more jobs; those that it has go on."""
    mode = _mode(context)
    with reached() as ledger:
        record = _look(ledger, mode, session_id).record
        with by_hand(f"{mode} close {record.id}", why):
            closed = ledger.close_session(record.id)
    name = f"{mode.title()} {record.id}"
    render.say(f"{name} takes no more jobs; those that it has go on." if closed else f"{name} took no jobs already.")


@app.command()
def cancel(
    context: typer.Context,
    session_id: Id,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    why: Why = None,
) -> None:
    """Close it, and cancel its jobs that have not ended."""
    mode = _mode(context)
    with reached() as ledger:
        view = _look(ledger, mode, session_id)
        name = f"{mode.title()} {view.record.id}"
        left = view.progress.num_jobs - view.progress.jobs_ended
        if not yes:
            question = (
                f"{name} on {view.record.backend} ({story.count(left, 'open job', 'open jobs')}): close and cancel it?"
            )
            consent.ask(f"{name}: cancelling", question, otherwise=NOTHING)
        with by_hand(f"{mode} cancel {view.record.id}", why):
            cancelled = ledger.cancel_session(view.record.id)
    render.say(f"{name} is closed; {story.count(cancelled, 'job is', 'jobs are')} cancelled.")


@app.command()
def show(context: typer.Context, session_id: Id, as_json: AsJson = False) -> None:
    """Show its state, its times and its jobs."""
    with reached() as ledger:
        view = _look(ledger, _mode(context), session_id)
    if as_json:
        render.emit(documents.of_view(view))
    else:
        render.show(_sheet(view))


@app.command("list")
def list_all(
    context: typer.Context,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="Most to show.")] = 10,
    backend: Annotated[
        str | None, typer.Option("--backend", "-b", help="Only for this backend.", autocompletion=complete.backends)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List them, newest first."""
    mode = _mode(context)
    with reached() as ledger:
        records = ledger.sessions(limit, mode=mode, backend=backend)
    if as_json:
        render.emit({"sessions": [documents.of_record(record) for record in records]})
    elif not records:
        render.say(f"No {mode} yet. Open one: pubworks {mode} open --backend NAME")
    else:
        rows = [(one.id, one.status, one.backend, render.ago(one.created_at)) for one in records]
        render.show(render.table(("ID", "STATUS", "BACKEND", "OPENED"), rows))


def _sheet(view: SessionView) -> Table:
    record, progress = view.record, view.progress
    times = {"opened": record.created_at, "started": record.started_at, "closed": record.closed_at}
    ends = record.ends_at
    return render.fields([
        (str(record.mode), record.id),
        ("status", record.status),
        ("backend", record.backend),
        ("jobs", _counts(progress.jobs)),
        ("batches", _counts(progress.batches)),
        ("used", render.span(view.usage_s)),
        ("max time", None if record.max_time_s is None else render.span(record.max_time_s)),
        ("idle after", render.span(record.idle_s)),
        *((what, at and f"{render.ago(at)}  ({iso(at)})") for what, at in times.items()),
        ("ends", ends and record.takes_jobs and f"in {render.span(ends - record.now)}  ({iso(ends)})"),
    ])  # fmt: skip


def _counts(by_state: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {state}" for state, count in sorted(by_state.items())) or "none"
