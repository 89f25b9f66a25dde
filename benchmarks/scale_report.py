"""What ``benchmarks.scale`` measured, as tables for the terminal and for ``docs/scaling.md``, with its picture."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table

#: Efficiency that 16 workers which wait must reach, and the speed-up of two that keep a core busy each.
_WAITING, _BUSY = 0.9, 1.8

WAITS, COMPUTES = "waits for the provider", "keeps a core busy"


@dataclass(frozen=True)
class Point:
    """What a number of workers did."""

    kind: str
    workers: int
    per_s: float
    #: What one worker did in the same run, times the workers; where they compute, times the cores at most.
    ideal_per_s: float

    @property
    def efficiency(self) -> float:
        """The part of the ideal that was reached."""
        return self.per_s / self.ideal_per_s


@dataclass(frozen=True)
class Cost:
    """What one run costs the parts that all workers share, and the workers."""

    commits: float
    rows: float
    log_bytes: float
    messages: float
    worker_ms: float
    database_ms: float

    @property
    def runs_per_s(self) -> float:
        """Runs a second that keep one core of the database's machine busy."""
        return 1000 / self.database_ms


@dataclass(frozen=True)
class Report:
    """All that one run of the program measured."""

    points: Sequence[Point]
    cost: Cost

    @property
    def missed(self) -> list[str]:
        """The targets that were missed, in words."""
        waiting = [point for point in self.points if point.kind == WAITS]
        busy = [point for point in self.points if point.kind == COMPUTES]
        two = next(point.per_s for point in busy if point.workers == 2) / busy[0].per_s
        found = {
            f"{waiting[-1].workers} workers that wait: {waiting[-1].efficiency:.2f} of the ideal": (
                waiting[-1].efficiency >= _WAITING
            ),
            f"two workers that compute: {two:.2f} times one": two >= _BUSY,
        }
        return [what for what, met in found.items() if not met]

    def tables(self) -> Iterator[Table]:
        """Yield the tables, for a terminal."""
        for header, rows in (self._curve(), self._cost()):
            table = Table(*header)
            for row in rows:
                table.add_row(*row)
            yield table

    def write(self, docs: Path) -> None:
        """Put the tables and the picture into the documentation."""
        page = docs / "scaling.md"
        tables = "\n\n".join(_markdown(*table) for table in (self._curve(), self._cost()))
        page.write_text(_BETWEEN.sub(lambda marks: f"{marks[1]}\n{tables}\n{marks[2]}", page.read_text()))
        draw(self.points, docs / "scaling.svg")

    def _curve(self) -> tuple[list[str], list[list[str]]]:
        rows = [
            [
                point.kind,
                str(point.workers),
                f"{point.per_s:.1f}",
                f"{point.ideal_per_s:.1f}",
                f"{point.efficiency:.2f}",
            ]
            for point in self.points
        ]
        return ["a worker", "workers", "runs a second", "ideal", "efficiency"], rows

    def _cost(self) -> tuple[list[str], list[list[str]]]:
        cost = self.cost
        rows = [
            ["commits", f"{cost.commits:.1f}"],
            ["rows written", f"{cost.rows:.1f}"],
            ["write-ahead log", f"{cost.log_bytes / 1024:.1f} KiB"],
            ["messages", f"{cost.messages:.2f}"],
            ["processor of the database", f"{cost.database_ms:.1f} ms"],
            ["processor of the workers", f"{cost.worker_ms:.1f} ms"],
        ]
        return ["one run at a QPU costs", ""], rows


_BETWEEN = re.compile(r"(<!-- measured -->).*?(<!-- end -->)", re.DOTALL)


def _markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def draw(points: Sequence[Point], path: Path) -> None:
    """Draw work against workers, beside the ideal."""
    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib import pyplot

    with mpl.rc_context({"svg.hashsalt": "pubworks", "font.family": "sans-serif", "svg.fonttype": "none"}):
        figure, axes = pyplot.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
        for axis, kind in zip(axes, (WAITS, COMPUTES), strict=True):
            mine = [point for point in points if point.kind == kind]
            numbers = [point.workers for point in mine]
            axis.plot(numbers, [point.ideal_per_s for point in mine], color="0.6", linestyle="--", label="ideal")
            axis.plot(numbers, [point.per_s for point in mine], color="#2f6f9f", marker="o", label="measured")
            axis.set(title=f"a worker {kind}", xlabel="workers", ylabel="runs a second", xticks=numbers)
            axis.set_ylim(bottom=0)
            axis.spines[["top", "right"]].set_visible(False)
            axis.legend(frameon=False)
        figure.savefig(path, metadata={"Date": None})
