"""The page that `make bench-scale` writes."""

from __future__ import annotations

from pathlib import Path

import pytest
from benchmarks.scale_report import COMPUTES, WAITS, Cost, Point, Report

COST = Cost(commits=4.5, rows=18.0, log_bytes=7168.0, messages=0.85, worker_ms=12.5, database_ms=3.0)


def report(at_sixteen: float, by_two: float) -> Report:
    points = [
        Point(WAITS, 1, 1.0, 1.0), Point(WAITS, 16, at_sixteen, 16.0),
        Point(COMPUTES, 1, 3.0, 3.0), Point(COMPUTES, 2, by_two, 6.0),
    ]  # fmt: skip
    return Report(points, COST)


def test_measured_figures_stand_in_the_page(tmp_path: Path) -> None:
    (tmp_path / "scaling.md").write_text("# Before\n<!-- measured -->\nold\n<!-- end -->\nAfter\n")
    report(15.2, 5.7).write(tmp_path)
    page = (tmp_path / "scaling.md").read_text()
    assert page.startswith("# Before\n<!-- measured -->\n| a worker |")
    assert page.endswith("<!-- end -->\nAfter\n")
    assert "| waits for the provider | 16 | 15.2 | 16.0 | 0.95 |" in page
    assert "| write-ahead log | 7.0 KiB |" in page
    assert "old" not in page
    assert (tmp_path / "scaling.svg").read_text().count("measured") >= 1


@pytest.mark.parametrize(("at_sixteen", "by_two", "missed"), [(14.4, 5.4, 0), (14.3, 5.4, 1), (14.3, 5.3, 2)])
def test_targets_that_were_missed_are_counted(at_sixteen: float, by_two: float, missed: int) -> None:
    assert len(report(at_sixteen, by_two).missed) == missed
