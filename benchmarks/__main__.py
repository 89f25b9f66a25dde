"""``python -m benchmarks [NAME ...]``: measure, and print one table."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from benchmarks.measure import Figure

_ALL = ("imports", "round_trip", "overhead", "estimator", "jobs", "two_workers", "throughput", "in_flight")


def main(names: Sequence[str]) -> int:
    """Run the named measurements, or all. Returns the number of targets that were missed."""
    table = Table("figure", "pubworks", "beside", "ratio", "target", "met")
    missed = 0
    for name in names or _ALL:
        for figure in importlib.import_module(f"benchmarks.{name}").measure():
            table.add_row(*_row(figure))
            missed += not figure.met
    Console().print(table)
    return missed


def _row(figure: Figure) -> list[str]:
    sign = ">=" if figure.at_least else "<="
    values = [f"{value:.3g} {figure.unit}" for value in (figure.ours, figure.other)]
    return [figure.name, *values, f"{figure.ratio:.2f}", f"{sign} {figure.target}", "yes" if figure.met else "NO"]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
