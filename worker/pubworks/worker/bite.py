"""How much a process takes on at once."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator


class Bite:
    """As many calls of one kind as a short time has room for, going by the last ones; one, as long as there was none.

    Others may be free sooner, and what is done is stored when all are.

    Args:
        most: Most calls at once, however fast they are.
        within_s: Seconds that they may take together.
    """

    def __init__(self, most: int, within_s: float) -> None:
        self._most, self._within_s = most, within_s
        self._call_s = math.inf

    def size(self) -> int:
        """Return how many calls to take on."""
        return max(1, min(self._most, int(self._within_s / max(self._call_s, 1e-9))))

    def note(self, seconds: float) -> None:
        """Note how long a call took."""
        self._call_s = seconds if self._call_s == math.inf else 0.7 * self._call_s + 0.3 * seconds

    @contextlib.contextmanager
    def call(self) -> Iterator[None]:
        """Make one call, and note how long it takes."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.note(time.monotonic() - began)
