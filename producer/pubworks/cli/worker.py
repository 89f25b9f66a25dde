"""``pubworks worker``."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from pubworks.cli import complete
from pubworks.cli.session import check_broker, opened


def worker(
    backend: Annotated[
        list[str] | None,
        typer.Option(
            "--backend", "-b", help="Serve this backend only; may be given again.", autocompletion=complete.backends
        ),
    ] = None,
    concurrency: Annotated[
        int | None,
        typer.Option("--concurrency", "-c", min=1, help="Processes; by default one for each processor."),
    ] = None,
    metrics_port: Annotated[
        int | None,
        typer.Option(min=1, max=65535, help="Answer Prometheus at /metrics of this port, on this machine only."),
    ] = None,
    log_level: Annotated[str, typer.Option(help="DEBUG, INFO, WARNING or ERROR.")] = "INFO",
) -> None:
    """Run a worker, for some backends or for all.

    The same as `celery -A pubworks.worker.app worker`, after a check of the database and the broker.
    """
    if metrics_port is not None:
        os.environ["PUBWORKS_METRICS_PORT"] = str(metrics_port)  # the app reads its settings when it is imported
    _check_place(backend or [])
    from pubworks.worker.app import app

    raise typer.Exit(app.start(argv=celery_arguments(backend or [], concurrency, log_level)))


def _check_place(names: list[str]) -> None:
    from pubworks.backends import registry

    with opened() as session:
        for name in names:
            registry.find(session.settings, name)
        check_broker(session.settings)


def celery_arguments(names: list[str], concurrency: int | None, log_level: str = "INFO") -> list[str]:
    """Return the arguments of Celery's own command line.

    >>> celery_arguments(["aer"], 2)[-4:]
    ['--queues', 'pubworks.aer', '--concurrency', '2']
    """
    from pubworks.queue import queue_name

    arguments = ["worker", "--loglevel", log_level.upper(), "--hostname", f"pubworks-{os.getpid()}@%h"]
    arguments += ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    if names:
        arguments += ["--queues", ",".join(queue_name(name) for name in names)]
    if concurrency:
        arguments += ["--concurrency", str(concurrency)]
    return arguments
