"""Points in time, as people type them."""

from __future__ import annotations

import re
import time
from datetime import datetime

_UNITS = {"s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_AGE = re.compile(r"(\d+(?:\.\d+)?) ?(s|min|h|d|w)")

METAVAR = "AGE_OR_TIME"
HELP = "an age (90s, 15min, 2h, 3d, 1w) or a time (2026-11-23, '2026-11-23 14:00', local unless it says otherwise)"


def duration(text: str) -> float:
    """Return an age in seconds.

    >>> duration("90s"), duration("1w")
    (90.0, 604800.0)

    Raises:
        ValueError: It is none.
    """
    if age := _AGE.fullmatch(text.strip()):
        return float(age[1]) * _UNITS[age[2]]
    raise ValueError(f"{text!r} is no time. Give a number and a unit: 90s, 15min, 2h, 30d, 8w.")


def point_in_time(text: str) -> float:
    """Return seconds since 1970.

    >>> point_in_time("2026-11-23T14:00+00:00")
    1795442400.0

    Raises:
        ValueError: It is neither an age nor a time.
    """
    if _AGE.fullmatch(text.strip()):
        return time.time() - duration(text)
    try:
        return datetime.fromisoformat(text.strip()).timestamp()
    except (ValueError, OverflowError):
        raise ValueError(f"{text!r} is no point in time. Give {HELP}.") from None
