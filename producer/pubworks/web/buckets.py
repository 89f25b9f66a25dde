"""How often a token may be used: GCRA, in the memory of one server process."""

from __future__ import annotations

import time
from collections.abc import Callable

from pubworks.errors import TooManyRequests
from pubworks.policy import Rate

#: Keys that are remembered before those with nothing to remember are dropped.
_MOST_KEYS = 10_000


class Buckets:
    """The same rate for each key.

    >>> buckets = Buckets(Rate.parse("1/s burst 2"), clock=lambda: 100.0)
    >>> buckets.take("ann"), buckets.take("ann"), buckets.take("ben")
    (None, None, None)
    >>> buckets.take("ann")
    Traceback (most recent call last):
    pubworks.errors.TooManyRequests: No more than 1/s burst 2 requests are allowed. Try again in 1.0 s.

    Args:
        rate: How often, and how many at once.
        clock: Seconds, from any start.
    """

    def __init__(self, rate: Rate, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._clock = rate, clock
        self._used_until: dict[str, float] = {}

    def take(self, key: str) -> None:
        """Count one request.

        Raises:
            TooManyRequests: It is one too many; it is not counted.
        """
        now, interval = self._clock(), self._rate.interval_s
        until = max(self._used_until.get(key, now), now) + interval
        wait = until - now - interval * self._rate.burst
        if wait > 1e-9:
            raise TooManyRequests(
                f"No more than {self._rate} requests are allowed. Try again in {wait:.1f} s.", retry_after=wait
            )
        self._used_until[key] = until
        if len(self._used_until) > _MOST_KEYS:
            self._used_until = {key: until for key, until in self._used_until.items() if until > now}
