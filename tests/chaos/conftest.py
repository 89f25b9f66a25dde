"""Stages for tests; without servers they are skipped on a laptop, and fail in CI."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.chaos.stage import Stage, stage
from tests.chaos.workload import INVALID

from pubworks.testing.servers import NotAvailable


@pytest.fixture(scope="module")
def make_stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Stage]]:
    """Return a function that sets up a stage with workers, for the time of a module."""
    with contextlib.ExitStack() as stack:

        def make(kind: str, workers: int = 2, **options: Any) -> Stage:
            made = stage(kind, tmp_path_factory.mktemp("chaos"), invalid_circuits=INVALID, **options)
            try:
                ready = stack.enter_context(made)
            except (NotAvailable, OSError) as error:
                (pytest.fail if os.environ.get("CI") else pytest.skip)(f"{kind}: {error}")
            ready.add_workers(workers)
            return ready

        yield make


@pytest.fixture
def tell_logs(tmp_path: Path) -> Callable[[Stage], None]:
    """Return a function that prints what the workers wrote, for a test that fails."""
    return lambda stage: print(stage.logs()[-100_000:])
