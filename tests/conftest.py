"""Hypothesis profiles of all tests, and what all need of their process."""

from __future__ import annotations

import os
import signal
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, settings

# Not in the project's folder: pytest would collect it.
os.environ.setdefault("HYPOTHESIS_STORAGE_DIRECTORY", str(Path(tempfile.gettempdir()) / "pubworks-hypothesis"))

# A shell has what it starts in the background ignore Ctrl-C, and so would every command that tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)

_SLOW_IS_FINE = (HealthCheck.too_slow, HealthCheck.function_scoped_fixture)

settings.register_profile("ci", derandomize=True, deadline=None, max_examples=60, suppress_health_check=_SLOW_IS_FINE)
#: For a long hunt: ``HYPOTHESIS_PROFILE=hunt pytest tests/unit``.
settings.register_profile(
    "hunt", deadline=None, max_examples=2000, suppress_health_check=_SLOW_IS_FINE, print_blob=True
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))
