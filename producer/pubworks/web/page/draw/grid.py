"""Which batches hold which PUBs, and how each of these pieces stands, as SVG.

A piece that is done fills its cell; one that runs, half of it; one that waits is a line at its foot; one that failed is
crossed out. Where there are too many PUBs or batches, a cell stands for several, and shows the worst of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from pubworks.states import BatchState

#: Most cells across and down.
_COLUMNS, _ROWS = 180, 40

#: Units: the widths of the whole and of the names; the smallest and largest cell.
_WIDTH, _LEFT, _BOTTOM = 920, 92, 20
_NARROW, _WIDE, _LOW, _HIGH = 4.5, 20.0, 6.0, 16.0

#: Cells that are narrower have thin gaps and thin crosses.
_SMALL = 8.0

#: From the best to the worst.
_ORDER = (
    BatchState.DONE, BatchState.PENDING, BatchState.CLAIMED, BatchState.SUBMITTING, BatchState.IN_FLIGHT,
    BatchState.CANCELLED, BatchState.UNCERTAIN, BatchState.HELD, BatchState.FAILED,
)  # fmt: skip

#: State -> the class of its color, the part of a cell's height that it fills, and whether it is crossed out.
_LOOKS = {
    BatchState.DONE: ("done", 1.0, False),
    BatchState.PENDING: ("wait", 0.2, False),
    BatchState.CLAIMED: ("claim", 0.4, False),
    BatchState.SUBMITTING: ("claim", 0.4, False),
    BatchState.IN_FLIGHT: ("run", 0.6, False),
    BatchState.CANCELLED: ("stop", 0.2, True),
    BatchState.UNCERTAIN: ("doubt", 0.8, True),
    BatchState.HELD: ("held", 0.8, True),
    BatchState.FAILED: ("fail", 1.0, True),
}


@dataclass(frozen=True)
class Piece:
    """Circuits of one PUB in one batch."""

    pub: int
    #: Position of the batch among those that are shown.
    batch: int
    state: BatchState


@dataclass(frozen=True)
class _Cells:
    """How the cells lie: PUBs and batches of each, their sizes."""

    pubs: int
    batches: int
    width: float
    height: float

    def box(self, row: int, column: int, part: float) -> str:
        """Return the outline of the lower part of a cell."""
        gap = 1.0 if self.width < _SMALL else 2.0
        high = round((self.height - gap) * part, 1)
        x, y = _LEFT + column * self.width, (row + 1) * self.height - gap - high
        return f"M{x:.1f} {y:.1f}h{self.width - gap:.1f}v{high}h-{self.width - gap:.1f}z"

    def cross(self, row: int, column: int) -> str:
        """Return the cross of a cell."""
        gap = 1.0 if self.width < _SMALL else 2.0
        x, y, w, h = _LEFT + column * self.width, row * self.height, self.width - gap, self.height - gap
        return f"M{x:.1f} {y:.1f}l{w:.1f} {h:.1f}m0-{h:.1f}l-{w:.1f} {h:.1f}"


def grid(num_pubs: int, names: Sequence[str], pieces: Iterable[Piece]) -> Markup:
    """Return the grid of a job's PUBs, downwards, and batches, to the right.

    Args:
        num_pubs: How many PUBs there are.
        names: The names of the batches, in order.
        pieces: What lies where.
    """
    cells = _lay_out(num_pubs, len(names))
    worst: dict[tuple[int, int], BatchState] = {}
    for piece in pieces:
        place = (piece.pub // cells.pubs, piece.batch // cells.batches)
        worst[place] = max(worst.get(place, piece.state), piece.state, key=_ORDER.index)
    rows, columns = -(-num_pubs // cells.pubs), -(-len(names) // cells.batches)
    high = rows * cells.height + _BOTTOM
    return Markup("".join([
        f'<svg class="grid" viewBox="0 -4 {_WIDTH} {high + 4:.0f}" role="img" ',
        f'aria-label="{_told(num_pubs, names, worst)}">',
        *_names(num_pubs, rows, cells), *_ends(names, columns, rows, cells), *_drawn(worst, cells), "</svg>",
    ]))  # fmt: skip


def note(num_pubs: int, num_batches: int) -> str:
    """Return what a cell of the grid stands for, if for more than one piece."""
    cells = _lay_out(num_pubs, num_batches)
    if cells.pubs == cells.batches == 1:
        return ""
    return f"A cell is up to {cells.batches} batches of {cells.pubs} PUBs, and shows the worst of them."


def _lay_out(num_pubs: int, num_batches: int) -> _Cells:
    pubs, batches = max(1, -(-num_pubs // _ROWS)), max(1, -(-num_batches // _COLUMNS))
    columns, rows = max(1, -(-num_batches // batches)), max(1, -(-num_pubs // pubs))
    width = min(_WIDE, max(_NARROW, (_WIDTH - _LEFT) / columns))
    return _Cells(pubs, batches, width, min(_HIGH, max(_LOW, 320 / rows)))


def _told(num_pubs: int, names: Sequence[str], worst: dict[tuple[int, int], BatchState]) -> str:
    found = ", ".join(state.replace("_", " ").lower() for state in _ORDER if state in worst.values())
    return f"{num_pubs} PUBs by {len(names)} batches; states: {found or 'none'}"


def _names(num_pubs: int, rows: int, cells: _Cells) -> Iterator[str]:
    every = max(1, -(-rows // 10)) if cells.height < 12 else max(1, -(-rows // 20))
    for row in range(0, rows, every):
        first = row * cells.pubs
        last = min(num_pubs, first + cells.pubs) - 1
        name = f"PUB {first}" if first == last else f"{first}\u2013{last}"
        yield f'<text x="{_LEFT - 8}" y="{(row + 0.5) * cells.height + 3:.1f}" text-anchor="end">{name}</text>'


def _ends(names: Sequence[str], columns: int, rows: int, cells: _Cells) -> Iterator[str]:
    y = rows * cells.height + 14
    is_wide = columns * cells.width > 140
    if len(names) == 1 or (names and is_wide):
        yield f'<text x="{_LEFT}" y="{y:.1f}">batch {names[0]}</text>'
    elif names:
        yield f'<text x="{_LEFT}" y="{y:.1f}">batches {names[0]}\u2013{names[-1]}</text>'
    if is_wide:
        x = _LEFT + columns * cells.width
        yield f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="end">{names[-1]}</text>'


def _drawn(worst: dict[tuple[int, int], BatchState], cells: _Cells) -> Iterator[str]:
    """Yield one path for each state: a page with thousands of elements is slow."""
    for state, (kind, part, crossed) in _LOOKS.items():
        places = [place for place, found in worst.items() if found == state]
        if places:
            yield f'<path class="f-{kind}" d="{"".join(cells.box(*place, part) for place in places)}"/>'
        if places and crossed:
            fine = " fine" if cells.width < _SMALL else ""
            yield f'<path class="cross{fine}" d="{"".join(cells.cross(*place) for place in places)}"/>'
