"""A Gantt chart as SVG: bars over time, in light and dark, without scripts or libraries.

A state is never told by color alone: what failed has a cross, what was cancelled a dash, what is in doubt a question
mark, what was lost an outline, what goes on stripes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from pathlib import Path

from pubworks.notebook.html import text
from pubworks.states import RunState

#: Pixels: the whole width, left of the bars at least, right of them, above and below.
_WIDTH, _LEFT, _RIGHT, _TOP, _BOTTOM = 920, 92, 28, 56, 30

#: Pixels of a letter, and most letters of a row's name; of a longer one the end is shown, which tells machines apart.
_LETTER, _LETTERS = 6.8, 34

#: Of these above: the title.
_TITLE = 28

#: Most rows with a name each; more bars share rows, thinner ones.
_NAMED_ROWS, _NAMED_ROWS_OF_PAGE = 40, 12

#: Most bars; the rest would only slow the browser down. Beyond the second number they are drawn without words.
_BARS, _TOLD_BARS = 3000, 400

#: Most marks of the time axis.
_TICKS = 8

_STEPS_S = [
    *(factor * 10.0**power for power in range(-4, 1) for factor in (1, 2, 5)),
    10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200,
    *(86_400.0 * days for days in (1, 2, 7, 14, 30, 60, 180, 365, 1000, 10_000)),
]  # fmt: skip


@dataclass(frozen=True)
class _Look:
    """How a state is drawn, and what the legend calls it."""

    word: str
    color: str
    mark: str = ""


_LOOKS = {
    RunState.DONE: _Look("done", "#2e9e5b"),
    RunState.ACCEPTED: _Look("at the provider", "#1a8fc4"),
    RunState.INTENT: _Look("being submitted", "#5b9fd6"),
    RunState.CANCELLING: _Look("being cancelled", "#8a6fb3", "\u2013"),
    RunState.UNCERTAIN: _Look("in doubt", "#c98500", "?"),
    RunState.FAILED: _Look("failed", "#d9473f", "\u2715"),
    RunState.CANCELLED: _Look("cancelled", "#6b7684", "\u2013"),
    RunState.LOST: _Look("lost", "#808890"),
}


@dataclass(frozen=True)
class Bar:
    """One run. Times are seconds since the chart begins."""

    #: The row that it belongs to, by its name.
    row: str
    start: float
    #: When the provider took it, where that is known; before, the bar is a line.
    accepted: float | None
    #: None: it goes on.
    end: float | None
    state: RunState
    #: What a pointer is told.
    told: str
    #: What rows belong together by: the backend.
    group: str = ""


@dataclass(frozen=True)
class Gantt:
    """A chart; a notebook shows it, :meth:`save` writes it to a file.

    Args:
        title: Its title.
        bars: The bars, in order of their rows.
        now: Where the chart ends at least, and bars that go on do.
    """

    title: str
    bars: tuple[Bar, ...]
    now: float

    def __repr__(self) -> str:
        return f"<Gantt of {len(self.bars)} runs>"

    def _repr_html_(self) -> str:
        """Return the chart in the colors of the page around it."""
        return f'<div style="max-width:{_WIDTH}px">{self._svg("")}</div>'

    def _repr_svg_(self) -> str:
        """Return the chart as a document of its own, light or dark as the reader likes it."""
        style = (
            "<style>svg{color:#1f2328;background:#fff}"
            "@media(prefers-color-scheme:dark){svg{color:#e6edf3;background:#0d1117}}</style>"
        )
        return self._svg(style)

    def drawing(self) -> str:
        """Return the chart in the colors of the page around it, without its title, which that page has; and low."""
        return self._svg("", titled=False, named_rows=_NAMED_ROWS_OF_PAGE)

    def save(self, path: str | Path) -> Path:
        """Write the chart as an SVG file and return its path."""
        file = Path(path)
        file.write_text(self._repr_svg_(), encoding="utf-8")
        return file

    def _svg(self, style: str, *, titled: bool = True, named_rows: int = _NAMED_ROWS) -> str:
        shown = self.bars[:_BARS]
        telling = _bar if len(shown) <= _TOLD_BARS else _plain_bar
        until = max([self.now, 1e-3, *(at for bar in shown for at in (bar.start, bar.accepted, bar.end) if at)])
        rows = _rows(shown, until, named_rows)
        pitch = 20 if len(rows) <= _NAMED_ROWS else max(5, 800 // len(rows))
        above = 0 if titled else _TITLE
        height = _TOP + pitch * max(1, len(rows)) + _BOTTOM
        left_out = f" (the first {_BARS} of {len(self.bars)} runs)" if len(self.bars) > _BARS else ""
        heading = text(self.title + left_out if titled else left_out)
        scale = _scale(rows, until)
        parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 {above} {_WIDTH} {height - above}" width="100%" '
            f'role="img" font-family="system-ui,sans-serif" font-size="12" fill="currentColor">',
            style, f"<title>{text(self.title)}</title>", _STRIPES,
            f'<text x="12" y="22" font-size="14" font-weight="600">{heading}</text>',
            *_legend({bar.state for bar in shown}, scale), *_axis(until, scale, height),
        ]  # fmt: skip
        for number, (name, bars) in enumerate(rows):
            y = _TOP + pitch * number
            parts += _row_name(name, scale, y, pitch)
            parts += [telling(bar, until, scale, y, pitch) for bar in bars]
        return "".join([*parts, "</svg>"])


_STRIPES = (
    '<defs><pattern id="pubworks-stripes" width="6" height="6" patternUnits="userSpaceOnUse" '
    'patternTransform="rotate(45)"><rect width="3" height="6" fill="#fff" fill-opacity=".35"/></pattern></defs>'
)


@dataclass(frozen=True)
class _Scale:
    """Seconds to pixels."""

    #: Pixels left of the bars.
    left: float
    pixels_per_s: float

    def x(self, seconds: float) -> float:
        return round(self.left + seconds * self.pixels_per_s, 1)


def _scale(rows: Sequence[tuple[str, list[Bar]]], until: float) -> _Scale:
    letters = max((len(name) for name, _ in rows), default=0)
    left = max(_LEFT, round(min(letters, _LETTERS) * _LETTER) + 16)
    return _Scale(left, (_WIDTH - left - _RIGHT) / until)


def _rows(bars: Sequence[Bar], until: float, named_rows: int = _NAMED_ROWS) -> list[tuple[str, list[Bar]]]:
    """Return the bars by row, group by group: by their names, or where there are too many, packed without overlap."""
    named: dict[tuple[str, str], list[Bar]] = {}
    for bar in sorted(bars, key=lambda bar: bar.group):
        named.setdefault((bar.group, bar.row), []).append(bar)
    if len(named) <= named_rows:
        several = len({group for group, _ in named}) > 1
        return [(f"{group} {row}" if several else row, bars) for (group, row), bars in named.items()]
    groups = dict.fromkeys(group for group, _ in named)
    return [lane for group in groups for lane in _lanes(group, [bar for bar in bars if bar.group == group], until)]


def _lanes(group: str, bars: Sequence[Bar], until: float) -> list[tuple[str, list[Bar]]]:
    """Return bars packed without overlap; the first lane has the name of the group."""
    lanes: list[list[Bar]] = []
    ends: list[tuple[float, int]] = []  # of the lanes, the one that is free first before the others
    for bar in sorted(bars, key=lambda bar: bar.start):
        if ends and ends[0][0] <= bar.start:
            lane = heappop(ends)[1]
        else:
            lane = len(lanes)
            lanes.append([])
        lanes[lane].append(bar)
        heappush(ends, (until if bar.end is None else bar.end, lane))
    return [("" if number else group, lane) for number, lane in enumerate(lanes)]


def _legend(states: set[RunState], scale: _Scale) -> Iterator[str]:
    x = scale.left
    for state in sorted(states, key=list(RunState).index):
        word = _LOOKS[state].word
        yield _box(x, 34, 12, 10, state)
        yield f'<text x="{x + 17}" y="43" opacity=".75">{word}</text>'
        x += 38 + 6 * len(word)


def _axis(until: float, scale: _Scale, height: int) -> Iterator[str]:
    step = next((step for step in _STEPS_S if until / step <= _TICKS), _STEPS_S[-1])
    for number in range(math.floor(until / step) + 1):
        x = scale.x(number * step)
        yield f'<path d="M{x} {_TOP - 4}V{height - _BOTTOM + 4}" stroke="currentColor" stroke-opacity=".13"/>'
        anchor = "start" if number == 0 else "middle"
        yield f'<text x="{x}" y="{height - 10}" text-anchor="{anchor}" opacity=".65">{in_words(number * step)}</text>'


def in_words(seconds: float) -> str:
    """Return a time of the axis in its largest units.

    >>> in_words(0.25), in_words(90), in_words(5400), in_words(172_800)
    ('0.25 s', '1 min 30 s', '1 h 30 min', '2 d')
    """
    if seconds < 60:
        return f"{seconds:.3g} s"
    units = (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1))
    counts, left = [], round(seconds)
    for name, size in units:
        count, left = divmod(left, size)
        counts.append((count, name))
    return " ".join([f"{count} {name}" for count, name in counts if count][:2])


def _row_name(name: str, scale: _Scale, y: float, pitch: int) -> list[str]:
    if not name:
        return []
    place = f'x="{scale.left - 10}" y="{y + pitch / 2 + 4}" text-anchor="end"'
    if len(name) <= _LETTERS:
        return [f'<text {place} opacity=".75">{text(name)}</text>']
    end = f"\u2026{name[1 - _LETTERS :]}"
    return [f'<text {place} opacity=".75"><title>{text(name)}</title>{text(end)}</text>']


def _bar(bar: Bar, until: float, scale: _Scale, y: float, pitch: int) -> str:
    thick = max(3, pitch - 7)
    end = until if bar.end is None else bar.end
    start = bar.start if bar.accepted is None else bar.accepted
    width = max(2.0, scale.x(end) - scale.x(start))
    top = y + (pitch - thick) / 2
    parts = [f"<g><title>{text(bar.told)}</title>", _box(scale.x(start), top, width, thick, bar.state)]
    if start > bar.start:
        path = f"M{scale.x(bar.start)} {y + pitch / 2}H{scale.x(start)}"
        parts.append(f'<path d="{path}" stroke="{_LOOKS[bar.state].color}" stroke-width="2"/>')
    if bar.end is None:
        parts.append(f'<rect x="{scale.x(start)}" y="{top}" width="{width}" height="{thick}" rx="3" '
                     'fill="url(#pubworks-stripes)"/>')  # fmt: skip
    if mark := _LOOKS[bar.state].mark:
        inside = width >= 14
        place = scale.x(start) + width / 2 if inside else scale.x(end) + 7
        color = "#fff" if inside else "currentColor"
        parts.append(f'<text x="{place:.1f}" y="{y + pitch / 2 + 4}" font-size="11" font-weight="700" '
                     f'text-anchor="middle" fill="{color}">{mark}</text>')  # fmt: skip
    return "".join([*parts, "</g>"])


def _plain_bar(bar: Bar, until: float, scale: _Scale, y: float, pitch: int) -> str:
    """Return a bar among so many that words would only slow the browser down."""
    thick = max(3, pitch - 2)
    start, end = scale.x(bar.start), scale.x(until if bar.end is None else bar.end)
    box = _box(start, y + (pitch - thick) / 2, max(1.0, end - start), thick, bar.state)
    return box.replace(' rx="3"', "") if not _LOOKS[bar.state].mark else box


def _box(x: float, y: float, width: float, height: float, state: RunState) -> str:
    color = _LOOKS[state].color
    fill = f'fill="none" stroke="{color}" stroke-dasharray="3 2"' if state == RunState.LOST else f'fill="{color}"'
    return f'<rect x="{x}" y="{y}" width="{width:.1f}" height="{height}" rx="3" {fill}/>'
