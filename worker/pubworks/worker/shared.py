"""What the processes of a worker see of each other, without a lock: one that is killed could leave it taken."""

from __future__ import annotations

import ctypes
import os
from multiprocessing.sharedctypes import RawArray, RawValue


class SharedFlag:
    """A flag that forked children see."""

    def __init__(self) -> None:
        self._value = RawValue("b", 0)

    def set(self) -> None:
        """Raise it."""
        self._value.value = 1

    def clear(self) -> None:
        """Lower it."""
        self._value.value = 0

    def is_set(self) -> bool:
        """Return whether it is raised."""
        return bool(self._value.value)


#: Processes of a worker that have a note, and bytes of it.
_SLOTS, _LENGTH = 512, 200


class SharedNotes:
    """A line of each process, which its parent reads when it is dead.

    >>> notes = SharedNotes()
    >>> notes.write("01J8-0")
    >>> notes.of(os.getpid()), notes.of(-1)
    ('01J8-0', '')
    """

    def __init__(self) -> None:
        self._bytes = memoryview(RawArray(ctypes.c_char, _SLOTS * _LENGTH)).cast("B")

    def write(self, line: str) -> None:
        """Note what this process does now."""
        pid = os.getpid()
        self._bytes[self._slot(pid)] = f"{pid} {line}".encode()[:_LENGTH].ljust(_LENGTH, b"\0")

    def of(self, pid: int) -> str:
        """Return the note of a process; nothing where it has none."""
        writer, _, line = bytes(self._bytes[self._slot(pid)]).rstrip(b"\0").decode(errors="replace").partition(" ")
        return line if writer == str(pid) else ""

    @staticmethod
    def _slot(pid: int) -> slice:
        start = pid % _SLOTS * _LENGTH
        return slice(start, start + _LENGTH)
