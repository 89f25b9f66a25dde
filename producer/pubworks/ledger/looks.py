"""Waiting for a job of a database: by looking at it again and again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pubworks.ledger.stored import StoredLedger
    from pubworks.states import JobState

#: Seconds between two looks at the database: from the first, growing, to the second. Changes that this very process
#: makes are seen at once.
_LOOK_FIRST_S = 0.02
_LOOK_LONGEST_S = 0.5


class StoredWatch:
    """Looks at the database: soon at first, then more and more rarely, and at once after a change of this process."""

    def __init__(self, ledger: StoredLedger, job_id: str, wake: Callable[[], object] | None) -> None:
        self._ledger, self._store, self._job_id, self._wake = ledger, ledger.store, job_id, wake
        self._seen = self._store.changes
        self._wait_s = _LOOK_FIRST_S

    def look(self) -> JobState:
        return self._ledger.state(self._job_id)

    def pause(self, most_s: float | None) -> None:
        self._work()
        with self._store.changed:
            self._store.changed.wait_for(lambda: self._store.changes != self._seen, self._next(most_s))
            self._seen = self._store.changes

    async def alook(self) -> JobState:
        return await asyncio.to_thread(self.look)

    async def apause(self, most_s: float | None) -> None:
        await asyncio.to_thread(self._work)
        await asyncio.sleep(self._next(most_s))

    def _work(self) -> None:
        if self._wake is not None:
            self._wake()
            self._wake = None

    def _next(self, most_s: float | None) -> float:
        wait_s = self._wait_s if most_s is None else min(self._wait_s, most_s)
        self._wait_s = min(self._wait_s * 1.5, _LOOK_LONGEST_S)
        return wait_s
