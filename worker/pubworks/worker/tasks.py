"""The Celery tasks: two doorbells."""

from __future__ import annotations

from collections.abc import Callable

from celery import Celery

from pubworks.queue import DESCRIBE, RUN_NEXT
from pubworks.worker.station import Station


def register(app: Celery, station: Callable[[], Station]) -> None:
    """Add the tasks to an app.

    Args:
        app: The app.
        station: Returns the station of the process in which a task runs.
    """

    @app.task(name=RUN_NEXT, shared=False, ignore_result=True)
    def run_next(backend: str, times: int) -> None:
        station().run_next(backend, times)

    @app.task(name=DESCRIBE, shared=False, ignore_result=True)
    def describe(backend: str) -> None:
        station().describe(backend)
