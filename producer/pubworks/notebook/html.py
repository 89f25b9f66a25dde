"""Static tables for notebooks: inline CSS that fits light and dark themes, everything escaped, no script."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from pubworks.states import JobState

#: Colors of states that can be told apart on white and on black.
COLORS = {
    JobState.QUEUED: "#c98500",
    JobState.RUNNING: "#1a8fc4",
    JobState.DONE: "#2e9e5b",
    JobState.PARTIAL: "#a85cc7",
    JobState.FAILED: "#d9473f",
    JobState.CANCELLED: "#808890",
}

_FRAME = (
    "display:inline-block;font:13px/1.5 system-ui,sans-serif;border:1px solid #8886;border-radius:8px;padding:8px 14px"
)
_TABLE = "border-collapse:collapse;border:0;margin:2px 0;color:inherit;font:inherit"
_ROW = "background:none;border:0"
_CELL = "padding:1px 18px 1px 0;text-align:left;vertical-align:top;border:0"
_NAME = f"{_CELL};font-weight:normal;opacity:.65;white-space:nowrap"
_RULE = ";border-top:1px solid #8884"


class Markup(str):
    """Text that is HTML already; all other text is escaped."""


def text(value: object) -> Markup:
    r"""Return a value as HTML; control characters, which XML does not know, as question marks.

    >>> text("<b>\x00")
    '&lt;b&gt;?'
    """
    if isinstance(value, Markup):
        return value
    words = "" if value is None else str(value)
    return Markup(escape("".join(char if char.isprintable() or char == "\n" else "?" for char in words)))


def unbroken(value: object, hint: str = "") -> Markup:
    """Return a value that stays on one line; a pointer is told the hint."""
    title = f' title="{text(hint)}"' if hint else ""
    return Markup(f'<span style="white-space:nowrap"{title}>{text(value)}</span>')


def state(value: JobState) -> Markup:
    """Return a state as a dot in its color and its word."""
    dot = f'<span style="color:{COLORS[value]}" aria-hidden="true">&#9679;</span>'
    return unbroken(Markup(f"{dot} {text(value)}"))


def code(value: object) -> Markup:
    """Return a value in letters of one width, on one line."""
    return Markup(f'<code style="white-space:nowrap;background:none;font-size:12px">{text(value)}</code>')


def bar(done: int, total: int, color: str) -> Markup:
    """Return a bar of what is done, and its numbers."""
    part = 100 * done / total if total else 0
    track = "display:inline-block;width:120px;height:8px;border-radius:4px;background:#8883;margin-right:8px"
    fill = f"width:{part:.1f}%;height:8px;border-radius:4px;background:{color}"
    filled = f'<span style="{track}"><span style="display:block;{fill}"></span></span>'
    return unbroken(Markup(f"{filled}{done}/{total}"))


def sheet(title: object, rows: Iterable[tuple[str, object]]) -> str:
    """Return names and values under a title; a pair without a value is left out."""
    lines = [
        f'<tr style="{_ROW}"><th style="{_NAME}">{text(name)}</th><td style="{_CELL}">{text(value)}</td></tr>'
        for name, value in rows
        if value not in (None, "")
    ]
    return _framed(title, "".join(lines))


def table(title: object, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table under a title."""
    head = "".join(f'<th style="{_NAME}">{text(name)}</th>' for name in columns)
    lines = [
        f'<tr style="{_ROW}">' + "".join(f'<td style="{_CELL}{_RULE}">{text(value)}</td>' for value in row) + "</tr>"
        for row in rows
    ]
    return _framed(title, f'<tr style="{_ROW}">{head}</tr>' + "".join(lines))


def _framed(title: object, lines: str) -> str:
    head = f'<div style="font-weight:600;margin-bottom:2px">{text(title)}</div>'
    return f'<div style="{_FRAME}">{head}<table style="{_TABLE}"><tbody>{lines}</tbody></table></div>'
