"""Spans of time, as people type them."""

from __future__ import annotations

import math
import re

_UNITS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0}
_PART = r"(\d+(?:\.\d+)?)\s*([dhms])"


def seconds_of(span: float | str, what: str) -> float:
    """Return a span in seconds.

    >>> seconds_of("2h 30m 40s", "max_time"), seconds_of(90, "max_time")
    (9040.0, 90.0)

    Args:
        span: Seconds, or days, hours, minutes and seconds as in ``"1d 2h 30m 40s"``.
        what: What it is, for the message.

    Raises:
        TypeError: It is neither a number nor a text.
        ValueError: It is no span, or none that goes forward.
    """
    if isinstance(span, bool) or not isinstance(span, (int, float, str)):
        raise TypeError(f"{what} must be seconds, or a text such as '2h 30m', not {type(span).__name__}.")
    seconds = _parse(span.strip()) if isinstance(span, str) else float(span)
    if not 0 < seconds < math.inf:
        raise ValueError(f"{what} is {span!r}. Give seconds above 0, or days, hours, minutes and seconds: '2h 30m'.")
    return seconds


def _parse(text: str) -> float:
    if not re.fullmatch(rf"(?:{_PART}\s*)+", text):
        return math.nan
    return sum(float(number) * _UNITS[unit] for number, unit in re.findall(_PART, text))
