"""How many calls of a provider a process takes on at once."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

#: Seconds of calls that a process takes on at once: others may be free sooner, and what is done is stored after them.
_TURN_S = 2.0


class Bite:
    """Takes on as many calls of one kind as a short time has room for, going by the last one.

    Args:
        most: Most calls at once, however fast they are.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._call_s = 0.0

    def size(self) -> int:
        """Return how many calls to take on."""
        return max(1, min(self._most, int(_TURN_S / self._call_s))) if self._call_s else self._most

    @contextlib.contextmanager
    def call(self) -> Iterator[None]:
        """Make one call."""
        began = time.monotonic()
        try:
            yield
        finally:
            self._call_s = time.monotonic() - began
