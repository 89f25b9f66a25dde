"""The long form: ``python -m tests.chaos --faults 1000 --batches 5000 --seed 1 --report chaos.json``.

Faults and batches are done in pieces of a few minutes, each on servers of its own and with a seed of its own. With
``--minutes`` the command ends after so much time; the next one goes on where the report ends.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from tests.chaos.driver import Driver, Outcome
from tests.chaos.faults import schedule
from tests.chaos.stage import stage
from tests.chaos.workload import INVALID

#: Faults of one piece, and seconds from one to the next on average.
_PIECE, _APART_S = 100, 1.3

#: Seconds that a piece takes besides its faults.
_AROUND_S = 45.0

_COUNTS = ("batches", "accepted", "lost", "twice", "wrong", "held", "resolved", "seconds")


def main() -> int:
    """Run pieces until the report has enough. Returns 1 if anything is wrong."""
    args = _arguments()
    report = _read(args.report)
    end = time.monotonic() + 60.0 * args.minutes
    while sum(report["faults"].values()) < args.faults or report["batches"] < args.batches:
        left = args.faults - sum(report["faults"].values())
        count = max(20, min(_PIECE, left))
        if time.monotonic() + _AROUND_S + count * _APART_S > end:
            break
        batches = (args.batches - report["batches"]) * count // max(left, count)
        _add(report, *_piece(args, args.seed + len(report["seeds"]), count, batches))
        if args.report:
            args.report.write_text(json.dumps(report, indent=1))
    print(_table(report))
    return int(bool(report["problems"]))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--faults", type=int, default=1000)
    parser.add_argument("--batches", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=float("inf"))
    parser.add_argument("--report", type=Path, help="JSON that this run is added to")
    parser.add_argument("--kind", default="postgresql-redis", help="or postgresql-rabbitmq, sqlite")
    parser.add_argument("--no-look-up", action="store_true", help="the provider cannot find jobs by their tag")
    parser.add_argument("--logs", type=Path, help="folder for what the workers of a piece with problems wrote")
    return parser.parse_args()


def _piece(args: argparse.Namespace, seed: int, faults: int, batches: int) -> tuple[int, Outcome]:
    with tempfile.TemporaryDirectory(prefix="pubworks-chaos-") as folder, stage(
        args.kind, Path(folder), limits={"requests": "60/s burst 10", "in_flight": 60}, invalid_circuits=INVALID,
        find_by_tag=not args.no_look_up, requests_per_second=150, burst=75, max_jobs=120 if args.no_look_up else 60,
        slow_s=3.0, listing_delay_s=0.3,
    ) as made:  # fmt: skip
        made.add_workers(2)
        driver = Driver(made, schedule(args.kind, seed, faults, faults * _APART_S), batches, decides=args.no_look_up)
        outcome = driver.run()
        problems = outcome.findings.problems
        print(f"seed {seed}: {outcome.faults.total()} faults, {outcome.findings.batches} batches,"
              f" {len(problems)} problems", file=sys.stderr, flush=True)  # fmt: skip
        if problems:
            print(*driver.log, *problems, sep="\n", file=sys.stderr, flush=True)
            if args.logs:
                args.logs.mkdir(parents=True, exist_ok=True)
                (args.logs / f"seed{seed}.log").write_text(made.logs())
        return seed, outcome


def _read(path: Path | None) -> dict[str, Any]:
    if path is not None and path.exists():
        return dict(json.loads(path.read_text()))
    return {"seeds": [], "faults": {}, "problems": [], **dict.fromkeys(_COUNTS, 0)}


def _add(report: dict[str, Any], seed: int, outcome: Outcome) -> None:
    found = outcome.findings
    report["seeds"].append(seed)
    report["faults"] = dict(Counter(report["faults"]) + outcome.faults)
    report["problems"] += [f"seed {seed}: {problem}" for problem in found.problems]
    for name in _COUNTS:
        report[name] += getattr(found, name, None) or getattr(outcome, name, 0)


def _table(report: dict[str, Any]) -> str:
    faults = sorted(report["faults"].items(), key=lambda item: -item[1])
    rows = [*faults, ("faults", sum(report["faults"].values())), *((name, report[name]) for name in _COUNTS)]
    rows.append(("problems", len(report["problems"])))
    return "\n".join(f"{name:<34} {value:>8.0f}" for name, value in rows)


if __name__ == "__main__":
    sys.exit(main())
