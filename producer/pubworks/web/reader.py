"""Reads uploads in confined processes, a few at a time."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import IO, Any, cast

from fastapi.exceptions import RequestValidationError

from pubworks.errors import SubmissionError, TooManyRequests
from pubworks.ledger import parcels
from pubworks.ledger.parcels import Span
from pubworks.store.records import JobDraft
from pubworks.telemetry import log

#: Processes; uploads beyond wait for one, so many seconds at most.
_PROCESSES, _PATIENCE_S = 2, 60.0

#: Seconds that each of two steps may take: what is asked, and which job it is.
READ_S = 60.0

_MOST_BYTES = 2 << 30

#: What the processes get of the environment; nothing secret, and one thread each.
_KEPT = ("PATH", "LANG", "LC_ALL", "PYTHONPATH", "VIRTUAL_ENV")
_SINGLE = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS"), "1")


class Reader:
    """A few confined processes; made anew when one dies or takes too long.

    Args:
        read_s: Seconds that each of two steps may take.
    """

    def __init__(self, read_s: float = READ_S) -> None:
        self._read_s = read_s
        self._slots: queue.LifoQueue[_Process | None] = queue.LifoQueue()
        for _ in range(_PROCESSES - 1):
            self._slots.put(None)
        self._slots.put(_Process())  # the first upload does not wait for Qiskit's import

    def draft(
        self, parts: Mapping[str, bytes | Span], look_up: Callable[[str], dict[str, Any]]
    ) -> tuple[JobDraft, list[str]]:
        """Return the job of a submission, planned, and what Qiskit warned of.

        Args:
            parts: The upload by name, with the job request as ``job``.
            look_up: Returns what ``pubworks.web.confined`` has to know of the backend of this name, and of the job.

        Raises:
            RequestValidationError: The job request is none.
            SubmissionError: It cannot be submitted, or reading it takes too much.
            TooManyRequests: Others are being read for long.
        """
        try:
            process = self._slots.get(timeout=_PATIENCE_S)
        except queue.Empty:
            raise TooManyRequests("Too many uploads are being read. Try again later.", _PATIENCE_S) from None
        try:
            process = _alive(process)
            head, blobs = self._talk(process, parts, look_up)
        except Exception as error:
            if process is not None:
                process.kill()
            process = None
            if not isinstance(error, EOFError | OSError):
                raise
            log("api.failed", error=f"a confined process ended: {error}")
            raise SubmissionError(
                f"Reading the upload takes more memory, or longer than {self._read_s:.0f} s, or ends the reader. "
                "Send less in one job, and write the circuits again."
            ) from None
        finally:
            self._slots.put(process)
        _check(head)
        return replace(parcels.unpack_draft(head["draft"], blobs), backend=head["backend"]), head["warnings"]

    def _talk(
        self, process: _Process, parts: Mapping[str, bytes | Span], look_up: Callable[[str], dict[str, Any]]
    ) -> tuple[dict[str, Any], list[bytes]]:
        head, blobs = process.ask(list(parts), list(parts.values()), self._read_s)
        if "backend" not in head:
            return head, blobs
        try:
            known = look_up(head["backend"])
        except Exception as error:
            process.ask(None, [], self._read_s)
            return {"unknown": error}, []
        answer, blobs = process.ask(known, [], self._read_s)
        return {**answer, "backend": head["backend"]}, blobs

    def close(self) -> None:
        """End the processes."""
        with contextlib.suppress(queue.Empty):
            while True:
                process = self._slots.get_nowait()
                if process is not None:
                    process.kill()


def _check(head: dict[str, Any]) -> None:
    """Raise what an answer tells that is no job."""
    if "unknown" in head:
        raise head["unknown"]
    if "broken" in head:
        raise RuntimeError(f"A defect in reading an upload: {head['broken']}")
    if "wrong" in head:
        raise RequestValidationError([{**item, "loc": ("job", *item["loc"])} for item in head["wrong"]])
    if "refused" in head:
        raise SubmissionError(head["refused"])


def _alive(process: _Process | None) -> _Process:
    """Return a process, or another one if it has ended."""
    if process is not None and process.has_ended:
        process.kill()
        process = None
    return process or _Process()


class _Process:
    """One process, with pipes."""

    def __init__(self) -> None:
        env = {name: os.environ[name] for name in _KEPT if name in os.environ} | _SINGLE
        self._process = subprocess.Popen(
            [sys.executable, "-m", "pubworks.web.confined"], env={**env, "QISKIT_PARALLEL": "FALSE"},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd="/", start_new_session=True,
        )  # fmt: skip

    def ask(self, head: Any, blobs: Sequence[bytes | Span], within_s: float) -> tuple[Any, list[bytes]]:
        """Send a parcel and return the answer.

        Raises:
            EOFError: The process ended, or took too long and was killed.
            OSError: It does not take the parcel.
        """
        watch = threading.Timer(within_s, self.end)
        watch.daemon = True
        watch.start()
        try:
            parcels.write(cast("IO[bytes]", self._process.stdin), head, blobs)
            return parcels.read(cast("IO[bytes]", self._process.stdout), _MOST_BYTES)
        finally:
            watch.cancel()

    @property
    def has_ended(self) -> bool:
        """Whether it was ended from without, as by a kernel that needs memory; its id is its own until ``kill``."""
        return os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def end(self) -> None:
        """End it, and the child that reads; who talks with it hears of it from the pipes."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def kill(self) -> None:
        """End it, and close the pipes."""
        self.end()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError, ValueError):
                cast("IO[bytes]", pipe).close()
