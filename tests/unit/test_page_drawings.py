"""The drawings of the page: bounded in size for any job, right in what they show, and nothing told by color alone."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from pubworks.notebook.gantt import Bar, Gantt
from pubworks.states import BatchState, RunState
from pubworks.web.page.draw.flow import flow
from pubworks.web.page.draw.grid import Piece, grid, note
from pubworks.web.page.draw.outcomes import estimates, histogram

MANY = 5000


def test_a_grid_has_a_cell_for_each_piece_while_there_is_room() -> None:
    states = [BatchState.DONE, BatchState.FAILED, BatchState.PENDING]
    drawn = grid(3, ["0", "1", "2"], [Piece(place, place, state) for place, state in enumerate(states)])
    ElementTree.fromstring(drawn)
    assert re.findall(r'class="f-(\w+)"', drawn) == ["done", "wait", "fail"]
    assert drawn.count('class="cross') == 1  # of what failed
    assert note(3, 3) == ""


def test_a_cell_of_many_shows_the_worst() -> None:
    pieces = [Piece(number, number, BatchState.DONE) for number in range(MANY)]
    pieces[77] = Piece(77, 77, BatchState.HELD)
    drawn = grid(MANY, [str(number) for number in range(MANY)], pieces)
    assert re.findall(r'class="f-(\w+)"', drawn) == ["done", "held"]
    assert len(drawn) < 50_000
    assert note(MANY, MANY) == "A cell is up to 28 batches of 125 PUBs, and shows the worst of them."


def test_the_map_of_states_counts_and_fades_what_is_empty() -> None:
    drawn = flow({"DONE": 1234, "HELD": 2})
    ElementTree.fromstring(drawn)
    assert 'aria-label="Batches by state: 1234 done, 2 held"' in drawn
    assert drawn.count("empty") == 8


def test_runs_are_packed_by_backend_where_there_are_many() -> None:
    bars = tuple(
        Bar(f"batch {number}", number, number + 0.1, number + 2.5, RunState.DONE, "", ("aer", "aria")[number % 2])
        for number in range(MANY)
    )
    drawn = Gantt("", bars, float(MANY)).drawing()
    ElementTree.fromstring(drawn)
    assert (drawn.count(">aer<"), drawn.count(">aria<")) == (1, 1)
    assert "the first 3000 of 5000 runs" in drawn
    assert len(drawn) < 300_000


@pytest.mark.parametrize("name", ["aer", "quandela.belenos.qpu-of-the-second-floor-lab", "m" * 200])
def test_names_of_rows_are_not_cut_off(name: str) -> None:
    bars = [Bar(f"batch {number}", 0, 1, 2, RunState.DONE, "", name) for number in range(50)]
    drawn = Gantt("", tuple(bars), 3.0).drawing()
    ends, shown = re.findall(r'<text x="([\d.]+)"[^>]*text-anchor="end"[^>]*>(?:<title>[^<]*</title>)?([^<]+)<', drawn)[
        0
    ]
    assert len(shown) * 6.6 <= float(ends)
    assert shown.removeprefix("\u2026") in name
    assert f">{name}<" in drawn
    drawn = grid(MANY, ["0"], [Piece(number, 0, BatchState.DONE) for number in range(MANY)])
    for end, words in re.findall(r'<text x="(\d+)"[^>]*text-anchor="end">([^<]+)<', drawn):
        assert len(words) * 6.8 <= float(end)


def test_a_few_batches_are_named_by_the_first_and_the_last() -> None:
    pieces = [Piece(0, place, BatchState.DONE) for place in range(3)]
    assert ">batch 0<" in grid(1, ["0"], pieces[:1])
    assert ">batches 0\u20132<" in grid(1, ["0", "1", "2"], pieces)


def test_few_runs_of_several_backends_are_named_with_them() -> None:
    bars = [Bar("batch 0", 0, None, None, RunState.ACCEPTED, "", "b"), Bar("batch 1", 0, 1, 2, RunState.DONE, "", "a")]
    drawn = Gantt("", tuple(bars), 3.0).drawing()
    assert re.findall(r">(a|b) batch (\d)<", drawn) == [("a", "1"), ("b", "0")]


@pytest.mark.parametrize("outcomes", [1, 2, 32])
def test_a_histogram_has_a_bar_for_each_outcome(outcomes: int) -> None:
    counts = [(f"{number:020b}", number + 1) for number in range(outcomes)]
    drawn = histogram(counts, sum(number for _, number in counts))
    ElementTree.fromstring(drawn)
    assert drawn.count("<rect") == outcomes
    assert ('class="plot small"' in drawn) == (outcomes < 32)


@pytest.mark.parametrize(
    ("values", "errors", "whiskers"),
    [
        ([0.0], [0.0], 0),
        ([1.0, -1.0], [0.1, 0.2], 2),
        ([float("nan"), 2.0], [0.1, float("nan")], 0),
        ([1e-9], [1e-12], 1),
    ],
)
def test_estimates_have_error_bars_where_the_error_is_known(
    values: list[float], errors: list[float], whiskers: int
) -> None:
    drawn = estimates(values, errors)
    ElementTree.fromstring(drawn)
    assert "nan" not in drawn
    assert drawn.count("whisker") == whiskers
