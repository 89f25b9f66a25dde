"""One process of a stack: started, found again and stopped, whoever started it.

A process, and all that it starts, hold the lock of its slot's file until the last of them is gone. So nobody has to
believe a number: a process id is used only while its slot is taken.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from pubworks.stack.programs import run_as

#: Seconds between two looks, and those that a process has left once it is killed.
_LOOK_S = 0.05
_KILL_S = 10.0

#: Seconds that somebody may take who looks whether a slot is taken.
_GLANCE_S = 1.0

#: Bytes of a log from which on it is put aside when its process starts again.
_LOG_BYTES = 20 << 20

#: Keeps the lock as file 9 and writes the process's own id there, before it becomes the program.
_HOLD = 'exec 9<&0 </dev/null; echo $$ >&9; exec "$@"'


@dataclass(frozen=True)
class Service:
    """A process to be kept running."""

    name: str
    command: tuple[str, ...]
    #: Returns whether it does its work, given its process id.
    is_ready: Callable[[int], bool]
    environment: Mapping[str, str] = field(default_factory=dict)
    #: What stops it, and the seconds that it may take.
    stop_signal: signal.Signals = signal.SIGTERM
    stop_s: float = 10.0
    user: str | None = None


class Slot:
    """Where one process of a stack runs, or not.

    Args:
        folder: The stack's folder.
        name: The service's name.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.name = name
        self._file, self.log = folder / "run" / name, folder / "log" / f"{name}.log"

    def is_taken(self) -> bool:
        """Return whether the process, or anything that it started, is there."""
        with contextlib.suppress(FileNotFoundError), self._file.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False

    def pid(self) -> int:
        """Return the id of the process that has the slot; 0 in the moment before it is known."""
        return int(self._file.read_text() or 0)

    @contextlib.contextmanager
    def held(self) -> Iterator[BinaryIO | None]:
        """Give the slot's file, locked; None where another process has it."""
        self._file.touch(mode=0o600)
        with self._file.open("rb+") as file:
            deadline = time.monotonic() + _GLANCE_S
            while not _lock(file):
                if time.monotonic() > deadline:
                    yield None
                    return
                time.sleep(_LOOK_S)
            file.truncate(0)
            yield file

    def start(self, service: Service) -> subprocess.Popen[bytes] | None:
        """Start a service; None where it runs already."""
        with self.held() as file:
            if file is None:
                return None
            if self.log.exists() and self.log.stat().st_size > _LOG_BYTES:
                self.log.rename(self.log.with_suffix(".log.1"))
            with self.log.open("ab") as output:
                os.chmod(output.fileno(), 0o600)
                return subprocess.Popen(
                    ["sh", "-c", _HOLD, "sh", *service.command],
                    env={**os.environ, **service.environment}, stdin=file, stdout=output, stderr=output,
                    start_new_session=True, **run_as(service.user),
                )  # fmt: skip

    def stop(self, stop_signal: signal.Signals, stop_s: float) -> bool:
        """Ask the process to stop; kill all that is left of it when its time is over. Returns whether it ran."""
        if not self.is_taken():
            return False
        self._signal(os.kill, stop_signal)
        if not self.wait(stop_s):
            self._signal(os.killpg, signal.SIGKILL)
            self.wait(_KILL_S)
        return True

    def wait(self, seconds: float) -> bool:
        """Wait until nobody is there. Returns whether that came true in time."""
        deadline = time.monotonic() + seconds
        while self.is_taken():
            if time.monotonic() > deadline:
                return False
            time.sleep(_LOOK_S)
        return True

    def _signal(self, send: Callable[[int, int], None], number: signal.Signals) -> None:
        pid = self.pid()
        if pid:
            with contextlib.suppress(ProcessLookupError):
                send(pid, number)


def _lock(file: BinaryIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
