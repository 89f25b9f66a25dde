"""What starting costs: ``import pubworks.client`` beside ``import qiskit.primitives``, and ``pubworks --help``."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.measure import Figure

_ROUNDS = 7


def measure() -> Iterator[Figure]:
    """Yield medians in milliseconds, alternating between the two."""
    python, command = sys.executable, str(Path(sys.executable).parent / "pubworks")
    ours, reference = [python, "-c", "import pubworks.client"], [python, "-c", "import qiskit.primitives"]
    usage = [command, "--help"]
    rounds = [[_milliseconds(argv) for argv in (ours, reference, usage)] for _ in range(_ROUNDS)]
    client, primitives, help_text = (statistics.median(times) for times in zip(*rounds, strict=True))
    yield Figure("import pubworks.client, beside qiskit.primitives + 30 ms", client, primitives + 30, "ms", 1.0)
    yield Figure("pubworks --help, beside 300 ms", help_text, 300, "ms", 1.0)


def _milliseconds(argv: Sequence[str]) -> float:
    start = time.perf_counter()
    subprocess.run(argv, check=True, capture_output=True)
    return 1e3 * (time.perf_counter() - start)
