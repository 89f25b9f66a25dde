"""Pages that follow what happens: the fragment that was painted first is painted again, and sent where it differs.

Events come from the one poller of the server. A page that many watch is painted once for all of them, and the longer it
takes to paint, the more rarely.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Hashable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from anyio import to_thread

from pubworks.errors import JobNotFound
from pubworks.web.page import paper

if TYPE_CHECKING:
    from pubworks.web.feed import Feed, Watcher
    from pubworks.web.page.paper import Part

#: Seconds from one painting of a page to the next: at least so many, so many times the processor's time that painting
#: takes, and one for so many characters.
_PACE_S, _SHARE, _CHARACTERS = 0.3, 5.0, 300_000

#: Pages whose last painting is remembered.
_MOST = 256


@dataclass(frozen=True)
class Sheet:
    """A page, as somebody asked for it."""

    template: str
    title: str
    #: Reads what it shows.
    look: Callable[[], dict[str, Any]]
    #: What of it changes by itself, in the order of ``templates/<template>/``.
    parts: tuple[str, ...]
    #: Two sheets with the same key show the same.
    key: Hashable
    #: Follow this job only; None: all that the reader may see.
    job: str | None = None
    #: Seconds after which to look again though nothing was told; what is due and who lives has no event.
    tick_s: float = 5.0

    def paint(self, context: dict[str, Any]) -> dict[str, Part]:
        """Return its parts."""
        return {name: paper.part(self.template, name, context) for name in self.parts}


@dataclass
class _Easel:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    painted: dict[str, Part] = field(default_factory=dict)
    #: By the monotonic clock: when the last painting began, and before when there is no other.
    began: float = 0.0
    rests_until: float = 0.0


class Painter:
    """Paints pages for all who watch them."""

    def __init__(self) -> None:
        self._easels: OrderedDict[Hashable, _Easel] = OrderedDict()

    async def paint(self, sheet: Sheet, since: float) -> dict[str, Part]:
        """Return the parts of a page as they stand, painted after a time of the monotonic clock."""
        easel = self._easels.setdefault(sheet.key, _Easel())
        self._easels.move_to_end(sheet.key)
        while len(self._easels) > _MOST:
            self._easels.popitem(last=False)
        async with easel.lock:
            if easel.began < since:
                await asyncio.sleep(easel.rests_until - time.monotonic())
                easel.began = time.monotonic()
                easel.painted, cost_s = await to_thread.run_sync(_paint, sheet)
                easel.rests_until = easel.began + _rest(cost_s, easel.painted)
        return easel.painted


def _paint(sheet: Sheet) -> tuple[dict[str, Part], float]:
    """Return the parts of a page, and how many seconds of a processor they took."""
    began = time.thread_time()
    try:
        painted = sheet.paint(sheet.look())
    except JobNotFound:  # its owner shares it no more
        painted = paper.gone(sheet.parts)
    return painted, time.thread_time() - began


def _rest(cost_s: float, painted: dict[str, Part]) -> float:
    return max(_PACE_S, _SHARE * cost_s, sum(len(part.html) for part in painted.values()) / _CHARACTERS)


async def follow(feed: Feed, painter: Painter, watcher: Watcher, sheet: Sheet, seen: str) -> AsyncIterator[bytes]:
    """Yield the parts of a page that differ from those that were seen, as server-sent events, for ever.

    Args:
        feed: Tells when something happens.
        painter: Paints.
        watcher: Who watches.
        sheet: What.
        seen: What :func:`seen_of` gave with the page.
    """
    known = dict(zip(sheet.parts, seen.split("."), strict=False))
    async with feed.watching(watcher):
        yield b": here\n\n"
        while True:
            painted = await painter.paint(sheet, time.monotonic())
            for name, part in painted.items():
                if known.get(name) != part.digest:
                    known[name] = part.digest
                    yield part.frame
            if not await watcher.stirred(sheet.tick_s):
                return
            yield b": still here\n\n"


def seen_of(painted: dict[str, Part]) -> str:
    """Return what tells which parts were seen."""
    return ".".join(part.digest for part in painted.values())
