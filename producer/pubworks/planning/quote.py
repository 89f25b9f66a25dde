"""What a job would take and cost, before it is submitted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from pubworks.backends.price import Cost, PricedRun, PriceModel, total
from pubworks.planning.plan import most_circuits
from pubworks.planning.target import Target
from pubworks.store.pace import Pace
from pubworks.store.records import BatchDraft, JobDraft


@dataclass(frozen=True)
class Split:
    """Why a job is more than one run."""

    #: ``max_circuits``, ``max_shots``, ``max_payload_bytes``, ``shots`` or ``seeds``.
    cause: str
    #: Runs that are there for it.
    more_runs: int
    #: The limit, and who set it; None for ``shots`` and ``seeds``.
    limit: int | None = None
    source: str | None = None

    def __str__(self) -> str:
        limit = f"{self.limit} ({self.source})" if self.limit else ""
        return f"{self.more_runs} more, for " + _CAUSES[self.cause].format(limit=limit)


_CAUSES = {
    "max_circuits": "max_circuits {limit}",
    "max_payload_bytes": "max_payload_bytes {limit}",
    "max_shots": "max_shots {limit}: each part has a seed of its own",
    "shots": "PUBs with other shots: a run has one number of them",
    "seeds": "other parts of the shots: runs with the same seed would draw the same samples",
}


@dataclass(frozen=True)
class Plan:
    """What ``run`` would submit, and what that would take; seconds and cost are estimates."""

    backend: str
    primitive: str
    num_pubs: int
    #: Exactly those of the job that ``run`` submits with the same PUBs and options.
    batches: tuple[BatchDraft, ...]
    splits: tuple[Split, ...]
    #: Seconds until all of it is stored, what waits before it included; None: this backend did no run yet.
    seconds: float | None
    #: Runs of other jobs that wait before it, and the past ones that ``seconds`` is known from.
    ahead: int
    known_from: int
    #: None: there is no price model, or it needs a time that is not known.
    cost: Cost | None

    @property
    def circuits(self) -> int:
        """Circuits, over all runs."""
        return sum(batch.num_circuits for batch in self.batches)

    @property
    def shots(self) -> int:
        """Shots, over all circuits of all runs."""
        return sum(batch.num_circuits * batch.shots for batch in self.batches)

    @property
    def payload_bytes(self) -> int:
        """Bytes of QPY in all runs, as ``max_payload_bytes`` counts them."""
        return sum(batch.payload_bytes for batch in self.batches)

    def __repr__(self) -> str:
        cost = "" if self.cost is None else f", about {self.cost}"
        return f"<Plan {len(self.batches)} runs, {self.circuits} circuits, {self.shots} shots on {self.backend}{cost}>"

    def __str__(self) -> str:
        return "\n".join(f"{name:<10}{value}" for name, value in self.rows())

    def rows(self) -> list[tuple[str, str]]:
        """Return what to show, as names and values; a name may be empty."""
        why = [("", str(split)) for split in self.splits]
        return [
            ("backend", self.backend),
            ("PUBs", f"{self.num_pubs} of the {self.primitive}"),
            ("runs", str(len(self.batches))),
            *why,
            ("circuits", f"{self.circuits:,}"),
            ("shots", f"{self.shots:,}"),
            ("payload", f"{self.payload_bytes:,} bytes"),
            ("time", self._time()),
            ("cost", "unknown: no price is known" if self.cost is None else f"about {self.cost}"),
        ]

    def _repr_html_(self) -> str:
        from pubworks.notebook.html import sheet

        return sheet(f"Plan for {self.backend}", self.rows()[1:])

    def _time(self) -> str:
        if self.seconds is None:
            return f"unknown: {self.backend} has done no run yet"
        before = f", {self.ahead} runs wait before it" if self.ahead else ""
        return f"about {self.seconds:,.3g} s (from the last {self.known_from} runs{before})"

    def document(self) -> dict[str, Any]:
        """Return all of it as JSON values."""
        return {
            "backend": self.backend,
            "primitive": self.primitive,
            "num_pubs": self.num_pubs,
            "num_batches": len(self.batches),
            "circuits": self.circuits,
            "shots": self.shots,
            "payload_bytes": self.payload_bytes,
            "estimated_seconds": self.seconds,
            "known_from_runs": self.known_from,
            "runs_ahead": self.ahead,
            "estimated_cost": self.cost and vars(self.cost),
            "splits": [vars(split) for split in self.splits],
            "batches": [_document(batch) for batch in self.batches],
        }


def _document(batch: BatchDraft) -> dict[str, Any]:
    return {
        "circuits": batch.num_circuits,
        "shots": batch.shots,
        "payload_bytes": batch.payload_bytes,
        "seed": batch.seed,
        "slices": [piece._asdict() for piece in batch.slices],
    }


def quote(draft: JobDraft, target: Target, *, pace: Pace | None, ahead: int, price: PriceModel | None) -> Plan:
    """Return what a job would take.

    Args:
        draft: The job, planned.
        target: Its backend.
        pace: How quickly that does its runs; None: it did none yet.
        ahead: Runs that wait for it.
        price: What a run of it costs; None: nobody knows.

    Raises:
        ConfigError: The price model fails.
    """
    runs = Counter((batch.num_circuits, batch.shots) for batch in draft.batches)
    run_s = None if pace is None else pace.run_s
    cost = total(price, ((PricedRun(*run, run_s), count) for run, count in runs.items()))
    return Plan(
        draft.backend, draft.primitive, len(draft.pubs), draft.batches, tuple(_splits(draft.batches, target)),
        None if pace is None else pace.seconds(len(draft.batches) + ahead if draft.batches else 0),
        ahead, pace.num_runs if pace else 0, cost,
    )  # fmt: skip


def _splits(batches: Iterable[BatchDraft], target: Target) -> Iterator[Split]:
    most = most_circuits(target.limits, target.max_circuits)
    for cause, count in Counter(_cause(one, two, most) for one, two in pairwise(batches)).items():
        limit = most if cause == "max_circuits" else getattr(target.limits, cause, None)
        yield Split(cause, count, limit, target.source(cause, limit) if limit else None)


def _cause(one: BatchDraft, two: BatchDraft, most: int) -> str:
    """Return why a run is not part of the one before it."""
    shots, part = (one.shots, one.slices[0].first_shot), (two.shots, two.slices[0].first_shot)
    if shots == part:
        return "max_circuits" if one.num_circuits == most else "max_payload_bytes"
    if part[1]:
        return "max_shots"
    return "seeds" if one.shots == two.shots else "shots"
