"""A simulated QPU for the time of a test: a process of its own on a free port, surely stopped."""

from __future__ import annotations

import contextlib
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pubworks.testing.qpu.client import QpuClient
from pubworks.testing.servers import NotAvailable, eventually, program

#: Seconds that the server may take to start.
START_S = 30.0

_FIRST_WORDS = "listening on "


class RunningQpu:
    """The control of a simulated QPU that runs.

    Args:
        url: Where it listens.
    """

    def __init__(self, url: str) -> None:
        self.url, self._client = url, QpuClient(url)

    def set(self, **settings: Any) -> dict[str, Any]:
        """Change settings, and return all of them.

        Raises:
            QpuError: A setting is unknown, or a value is wrong; nothing was changed.
        """
        return self._ask("PUT", "settings", json=settings)

    def settings(self) -> dict[str, Any]:
        """Return all settings; the counters ``…_next`` are those that are left."""
        return self._ask("GET", "settings")

    def ledger(self) -> dict[str, Any]:
        """Return all accepted jobs, the shots of each circuit's name, and the cost."""
        return self._ask("GET", "ledger")

    def counts(self) -> dict[str, Any]:
        """Return how many requests came, how fast, and how they were answered."""
        return self._ask("GET", "counts")

    def reset(self) -> None:
        """Forget jobs and counts, and go back to the settings at the start."""
        self._ask("POST", "reset")

    def close(self) -> None:
        """Close the connection; the server goes on."""
        self._client.close()

    def _ask(self, method: str, what: str, **parts: Any) -> dict[str, Any]:
        return self._client.ask(method, f"/control/{what}", **parts).json()  # type: ignore[no-any-return]


@contextlib.contextmanager
def running_qpu(*, log: Path | None = None, port: int = 0, **settings: Any) -> Iterator[RunningQpu]:
    """Run a server; it is killed at the end, or when this process is.

    Args:
        log: File that gets a line of JSON for each request.
        port: Where it should listen; 0: a free one.
        settings: Those of :class:`~pubworks.testing.qpu.settings.QpuSettings`.

    Raises:
        NotAvailable: It does not start; the message says why.
    """
    command = [sys.executable, "-m", "pubworks.testing.qpu", "--port", str(port), "--settings", json.dumps(settings)]
    with tempfile.TemporaryDirectory(prefix="pubworks-qpu-") as folder:
        output = Path(folder) / "output"
        with program([*command, *(["--log", str(log)] if log else [])], log=output) as process:
            with contextlib.suppress(TimeoutError):
                eventually(lambda: "\n" in output.read_text() or process.poll() is not None, START_S)
            said = output.read_text()
            if process.poll() is not None or not said.startswith(_FIRST_WORDS):
                raise NotAvailable(f"The simulated QPU does not start: {said}")
            with contextlib.closing(RunningQpu(said.splitlines()[0].removeprefix(_FIRST_WORDS))) as running:
                yield running
