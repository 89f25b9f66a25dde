"""The feed of events reads no more than somebody may see, and ends for those who read too slowly."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from pubworks.states import Scope
from pubworks.store import feed as queries
from pubworks.store import jobs
from pubworks.store.records import JobDraft
from pubworks.store.store import Store
from pubworks.store.tokens import Principal
from pubworks.web import feed
from pubworks.web.feed import Feed, Told, Watcher

ANN, BEN = (Principal(owner, owner, frozenset({Scope.READ})) for owner in ("ann", "ben"))


@pytest.fixture
def reads(store: Store, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many events each look at the database found; it has two of each of 20 jobs of ann's."""
    for number in range(20):
        with store.write() as connection:
            jobs.submit(connection, JobDraft(f"J{number}", None, "sampler", "aer", {}, {}, (), (), owner="ann"))
    found: list[int] = []
    look = queries.after

    def after(*args: Any, **options: Any) -> Any:
        rows = look(*args, **options)
        found.append(len(rows))
        return rows

    monkeypatch.setattr(queries, "after", after)
    monkeypatch.setattr(feed, "_PAGE", 5)
    return found


@pytest.mark.parametrize(("who", "job", "most"), [(ANN, None, 5), (ANN, "J19", 2), (BEN, None, 0)])
def test_who_waits_has_no_more_read_than_they_may_see(
    store: Store, reads: list[int], who: Principal, job: str | None, most: int
) -> None:
    assert asyncio.run(Feed(store).wait(who, job, 0, 0.01)) == 40
    assert sum(reads) <= most


def test_who_comes_again_is_told_all_that_they_may_see(store: Store, reads: list[int]) -> None:
    async def told(who: Principal, job: str | None) -> list[bytes]:
        source = Feed(store)
        frames = [frame async for frame in source._missed(Watcher(who, job), 0, 40)]
        source.close()
        return frames

    assert [len(asyncio.run(told(*asked))) for asked in ((ANN, None), (ANN, "J7"), (BEN, None))] == [40, 2, 0]
    assert sum(reads) == 42


def test_a_gap_of_an_earlier_watch_is_no_gap_of_this_one(store: Store) -> None:
    source = Feed(store)
    source._gap_since = 1e-9  # long ago
    asyncio.run(source._start())
    assert source._in_order([Told(2, "j", "ann", False, b"")]) == [], "the event 1 may still come"


def test_the_end_is_told_to_who_reads_too_slowly() -> None:
    async def goes_on() -> list[bool]:
        watcher = Watcher(ANN, None, unread=asyncio.Queue(1))
        for told in (Told(1, "j", "ann", False, b""), None):
            watcher.tell(told)
        return [await watcher.stirred(0.01)]

    assert asyncio.run(goes_on()) == [False]
