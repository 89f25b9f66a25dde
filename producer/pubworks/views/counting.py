"""Counts of jobs and runs over time that are kept: only what changed is counted again."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sqlalchemy import Connection

#: Jobs are counted that were submitted so many seconds, and all steps together, before the first one: they may have
#: ended since.
_MARGIN_S = 3600.0

#: Events that are looked at again: PostgreSQL gives ids before it commits, so that a smaller one may appear later.
_LATE = 2000

#: Events from which on counting all is quicker than finding out what changed.
_MANY = 50_000

#: Jobs as (step of submission, step of the end, state, count), and runs as (step of submission, backend, step of the
#: beginning, step of the end, state, runs, shots).
Rows = list[tuple[Any, ...]]


@dataclass
class Counting:
    """The last steps until now, of the jobs that somebody may see, by the step in which those were submitted."""

    #: Seconds of a step.
    width: float
    #: How many there are.
    count: int
    #: None: everybody's jobs.
    viewer: str | None
    _jobs: dict[int, Rows] = field(default_factory=dict)
    _runs: dict[int, Rows] = field(default_factory=dict)
    _seen: int = 0

    def look(self, connection: Connection) -> tuple[int, Rows, Rows]:
        """Return the first step, and the jobs and runs; steps are numbered from 1970 on."""
        from sqlalchemy import select

        from pubworks.store.engine import now
        from pubworks.store.feed import newest

        last = int(connection.execute(select(now())).scalar_one() // self.width)
        first = last - self.count + 1
        before = int(max(_MARGIN_S, self.width * self.count) // self.width)
        seen = newest(connection)  # what happens while it is counted is counted again
        self._recount(connection, range(first - before, last + 1), seen)
        self._seen = seen
        return first, list(chain(*self._jobs.values())), list(chain(*self._runs.values()))

    def _recount(self, connection: Connection, steps: range, seen: int) -> None:
        from pubworks.store import history

        wanted = self._old(connection, steps, seen)
        ranges, of = list(_ranges(wanted)), history.Steps(self.width)
        asked = (connection, of, ranges, self.viewer)
        jobs, runs = (history.jobs_over_time(*asked), history.runs_over_time(*asked)) if ranges else ((), ())
        self._jobs, self._runs = (
            _replaced(kept, steps, wanted, rows) for kept, rows in ((self._jobs, jobs), (self._runs, runs))
        )

    def _old(self, connection: Connection, steps: range, seen: int) -> set[int]:
        """Return the steps that were not counted yet, or of which a job changed since."""
        from pubworks.store import history

        new = set(steps) - self._jobs.keys()
        if not self._jobs or seen - self._seen > _MANY:
            return set(steps)
        changed = history.changed(connection, history.Steps(self.width), self._seen - _LATE)
        return new | (changed & set(steps))


def _replaced(kept: dict[int, Rows], steps: range, wanted: set[int], rows: Iterable[Any]) -> dict[int, Rows]:
    """Return what is kept of these steps, with new rows in the place of those of the wanted steps."""
    found: dict[int, Rows] = {step: [] if step in wanted else kept[step] for step in steps}
    for row in rows:
        if row[0] in wanted:  # a time is rounded, so that it may be of the step behind
            found[row[0]].append(tuple(row))
    return found


def _ranges(steps: set[int]) -> Iterable[range]:
    """Yield steps that follow each other as ranges.

    >>> list(_ranges({7, 3, 4, 5}))
    [range(3, 6), range(7, 8)]
    """
    ordered = sorted(steps)
    begins = [step for step in ordered if step - 1 not in steps]
    ends = [step + 1 for step in ordered if step + 1 not in steps]
    return map(range, begins, ends)
