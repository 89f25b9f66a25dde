"""The whole service over some time: what there is to do, and what was done."""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Iterable
from enum import StrEnum
from itertools import accumulate
from threading import Lock
from time import monotonic
from typing import TYPE_CHECKING, Any

from pubworks.clock import iso
from pubworks.states import BatchState, JobState, RunState
from pubworks.views.counting import Counting

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from pubworks.store.store import Store
    from pubworks.views.counting import Rows
    from pubworks.views.session import Session

#: Steps of a chart.
STEPS = 60

#: Countings that are remembered.
_MOST = 64


class Span(StrEnum):
    """Over how long."""

    TEN_MINUTES = "10min"
    HOUR = "1h"
    DAY = "24h"
    WEEK = "7d"

    @property
    def seconds(self) -> float:
        """Its length."""
        return {"10min": 600.0, "1h": 3600.0, "24h": 86_400.0, "7d": 604_800.0}[self.value]


class Overviews:
    """Overviews for those who ask, from one counting for all who ask soon after each other.

    The first counting reads every run of the span, later ones those of jobs that changed.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._keeping = Lock()
        self._kept: OrderedDict[tuple[Span, str | None], _Kept] = OrderedDict()

    def document(self, span: Span, viewer: str | None) -> dict[str, Any]:
        """Return what happened of late as JSON values, for somebody who may see some jobs only, or (None) all of them.

        Each series has a number for each step, which begins at the time in ``at`` (seconds since 1970); the last one is
        not over. The counts are as of ``now``, the series may be older by a sixtieth of a step. Jobs that were
        submitted longer before the first step than the span, and than an hour, are left out.
        """
        series = self._of(span, viewer).series(self._session.store)
        with self._session.store.read() as connection:
            return {**series, "now": _now(connection), "counts": _counts(connection, self._session, viewer)}

    def keep(self) -> None:
        """Count everybody's jobs in the long spans, so that nobody waits for that."""
        for span in (Span.DAY, Span.WEEK):
            self._of(span, None).series(self._session.store)

    def _of(self, span: Span, viewer: str | None) -> _Kept:
        with self._keeping:
            found = self._kept.setdefault((span, viewer), _Kept(span, viewer))
            self._kept.move_to_end((span, viewer))
            while len(self._kept) > _MOST:
                self._kept.popitem(last=False)
            return found


class _Kept:
    """The series of one span, for one viewer."""

    def __init__(self, span: Span, viewer: str | None) -> None:
        self._span, self._width = span, span.seconds / STEPS
        self._counting = Counting(self._width, STEPS, viewer)
        self._one_at_a_time = Lock()
        self._until = 0.0
        self._series: dict[str, Any] = {}

    def series(self, store: Store) -> dict[str, Any]:
        """Return them, counted again once they are a sixtieth of a step old; who asks meanwhile waits for that."""
        with self._one_at_a_time:
            if monotonic() >= self._until:
                with store.read() as connection:
                    first, jobs, runs = self._counting.look(connection)
                self._series = self._drawn(first, jobs, runs)
                self._until = monotonic() + self._width / STEPS
            return self._series

    def _drawn(self, first: int, jobs: Rows, runs: Rows) -> dict[str, Any]:
        return {
            "span": str(self._span),
            "step_s": self._width,
            "at": [(first + number) * self._width for number in range(STEPS)],
            "jobs": _jobs(first, jobs),
            **_runs(first, runs),
        }


def _now(connection: Connection) -> str | None:
    from sqlalchemy import select

    from pubworks.store.engine import now

    return iso(connection.execute(select(now())).scalar_one())


def _counts(connection: Connection, session: Session, viewer: str | None) -> dict[str, int]:
    from pubworks.store import fleet, history
    from pubworks.store.backlog import backlogs

    found = backlogs(connection).values()
    states = history.open_jobs(connection, viewer)
    alive = fleet.list_workers(connection, session.settings.lease_s)
    return {
        "jobs_queued": states.get(JobState.QUEUED, 0),
        "jobs_running": states.get(JobState.RUNNING, 0),
        "batches_waiting": sum(backlog.states.get(BatchState.PENDING, 0) for backlog in found),
        "batches_in_flight": sum(backlog.in_flight for backlog in found),
        "batches_held": sum(backlog.states.get(BatchState.HELD, 0) for backlog in found),
        "workers": len(alive),
    }


def _jobs(first: int, found: Rows) -> dict[str, list[int]]:
    ended = {
        "done": (JobState.DONE,),
        "failed": (JobState.FAILED, JobState.PARTIAL),
        "cancelled": (JobState.CANCELLED,),
    }
    return {
        "submitted": _summed(first, ((begun, number) for begun, _, _, number in found)),
        **{
            name: _summed(first, ((end, number) for _, end, state, number in found if state in states))
            for name, states in ended.items()
        },
    }


def _runs(first: int, found: Rows) -> dict[str, Any]:
    ended = {state: [row for row in found if row[4] == state] for state in (RunState.DONE, RunState.FAILED)}
    return {
        "runs": {
            str(state).lower(): _summed(first, ((end, runs) for *_, end, _, runs, _ in rows))
            for state, rows in ended.items()
        },
        "shots": {"done": _summed(first, ((end, shots) for *_, end, _, _, shots in ended[RunState.DONE]))},
        "in_flight": _in_flight(first, found),
    }


def _summed(first: int, numbers: Iterable[tuple[int | None, int]]) -> list[int]:
    """Return the sum of each step; what was before the first, comes after the last, or never, is left out."""
    sums = [0] * STEPS
    for step, number in numbers:
        if step is not None and 0 <= step - first < STEPS:
            sums[step - first] += int(number)
    return sums


def _in_flight(first: int, found: Rows) -> dict[str, list[int]]:
    """Return how many runs of each backend went on at the end of each step."""
    changes: dict[str, list[int]] = defaultdict(lambda: [0] * STEPS)
    for _, backend, begun, end, _, number, _ in found:
        changes[backend][min(max(begun - first, 0), STEPS - 1)] += number
        if end is not None:
            changes[backend][min(max(end - first, 0), STEPS - 1)] -= number
    return {backend: list(accumulate(changed)) for backend, changed in sorted(changes.items())}
