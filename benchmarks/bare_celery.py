"""A Celery app with pubworks' settings and one empty task, for comparison: ``celery -A benchmarks.bare_celery``."""

from __future__ import annotations

from pubworks.queue import make_app
from pubworks.settings import load_settings

app = make_app(load_settings())
app.conf.task_default_queue = "bare"


@app.task(name="bare.nothing", ignore_result=True)
def nothing() -> None:
    """Do nothing."""
