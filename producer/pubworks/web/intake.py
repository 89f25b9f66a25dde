"""How uploads come in: to one file each, and no more at once than there is room for."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from tempfile import SpooledTemporaryFile
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from fastapi.concurrency import run_in_threadpool

from pubworks.errors import ConfigError, TooManyRequests
from pubworks.web.form import Form, boundary_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from fastapi import Request

    from pubworks.ledger.parcels import Span

#: Bytes of an upload that may be in memory; a larger one is on disk, and needs a place there.
IN_MEMORY = 1 << 20

#: Uploads that may be on disk at once, and how many of them of one user.
ON_DISK, OF_ONE = 8, 4

#: Uploads that may be read and stored at once; the job that each becomes is in memory, compressed.
_IN_HAND = 3

#: Seconds that an upload waits for a place, and then for its turn.
_PATIENCE_S = 60.0


class Intake:
    """Has uploads wait: those without a place stay with their clients, and those without a turn on disk.

    Args:
        folder: Where their files are; these have no name, and are gone with this process.

    Raises:
        ConfigError: There can be no such folder.
    """

    def __init__(self, folder: Path) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"Uploads wait in data_dir, {folder}: {error}. Set PUBWORKS_DATA_DIR.") from error
        self._folder = folder
        self._places, self._turns = asyncio.Semaphore(ON_DISK), asyncio.Semaphore(_IN_HAND)
        self._places_of: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    @asynccontextmanager
    async def parts(self, request: Request, owner: str) -> AsyncIterator[dict[str, Span]]:
        """Give the parts of an upload by name, as long as they are needed; none where it has none.

        Raises:
            HTTPException: It cannot be read.
            TooManyRequests: There is no place for it.
        """
        boundary = boundary_of(request.headers.get("content-type"))
        if boundary is None:
            yield {}
            return
        async with AsyncExitStack() as stack:
            form, came = Form(boundary, stack.enter_context(_file_in(self._folder))), 0
            async for chunk in request.stream():
                if came <= IN_MEMORY < came + len(chunk):
                    await self._find_place(stack, owner)
                came += len(chunk)
                await run_in_threadpool(form.write, chunk)
            yield form.parts

    async def _find_place(self, stack: AsyncExitStack, owner: str) -> None:
        places_of_theirs = self._places_of.setdefault(owner, asyncio.Semaphore(OF_ONE))
        await _enter(stack, places_of_theirs, self._places)

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for a turn, and have it.

        Raises:
            TooManyRequests: It does not come.
        """
        async with AsyncExitStack() as stack:
            await _enter(stack, self._turns)
            yield


def _file_in(folder: Path) -> SpooledTemporaryFile[bytes]:
    return SpooledTemporaryFile(IN_MEMORY, dir=str(folder))


async def _enter(stack: AsyncExitStack, *semaphores: asyncio.Semaphore) -> None:
    try:
        async with asyncio.timeout(_PATIENCE_S):
            for semaphore in semaphores:
                await stack.enter_async_context(semaphore)
    except TimeoutError:
        raise TooManyRequests("Too many uploads are being read. Try again later.", _PATIENCE_S) from None
