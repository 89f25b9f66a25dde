"""The whole service over some time: what there is to do, and what was done."""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Iterable, Sequence
from enum import StrEnum
from itertools import accumulate
from threading import Lock
from time import monotonic
from typing import TYPE_CHECKING, Any

from pubworks.clock import iso
from pubworks.states import BatchState, JobState, RunState

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from pubworks.store.history import Steps
    from pubworks.views.session import Session

#: Steps of a chart.
STEPS = 60

#: Countings that are remembered.
_MOST = 256


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

    Counting reads every run of the span: that of a week is worth doing every few minutes only.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._keeping = Lock()
        self._counted: OrderedDict[tuple[Span, str | None], tuple[float, dict[str, Any]]] = OrderedDict()

    def document(self, span: Span, viewer: str | None) -> dict[str, Any]:
        """Return what happened of late as JSON values, for somebody who may see some jobs only, or (None) all of them.

        Each series has a number for each step, which begins at the time in ``at`` (seconds since 1970); the last one is
        not over. The counts are as of ``now``, the series may be older by a sixtieth of a step. Jobs that were
        submitted longer before the first step than the span, and than an hour, are left out.
        """
        with self._session.store.read() as connection:
            counts = _counts(connection, self._session, viewer)
            until, series = self._counted.get((span, viewer), (0.0, {}))
            if monotonic() >= until:
                series = _series(connection, span, viewer)
                self._keep((span, viewer), series)
            return {**series, "now": _now(connection), "counts": counts}

    def _keep(self, key: tuple[Span, str | None], series: dict[str, Any]) -> None:
        with self._keeping:
            self._counted[key] = (monotonic() + series["step_s"] / STEPS, series)
            self._counted.move_to_end(key)
            while len(self._counted) > _MOST:
                self._counted.popitem(last=False)


def _now(connection: Connection) -> str | None:
    from sqlalchemy import select

    from pubworks.store.engine import now

    return iso(connection.execute(select(now())).scalar_one())


def _series(connection: Connection, span: Span, viewer: str | None) -> dict[str, Any]:
    from sqlalchemy import select

    from pubworks.store.engine import now
    from pubworks.store.history import Steps

    width = span.seconds / STEPS
    first = (connection.execute(select(now())).scalar_one() // width - STEPS + 1) * width
    steps = Steps(first, width, STEPS)
    return {
        "span": str(span),
        "step_s": width,
        "at": [first + number * width for number in range(STEPS)],
        "jobs": _jobs(connection, steps, viewer),
        **_runs(connection, steps, viewer),
    }


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


def _jobs(connection: Connection, steps: Steps, viewer: str | None) -> dict[str, list[int]]:
    from pubworks.store import history

    found = [tuple(row) for row in history.jobs_over_time(connection, steps, viewer)]
    ended = {
        "done": (JobState.DONE,),
        "failed": (JobState.FAILED, JobState.PARTIAL),
        "cancelled": (JobState.CANCELLED,),
    }
    return {
        "submitted": _summed((begun, number) for begun, _, _, number in found),
        **{
            name: _summed((end, number) for _, end, state, number in found if end is not None and state in states)
            for name, states in ended.items()
        },
    }


def _runs(connection: Connection, steps: Steps, viewer: str | None) -> dict[str, Any]:
    from pubworks.store import history

    found = [tuple(row) for row in history.runs_over_time(connection, steps, viewer)]
    over = [row for row in found if row[2] is not None]
    good = [row for row in over if row[3] == RunState.DONE]
    bad = [row for row in over if row[3] == RunState.FAILED]
    return {
        "runs": {
            "done": _summed((row[2], row[4]) for row in good),
            "failed": _summed((row[2], row[4]) for row in bad),
        },
        "shots": {"done": _summed((row[2], row[5]) for row in good)},
        "in_flight": _in_flight(found),
    }


def _summed(numbers: Iterable[tuple[int, int]]) -> list[int]:
    """Return the sum of each step; what was before the first, or comes after the last, is left out."""
    sums = [0] * STEPS
    for step, number in numbers:
        if 0 <= step < STEPS:
            sums[step] += int(number)
    return sums


def _in_flight(found: Sequence[tuple[Any, ...]]) -> dict[str, list[int]]:
    """Return how many runs of each backend went on at the end of each step."""
    changes: dict[str, list[int]] = defaultdict(lambda: [0] * STEPS)
    for backend, begun, end, _, number, _ in found:
        changes[backend][min(max(begun, 0), STEPS - 1)] += number
        if end is not None:
            changes[backend][min(max(end, 0), STEPS - 1)] -= number
    return {backend: list(accumulate(changed)) for backend, changed in sorted(changes.items())}
