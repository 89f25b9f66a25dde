"""Runs a workload, has faults strike it, waits until all is over, and checks."""

from __future__ import annotations

import contextlib
import heapq
import itertools
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from sqlalchemy import func, select
from tests.chaos.checks import Findings, check
from tests.chaos.faults import FAULTS, Planned
from tests.chaos.stage import Stage
from tests.chaos.workload import KINDS

from pubworks.errors import PubworksError
from pubworks.states import FINAL_BATCHES, BatchState
from pubworks.store import doubts, results, tables
from pubworks.testing.servers import eventually

#: Open batches below which more jobs are submitted.
_OPEN = 100

#: Seconds between two looks of the driver, at workers and at the database.
_LOOK_S, _COUNT_S = 0.02, 0.3


@dataclass
class Outcome:
    """How a run went."""

    findings: Findings
    faults: Counter[str]
    seconds: float
    jobs: int
    resolved: int = 0


def undisturbed(stage: Stage) -> dict[str, dict[int, bytes]]:
    """Run one job of each kind, and return its results by PUB."""
    found = {}
    for kind, made in KINDS.items():
        job = made.run(stage.client, stage.backend, f"{kind}-undisturbed")
        job.wait_for_final_state(60)
        with stage.store.read() as connection:
            found[kind] = results.load_results(connection, job.job_id())
    return found


@dataclass
class Driver:
    """Drives one stage.

    Args:
        stage: With its workers.
        plan: The faults.
        batches: How many batches to run at least.
        decides: Whether somebody decides on held batches, by what the QPU's ledger says.
        settle_s: Seconds that all may take to end after the last fault.
    """

    stage: Stage
    plan: list[Planned]
    batches: int
    decides: bool = False
    settle_s: float = 90.0
    log: list[str] = field(default_factory=list)
    faults: Counter[str] = field(default_factory=Counter)
    resolved: set[str] = field(default_factory=set)
    _jobs: int = 0
    _count_at: float = 0.0
    _total: int = 0
    _open: int = 0
    _healings: list[tuple[float, int, Callable[[], None]]] = field(default_factory=list)
    _numbers: itertools.count[int] = field(default_factory=itertools.count)

    def run(self, until: float = float("inf")) -> Outcome:
        """Run all, and return what was found.

        Args:
            until: Monotonic time at which no more faults come, and no more jobs.
        """
        began = time.monotonic()
        expected = undisturbed(self.stage)
        self._disturb(until)
        self._calm_down()
        over = self._wait_for_the_end()
        if not over:
            self.log += self.stage.autopsy()
        found = check(self.stage, expected, resolved=self.resolved)
        if not over:
            states = Counter(batch.state for batch in self.stage.batches())
            ledger = Counter(run["state"] for run in self.stage.qpu.ledger()["jobs"])
            found.add("", 1, f"not over {self.settle_s} s after the last fault: {states}; at the QPU {ledger}")
        return Outcome(found, self.faults, time.monotonic() - began, self._jobs, len(self.resolved))

    def _disturb(self, until: float) -> None:
        began, plan = time.monotonic(), list(reversed(self.plan))
        while (plan or self._total < self.batches) and time.monotonic() < until:
            elapsed = time.monotonic() - began
            while plan and plan[-1].at_s <= elapsed:
                self._strike(plan.pop(), elapsed)
            self._look_after()
            if self._open < _OPEN and (plan or self._total < self.batches):
                self._submit()
            time.sleep(_LOOK_S)

    def _strike(self, planned: Planned, elapsed: float) -> None:
        self.log.append(f"{elapsed:7.2f} s  {planned.name} (seed {planned.seed})")
        self.faults[planned.name] += 1
        healing = FAULTS[planned.name].strike(self.stage, Random(planned.seed))
        if healing is not None:
            after_s, heal = healing
            entry = (time.monotonic() + after_s, next(self._numbers), lambda: self._heal(planned.name, heal))
            heapq.heappush(self._healings, entry)

    def _heal(self, name: str, heal: Callable[[], None]) -> None:
        missed = self.stage.missed
        heal()
        self.faults[name] -= self.stage.missed - missed  # what struck nobody is no fault

    def _look_after(self) -> None:
        """Heal what is due, start workers again, count, and decide on what is held."""
        self.stage.supervise()
        while self._healings and self._healings[0][0] <= time.monotonic():
            heapq.heappop(self._healings)[2]()
        if time.monotonic() >= self._count_at:
            self._count_at = time.monotonic() + _COUNT_S
            with contextlib.suppress(PubworksError):
                self._count()
                if self.decides:
                    self._decide()

    def _count(self) -> None:
        state = tables.batches.c.state
        counts = {row[0]: row[1] for row in self.stage.query(select(state, func.count()).group_by(state))}
        self._total = sum(counts.values())
        over = (*FINAL_BATCHES, *(() if self.decides else (BatchState.HELD,)))
        self._open = sum(count for name, count in counts.items() if name not in over)

    def _submit(self) -> None:
        kind = list(KINDS)[self._jobs % len(KINDS)]
        with contextlib.suppress(PubworksError):  # the database is away
            KINDS[kind].run(self.stage.client, self.stage.backend, f"{kind}-{self._jobs}")
            self._jobs += 1
            self._open += 8  # about; the next count is exact

    def _decide(self) -> None:
        """Do what a person does: look at the provider's list of jobs."""
        with self.stage.store.read() as connection:
            held = doubts.held(connection)
        if not held:
            return
        by_tag = {run["tag"]: run for run in self.stage.qpu.ledger()["jobs"]}
        for row in held:
            if row.held_s < 3.0:
                continue  # a call that is on its way may still arrive
            known = by_tag.get(row.id)
            live = known is not None and known["state"] not in ("failed", "cancelled")
            with self.stage.store.write() as connection:
                decision = ("adopt", known["id"]) if live and known else ("resubmit", None)
                doubts.resolve(connection, row.id, *decision)
            self.resolved.add(row.id)

    def _calm_down(self) -> None:
        """Heal everything."""
        while self._healings:
            heapq.heappop(self._healings)[2]()
        self.stage.disarm()
        have = self.stage.qpu.settings()
        self.stage.injected["too_many_next"] -= have["too_many_next"]
        self.stage.qpu.set(**{name: 0 for name in have if name.endswith("_next")})

    def _wait_for_the_end(self) -> bool:
        def over() -> bool:
            self._look_after()
            with contextlib.suppress(PubworksError):
                self._count()
                state = tables.jobs.c.state
                waiting = (
                    select(func.count()).where(state.in_(("QUEUED", "RUNNING")))
                    .where(tables.jobs.c.batches_left > (0 if self.decides else -1))
                )  # fmt: skip
                return self._open == 0 and (not self.stage.query(waiting)[0][0] or not self.decides)
            return False

        with contextlib.suppress(TimeoutError):
            eventually(over, self.settle_s)
            time.sleep(1.0)  # a late run is cancelled, a PUB merged
            return True
        return False
