"""The server's side of the process that computes."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import zlib
from contextlib import suppress

from pubworks.testing.qpu.compute import BAD, GOOD, LENGTH_BYTES
from pubworks.testing.qpu.job import Job


class SimulationFailed(Exception):
    """A job's circuits cannot be computed; the text says why."""


class Simulator:
    """One process, one job at a time; started again if it dies."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None
        self._lock = asyncio.Lock()

    async def start(self) -> None:
        """Start the process, so that the first job need not wait for it."""
        async with self._lock:
            await self._running()

    async def compute(self, job: Job, payload: bytes, server_seed: int) -> bytes:
        """Return the answer for a job's result, compressed.

        Args:
            job: Gives shots and seed.
            payload: Its circuits, as zlib-compressed QPY.
            server_seed: Goes into the seed of a job that has none.

        Raises:
            SimulationFailed: The circuits cannot be computed.
        """
        task = {
            "shots": job.delivered_shots, "seed": job.request.seed, "memory": job.request.memory,
            "server_seed": server_seed,
        }  # fmt: skip
        line = json.dumps(task).encode() + b"\n"
        # A cancelled job must not leave its answer in the pipe, for the next job to read: hence the shield.
        answer = await asyncio.shield(self._in_turn(job, line, payload))
        if answer[:1] != GOOD:
            raise SimulationFailed(answer[1:].decode())
        return answer[1:]

    async def stop(self) -> None:
        """End the process."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()

    async def _running(self) -> asyncio.subprocess.Process:
        if self._process is None:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "pubworks.testing.qpu.compute"),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
            )
        return self._process

    async def _in_turn(self, job: Job, line: bytes, payload: bytes) -> bytes:
        async with self._lock:
            return BAD if job.state.is_over else await self._ask(line + zlib.decompress(payload))

    async def _ask(self, task: bytes) -> bytes:
        process = await self._running()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(len(task).to_bytes(LENGTH_BYTES) + task)
            await process.stdin.drain()
            length = int.from_bytes(await process.stdout.readexactly(LENGTH_BYTES))
            return await process.stdout.readexactly(length)
        except (asyncio.IncompleteReadError, ConnectionError):
            self._process = None
            return f"-The simulator died with exit code {await process.wait()}.".encode()
