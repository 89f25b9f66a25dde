"""How much there is to do, by backend: for boards, alerts and whoever adds and removes workers."""

from __future__ import annotations

from dataclasses import dataclass, field

from sqlalchemy import Connection, and_, case, func, select

from pubworks.states import AT_PROVIDER, BatchState
from pubworks.store.engine import now
from pubworks.store.tables import batches


@dataclass
class Backlog:
    """The batches of one backend that have not ended."""

    #: By state.
    states: dict[str, int] = field(default_factory=dict)
    #: Those that a worker could take now, and seconds since the first of them became due.
    due: int = 0
    oldest_due_s: float = 0.0

    @property
    def in_flight(self) -> int:
        """Those that occupy, or may occupy, a place at the provider."""
        return sum(self.states.get(state, 0) for state in AT_PROVIDER)


_DUE = and_(batches.c.state == BatchState.PENDING, batches.c.due_at <= now())
_COUNTS = (
    select(
        batches.c.backend, batches.c.state, func.count().label("num_batches"),
        func.sum(case((_DUE, 1), else_=0)).label("due"), (now() - func.min(batches.c.due_at)).label("oldest_s"),
    )
    .where(batches.c.finished_at.is_(None))
    .group_by(batches.c.backend, batches.c.state)
)  # fmt: skip


def backlogs(connection: Connection) -> dict[str, Backlog]:
    """Return what there is to do for each backend that has anything, in one query."""
    found: dict[str, Backlog] = {}
    for row in connection.execute(_COUNTS):
        backlog = found.setdefault(row.backend, Backlog())
        backlog.states[row.state] = row.num_batches
        if row.due:
            backlog.due, backlog.oldest_due_s = int(row.due), float(row.oldest_s)
    return found
