"""Events as they happen, to any number of watchers, from one poller for each server process."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from anyio import to_thread

from pubworks.errors import StoreError
from pubworks.primitives.timeline import event_of
from pubworks.store import feed, listing, logins, tokens
from pubworks.telemetry import log
from pubworks.views import documents

if TYPE_CHECKING:
    from sqlalchemy import Row

    from pubworks.store.store import Store
    from pubworks.store.tokens import Principal

#: Seconds between two looks at the database, and between two at who may still watch.
POLL_S, _JUDGE_S = 0.25, 5.0

#: Seconds after which an id that is missing between two others is one that was never committed. PostgreSQL gives ids
#: before it commits, so that a smaller one may appear after a larger one.
_GAP_S = 3.0

#: Seconds without an event after which a sign of life is sent.
_QUIET_S = 15.0

#: Events of one look, and those that a watcher may leave unread before it is cut off; it comes again with its last id.
_PAGE, _MOST_UNREAD = 1000, 5000


@dataclass(frozen=True)
class Told:
    """An event, as it is sent."""

    id: int
    job: str
    owner: str
    #: Whether it is for all: its job is shared, or was until this event.
    shared: bool
    frame: bytes


@dataclass(eq=False)
class Watcher:
    """Somebody who watches all that they may see, or one job."""

    who: Principal
    job: str | None
    #: Key of the login by which they watch; None: by the token itself.
    login: str | None = None
    unread: asyncio.Queue[Told | None] = field(default_factory=lambda: asyncio.Queue(_MOST_UNREAD))
    is_cut_off: bool = False

    def sees(self, told: Told) -> bool:
        """Return whether an event is for them."""
        mine = self.who.viewer is None or told.shared or told.owner == self.who.viewer
        return mine and self.job in (None, told.job)

    def tell(self, told: Told | None) -> None:
        """Have an event sent; None is the end. Who reads too slowly is cut off."""
        try:
            self.unread.put_nowait(told)
        except asyncio.QueueFull:
            self.is_cut_off = True

    async def stirred(self, within_s: float) -> bool:
        """Wait until something was told, or so many seconds, and forget it. Returns whether to go on watching."""
        with contextlib.suppress(TimeoutError):
            told = await asyncio.wait_for(self.unread.get(), within_s)
            while told is not None and not self.unread.empty():
                told = self.unread.get_nowait()
            return told is not None and not self.is_cut_off
        return True


class Feed:
    """The events of one database.

    Args:
        store: The database.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._watchers: set[Watcher] = set()
        self._cursor, self._gap_since = 0, 0.0
        self._task: asyncio.Task[None] | None = None
        self._starting = asyncio.Lock()
        self._is_closing = False

    def close(self) -> None:
        """End every watching with the next look; may be called by a handler of a signal."""
        self._is_closing = True

    async def watch(self, who: Principal, job: str | None, last: int | None) -> AsyncIterator[bytes]:
        """Yield the frames of events as they happen, beginning behind the event ``last`` or now."""
        async with self.watching(Watcher(who, job)) as watcher:
            seen = self._cursor
            yield b": here\n\n"
            async for frame in self._missed(watcher, seen if last is None else last, seen):
                yield frame
            async for frame in self._live(watcher):
                yield frame

    @contextlib.asynccontextmanager
    async def watching(self, watcher: Watcher) -> AsyncIterator[Watcher]:
        """Have a watcher told of what happens, as long as the context lasts."""
        async with self._starting:
            await self._start()
            self._watchers.add(watcher)
        try:
            yield watcher
        finally:
            self._watchers.discard(watcher)

    async def wait(self, who: Principal, job: str | None, last: int | None, most_s: float) -> int:
        """Return once something happened behind the event ``last``, or after so many seconds.

        Returns:
            The id to begin behind next time; at once, without one to begin behind now.
        """
        watcher = Watcher(who, job)
        async with self._starting:
            await self._start()
            self._watchers.add(watcher)
            seen = self._cursor
        try:
            if last is not None:
                async with contextlib.aclosing(self._missed(watcher, last, seen)) as missed:
                    if await anext(missed, None) is None:
                        with contextlib.suppress(TimeoutError):
                            await asyncio.wait_for(watcher.unread.get(), most_s)
            return (
                self._cursor
            )  # whoever asks looks at the job after this: all that was told to them is in what they see
        finally:
            self._watchers.discard(watcher)

    async def _start(self) -> None:
        if self._task is None or self._task.done():
            self._cursor, self._gap_since = await to_thread.run_sync(self._newest), 0.0
            self._task = asyncio.create_task(self._poll())

    def _newest(self) -> int:
        with self._store.read() as connection:
            return feed.newest(connection)

    async def _missed(self, watcher: Watcher, last: int, until: int) -> AsyncGenerator[bytes]:
        while last < until and not self._is_closing:
            found = await to_thread.run_sync(self._after, last, until, watcher)
            for told in found:
                yield told.frame
            last = found[-1].id if len(found) == _PAGE else until

    async def _live(self, watcher: Watcher) -> AsyncIterator[bytes]:
        while not (watcher.is_cut_off and watcher.unread.empty()):
            try:
                told = await asyncio.wait_for(watcher.unread.get(), _QUIET_S)
            except TimeoutError:
                yield b": still here\n\n"
                continue
            if told is None:
                return
            yield told.frame

    async def _poll(self) -> None:
        judged = time.monotonic()
        while self._watchers and not self._is_closing:
            try:
                self._tell(self._in_order(await to_thread.run_sync(self._after, self._cursor)))
                if time.monotonic() - judged > _JUDGE_S:
                    judged = time.monotonic()
                    await self._judge()
            except StoreError as error:
                log("store.away", logging.WARNING, error=error)
            except Exception as error:  # whoever watches must not wait for ever
                log("api.failed", logging.ERROR, error=f"the feed: {type(error).__name__}: {error}")
            await asyncio.sleep(POLL_S)
        for watcher in self._watchers:
            watcher.tell(None)

    def _after(self, last: int, until: int | None = None, watcher: Watcher | None = None) -> list[Told]:
        """Return events behind ``last``: all, or those that a watcher sees."""
        only = {} if watcher is None else {"job": watcher.job, "viewer": watcher.who.viewer}
        with self._store.read() as connection:
            return [_told(row) for row in feed.after(connection, last, _PAGE, until, **only)]

    def _in_order(self, found: Sequence[Told]) -> Sequence[Told]:
        """Return the events up to one that may still be missing, and move the cursor behind them."""
        for number, told in enumerate(found):
            if told.id != self._cursor + 1:
                self._gap_since = self._gap_since or time.monotonic()
                if time.monotonic() - self._gap_since < _GAP_S:
                    return found[:number]
            self._gap_since = 0.0
            self._cursor = told.id
        return found

    def _tell(self, found: Sequence[Told]) -> None:
        for told in found:
            for watcher in self._watchers:
                if watcher.sees(told):
                    watcher.tell(told)

    async def _judge(self) -> None:
        """End the watching of those whose token was revoked, or is over, or who logged out."""
        valid = await to_thread.run_sync(self._valid)
        for watcher in self._watchers:
            if not {watcher.who.token, watcher.login or watcher.who.token} <= valid:
                watcher.tell(None)

    def _valid(self) -> set[str]:
        with self._store.read() as connection:
            valid = {row.id for row in tokens.list_tokens(connection) if row.valid}
            return valid | logins.valid(connection)


def _told(row: Row[Any]) -> Told:
    document = documents.of_event(event_of(row))
    data = json.dumps({"id": row.id, "job": row.job_id, **document})
    frame = f"id: {row.id}\nevent: {row.what}\ndata: {data}\n\n".encode()
    return Told(row.id, row.job_id, row.owner, row.shared or row.what == listing.UNSHARED, frame)
