"""How many requests came, how fast, and how they were answered."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from math import ceil
from typing import Any

#: Seconds of the sliding window in which requests are counted.
WINDOW_S = 1.0


@dataclass
class Bucket:
    """A token bucket: ``rate`` requests a second, ``burst`` at once."""

    rate: float
    burst: int
    tokens: float
    filled_at: float

    @classmethod
    def full(cls, rate: float, burst: int | None, now: float) -> Bucket:
        """Return a bucket of a rate (1/s); without ``burst``, of one second's requests."""
        size = burst or ceil(rate)
        return cls(rate, size, size, now)

    def take(self, now: float) -> float:
        """Take one token, or return the seconds until there is one; 0 if it was taken."""
        self.tokens = min(self.burst, self.tokens + (now - self.filled_at) * self.rate)
        self.filled_at = now
        if self.tokens < 1:
            return (1 - self.tokens) / self.rate
        self.tokens -= 1
        return 0.0


@dataclass
class Traffic:
    """Counts of all requests since the last reset."""

    #: Requests of each kind: submit, status, statuses, list, result, cancel, backend.
    by_kind: Counter[str] = field(default_factory=Counter)
    #: Answers of each HTTP status; ``dropped`` where there was none.
    by_status: Counter[str] = field(default_factory=Counter)
    #: Answers of each error code.
    by_code: Counter[str] = field(default_factory=Counter)
    #: Most requests in any window of one second.
    peak_per_second: int = 0
    #: Requests that came when the second before them, with them, held more than ``requests_per_second``.
    over_rate: int = 0
    _recent: deque[float] = field(default_factory=deque)

    def arrive(self, kind: str, now: float, rate: float | None) -> None:
        """Count a request that came at ``now`` (monotonic seconds)."""
        self.by_kind[kind] += 1
        self._recent.append(now)
        while self._recent[0] <= now - WINDOW_S:
            self._recent.popleft()
        self.peak_per_second = max(self.peak_per_second, len(self._recent))
        self.over_rate += rate is not None and len(self._recent) > rate * WINDOW_S

    def answer(self, status: str, code: str | None) -> None:
        """Count an answer."""
        self.by_status[status] += 1
        if code:
            self.by_code[code] += 1

    def summary(self) -> dict[str, Any]:
        """Return all counts, for ``GET /control/counts``."""
        return {
            "requests": self.by_kind.total(),
            "by_kind": dict(self.by_kind),
            "by_status": dict(self.by_status),
            "by_code": dict(self.by_code),
            "peak_per_second": self.peak_per_second,
            "over_rate": self.over_rate,
        }
