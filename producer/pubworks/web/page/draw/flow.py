"""The states of a job's batches as a map: how many are where, and where they may go."""

from __future__ import annotations

from collections.abc import Mapping

from markupsafe import Markup

from pubworks.states import BatchState
from pubworks.web.page import paper

#: Units: size of a box, and where each is.
_WIDE, _HIGH = 132, 46
_PLACES = {
    BatchState.PENDING: (4, 8),
    BatchState.CLAIMED: (199, 8),
    BatchState.SUBMITTING: (394, 8),
    BatchState.IN_FLIGHT: (589, 8),
    BatchState.DONE: (784, 8),
    BatchState.CANCELLED: (4, 104),
    BatchState.SPLIT: (199, 104),
    BatchState.UNCERTAIN: (394, 104),
    BatchState.HELD: (589, 104),
    BatchState.FAILED: (784, 104),
}

_ACROSS, _DOWN = _HIGH / 2, _WIDE / 2
_WAYS = (
    f"M136 {8 + _ACROSS}H196", f"M331 {8 + _ACROSS}H391", f"M526 {8 + _ACROSS}H586", f"M721 {8 + _ACROSS}H781",
    f"M{4 + _DOWN} 54V101", f"M{199 + _DOWN} 54V101", f"M{394 + _DOWN} 54V101", f"M526 {104 + _ACROSS}H586",
    "M721 54 L781 101", f"M{526 - 20} 104 L{589 + 20} 57",
)  # fmt: skip


def flow(batches: Mapping[str, int]) -> Markup:
    """Return the map for so many batches in each state."""
    told = ", ".join(f"{number} {paper.words_of(state)}" for state, number in batches.items() if number)
    ways = "".join(f'<path d="{way}" marker-end="url(#m-arrow)"/>' for way in _WAYS)
    boxes = "".join(_box(state, batches.get(state, 0)) for state in _PLACES)
    return Markup(
        f'<svg class="flow" viewBox="0 0 920 158" role="img" aria-label="Batches by state: {told or "none"}">'
        f'<g class="ways">{ways}</g>{boxes}</svg>'
    )


def _box(state: BatchState, number: int) -> str:
    x, y = _PLACES[state]
    kind = paper.kind_of(state)
    return (
        f'<g class="node s-{kind}{"" if number else " empty"}"><rect x="{x}" y="{y}" width="{_WIDE}" height="{_HIGH}" '
        f'rx="3"/><svg x="{x + 11}" y="{y + 10}" width="12" height="12"><use href="#m-{kind}"/></svg>'
        f'<text class="name" x="{x + 29}" y="{y + 20}">{paper.words_of(state)}</text>'
        f'<text class="number" x="{x + 29}" y="{y + 38}">{paper.count(number)}</text></g>'
    )
