"""How much memory something takes at most."""

from __future__ import annotations

import re
import tracemalloc
from collections.abc import Callable
from pathlib import Path


def in_use(pid: int) -> int:
    """Return the bytes of another process that are in memory; where Linux tells."""
    return _bytes(pid, "VmRSS")


def peak(pid: int, do: Callable[[], object]) -> int:
    """Return the bytes of another process that are in memory meanwhile, at most; where Linux tells."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")  # forget the peak so far
    do()
    return _bytes(pid, "VmHWM")


def of_python(do: Callable[[], object]) -> int:
    """Return the bytes that Python and NumPy take in this process meanwhile, at most."""
    tracemalloc.start()
    try:
        do()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def _bytes(pid: int, name: str) -> int:
    found = re.search(rf"{name}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return 1024 * int(found[1])
