"""``python -m benchmarks [NAME ...]``: measure, and print one table."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from benchmarks.measure import Figure

_ALL = (
    "imports",
    "round_trip",
    "overhead",
    "estimator",
    "jobs",
    "two_workers",
    "throughput",
    "in_flight",
    "api",
    "upload",
    "watchers",
    "page",
)


def _known(name: str) -> str:
    if name not in _ALL:
        raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(_ALL)}")
    return name


def main(argv: Sequence[str] | None = None) -> int:
    """Run the named measurements, or all. Returns the number of targets that were missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure, and print one table.")
    parser.add_argument("names", nargs="*", metavar="NAME", type=_known, help=f"of {', '.join(_ALL)}", default=_ALL)
    table = Table("figure", "pubworks", "beside", "ratio", "target", "met")
    missed = 0
    for name in parser.parse_args(argv).names:
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
    sys.exit(main())
