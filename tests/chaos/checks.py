"""What must hold at the end: counted by the QPU's own ledger, and read from the database."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select
from tests.chaos.stage import Stage
from tests.chaos.workload import KINDS

from pubworks.states import BatchState
from pubworks.store import tables

#: States of a provider job that nothing will change.
_RUN_OVER = {"DONE", "FAILED", "LOST", "CANCELLED"}

#: Ledger states of a run that was paid for and came to nothing by itself.
_CAME_TO_NOTHING = {"failed", "cancelled"}


@dataclass
class Findings:
    """What was counted, and what is wrong."""

    batches: int = 0
    accepted: int = 0
    held: int = 0
    #: Batches without result; batches that were paid for twice; jobs with other results than an undisturbed one.
    lost: int = 0
    twice: int = 0
    wrong: int = 0
    problems: list[str] = field(default_factory=list)

    def add(self, what: str, count: int, problem: str) -> None:
        """Note a problem."""
        if what:
            setattr(self, what, getattr(self, what) + count)
        self.problems.append(problem)


@dataclass(frozen=True)
class Rows:
    """The tables."""

    jobs: list[Any]
    pubs: list[Any]
    batches: list[Any]
    runs: list[Any]
    chunks: list[Any]
    results: list[Any]


def read(stage: Stage) -> Rows:
    """Return the tables, in one transaction."""
    t = tables
    columns = [column for column in t.chunks.c if column.name != "outcomes"]
    with stage.store.read() as connection:
        queries = (select(t.jobs), select(t.pubs), select(t.batches), select(t.provider_jobs), select(*columns),
                   select(t.results))  # fmt: skip
        return Rows(*(list(connection.execute(query).all()) for query in queries))


def check(stage: Stage, expected: Mapping[str, Mapping[int, bytes]], *, resolved: Iterable[str] = ()) -> Findings:
    """Return what is wrong on a stage where nothing is left to run.

    Args:
        stage: The stage.
        expected: Kind of job -> PUB -> the result of an undisturbed run.
        resolved: Tags of which a person decided that they are run again.
    """
    rows, ledger = read(stage), stage.qpu.ledger()["jobs"]
    found = Findings(batches=len(rows.batches), accepted=len(ledger))
    found.held = sum(batch.state == BatchState.HELD for batch in rows.batches)
    _check_jobs(rows, expected, found)
    _check_batches(rows, found)
    _check_chunks(rows, found)
    _check_ledger(rows, ledger, set(resolved), found)
    _check_limits(stage, found)
    return found


def _check_jobs(rows: Rows, expected: Mapping[str, Mapping[int, bytes]], found: Findings) -> None:
    results: dict[str, dict[int, bytes]] = defaultdict(dict)
    for row in rows.results:
        results[row.job_id][row.pub] = row.data
    for job in rows.jobs:
        kind = job.name.partition("-")[0]
        if job.state != KINDS[kind].state or job.batches_left:
            found.add("", 1, f"job {job.id} ({kind}) is {job.state}, {job.batches_left} batches left")
        elif results[job.id] != expected[kind]:
            different = [pub for pub, data in expected[kind].items() if results[job.id].get(pub) != data]
            found.add("wrong", 1, f"job {job.id} ({kind}): PUBs {different} differ from an undisturbed run")


def _check_batches(rows: Rows, found: Findings) -> None:
    kinds = {job.id: job.name.partition("-")[0] for job in rows.jobs}
    for batch in rows.batches:
        poisoned = kinds[batch.job_id] == "poisoned" and batch.state == BatchState.FAILED
        if batch.state in (BatchState.DONE, BatchState.SPLIT, BatchState.HELD) or poisoned:
            idle = (batch.due_at, batch.lease_owner, batch.lease_until) == (None, None, None)
            if not idle or (batch.finished_at is None) != (batch.state == BatchState.HELD):
                found.add("", 1, f"batch {batch.id} is {batch.state}, and still somebody's or due: {batch}")
        else:
            found.add("lost", 1, f"batch {batch.id} is {batch.state}: {batch.reason}")
    by_job = Counter(batch.job_id for batch in rows.batches if batch.state != BatchState.SPLIT)
    for job in rows.jobs:
        if job.num_batches != by_job[job.id]:
            found.add("", 1, f"job {job.id} counts {job.num_batches} batches; there are {by_job[job.id]}")
    held = {batch.id for batch in rows.batches if batch.state == BatchState.HELD}
    for run in rows.runs:
        if run.state not in _RUN_OVER and not (run.batch_id in held and run.state == "UNCERTAIN"):
            found.add("", 1, f"run {run.attempt} of batch {run.batch_id} is {run.state}")


def _check_chunks(rows: Rows, found: Findings) -> None:
    """Every circuit of a PUB with a result has each of its shots exactly once."""
    shots: dict[tuple[str, int], Counter[int]] = defaultdict(Counter)
    spans: dict[tuple[str, int, int], list[tuple[int, int]]] = defaultdict(list)
    for chunk in rows.chunks:
        for circuit in range(chunk.first, chunk.end):
            shots[chunk.job_id, chunk.pub][circuit] += chunk.shots
            spans[chunk.job_id, chunk.pub, circuit].append((chunk.first_shot, chunk.first_shot + chunk.shots))
    for pub in rows.pubs:
        have = shots[pub.job_id, pub.position]
        if (pub.missing == 0) != (pub.collected_at is not None):
            found.add("", 1, f"PUB {pub.position} of job {pub.job_id}: {pub.missing} missing, {pub.collected_at}")
        if pub.missing == 0 and have != dict.fromkeys(range(pub.size), pub.shots):
            found.add("wrong", 1, f"PUB {pub.position} of job {pub.job_id} has the shots {dict(have)}")
    for key, parts in spans.items():
        parts.sort()
        if any(first[1] != second[0] for first, second in zip(parts, parts[1:], strict=False)) or parts[0][0]:
            found.add("wrong", 1, f"the shots of {key} are {parts}")


def _check_ledger(rows: Rows, ledger: list[dict[str, Any]], resolved: set[str], found: Findings) -> None:
    lost_results = {run.provider_job_id for run in rows.runs if run.state == "FAILED" and "410" in (run.error or "")}
    by_tag: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for run in ledger:
        by_tag[run["tag"]].append(run)
    for batch in rows.batches:
        if batch.state == BatchState.DONE and not any(run["state"] == "done" for run in by_tag[batch.id]):
            found.add("wrong", 1, f"batch {batch.id} is DONE, and the QPU knows of no such run")
    for tag, runs in by_tag.items():
        if problem := next(_doubles(runs, lost_results), None):
            if tag in resolved:
                continue
            found.add("twice", 1, f"batch {tag} was accepted {len(runs)} times: {problem}: {runs}")


def _doubles(runs: list[dict[str, Any]], lost_results: set[str]) -> Iterator[str]:
    for first, second in zip(runs, runs[1:], strict=False):
        if first["done"] is None or second["accepted"] < first["done"]:
            yield "the second while the first was alive"
        elif first["state"] not in _CAME_TO_NOTHING and first["id"] not in lost_results:
            yield "the first had a result"
        elif first["state"] == "cancelled":
            yield "the first was cancelled"


def _check_limits(stage: Stage, found: Findings) -> None:
    counts, settings = stage.qpu.counts(), stage.qpu.settings()
    asked = stage.injected["too_many_next"] - settings["too_many_next"]
    refused = counts["by_code"].get("too_many_requests", 0) - asked
    if refused > 0:
        found.add("", 1, f"{refused} requests above {settings['requests_per_second']}/s")
    if crowd := counts["by_code"].get("too_many_jobs", 0):
        found.add("", 1, f"{crowd} submissions while {settings['max_jobs']} runs were in flight")
