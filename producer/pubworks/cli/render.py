"""What people see: tables on standard output, narration on standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from io import TextIOWrapper
from typing import TYPE_CHECKING, Any

import typer

from pubworks.states import JobState
from pubworks.telemetry import masked

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table
    from rich.text import Text

#: Width in characters where the output is no terminal: nothing is wrapped or cut.
_UNBOUNDED = 100_000

_COLORS = {
    JobState.QUEUED: "yellow",
    JobState.RUNNING: "cyan",
    JobState.DONE: "green",
    JobState.PARTIAL: "magenta",
    JobState.FAILED: "red",
    JobState.CANCELLED: "bright_black",
}


def printable(text: str) -> str:
    r"""Return a text without control characters: names come from others, and must not drive the terminal.

    >>> printable("vqe\x1b[2Jscan")
    'vqe?[2Jscan'
    """
    return "".join(char if char.isprintable() else "?" for char in text)


def say(message: str) -> None:
    """Write a line of narration."""
    typer.echo(message, err=True)


def fail(message: str) -> None:
    """Write an error, on one line."""
    typer.echo(
        f"{typer.style('error:', fg='red', bold=True)} {masked(printable(' '.join(message.split())))}",
        err=True,
    )


def emit(document: Any, *, one_line: bool = False) -> None:
    """Write JSON to standard output: indented on a terminal, on one line for pipes and where asked for."""
    typer.echo(json.dumps(document, indent=2 if sys.stdout.isatty() and not one_line else None))


def plus_minus() -> str:
    """Return the sign between a value and its error, as standard output can show it."""
    try:
        "±".encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        return "+-"
    return "±"


def show(*renderables: RenderableType) -> None:
    """Write tables and texts to standard output."""
    console = _console(sys.stdout)
    for renderable in renderables:
        console.print(renderable)


@cache
def errors() -> Console:
    """Return the console of standard error, for what moves."""
    return _console(sys.stderr)


def _console(file: Any) -> Console:
    from rich.console import Console

    if isinstance(file, TextIOWrapper):  # a name that the terminal cannot show must not end the command
        file.reconfigure(errors="replace")
    width = None if file.isatty() else _UNBOUNDED
    return Console(file=file, width=width, markup=False, highlight=False, emoji=False)


def table(columns: Sequence[str], rows: Sequence[Sequence[Any]], *, gives_way: Sequence[str] | None = None) -> Table:
    """Return a plain table; the first column is never cut, and numbers stand to the right.

    Args:
        columns: Their titles.
        rows: Their cells.
        gives_way: The columns that are folded where the terminal is narrow; all but the first if not given.
    """
    from rich.table import Table

    grid = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for index, column in enumerate(columns):
        numeric = bool(rows) and all(isinstance(row[index], int | None) for row in rows)
        whole = index == 0 if gives_way is None else column not in gives_way
        grid.add_column(column, no_wrap=whole, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        grid.add_row(*(_cell(value) for value in row))
    return grid


def fields(pairs: Sequence[tuple[str, Any]]) -> Table:
    """Return names and values, one pair a line; empty values are left out."""
    from rich.table import Table

    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="bright_black", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in pairs:
        if value not in (None, ""):
            grid.add_row(name, _cell(value))
    return grid


def _cell(value: Any) -> Text | str:
    from rich.text import Text

    if isinstance(value, JobState):
        return state_text(value)
    if isinstance(value, Text):
        return value
    return "-" if value is None else printable(str(value))


def state_text(state: JobState) -> Text:
    """Return a state as a word with a color."""
    from rich.text import Text

    return Text(state, style=_COLORS[state])


def span(seconds: float) -> str:
    """Return a duration in its largest fitting units.

    >>> span(0.42), span(75), span(7300), span(200_000)
    ('0.4 s', '1 min 15 s', '2 h 1 min', '2 d 7 h')
    """
    if seconds < 60:
        return f"{max(seconds, 0):.1f} s"
    minutes = int(seconds // 60)
    if minutes < 60:
        return f"{minutes} min {int(seconds % 60)} s"
    hours = minutes // 60
    return f"{hours} h {minutes % 60} min" if hours < 24 else f"{hours // 24} d {hours % 24} h"


def age(seconds: float) -> str:
    """Return how long ago a time was, in its largest unit, as a narrow column can show it."""
    amount, unit = span(datetime.now(UTC).timestamp() - seconds).split()[:2]
    return f"{float(amount):.0f} {unit}"


def ago(seconds: float | None) -> str | None:
    """Return how long ago a time was."""
    return None if seconds is None else f"{span(datetime.now(UTC).timestamp() - seconds)} ago"
