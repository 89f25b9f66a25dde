"""The Celery queue: one per backend, and the one function that rings.

A message says "a batch of this backend is due" and nothing else. Which one that is, the database decides at the claim,
in order; so a lost message delays, a doubled one finds nothing to do, and a late one is as good as a new one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from celery import Celery
from kombu import Exchange, Queue
from kombu.exceptions import OperationalError

from pubworks import embedded_broker  # noqa: F401  (registers embedded://)
from pubworks.errors import BrokerUnreachable
from pubworks.settings import Settings

RUN_NEXT = "pubworks.run_next"
DESCRIBE = "pubworks.describe"

#: Most messages that wait in one queue; the keeper tops it up as they are used.
WINDOW = 256

#: The broker's nameless exchange: it finds a queue by its name, also in a broker that restarted empty.
EXCHANGE = Exchange("", type="direct")

_REDIS_OPTIONS = {
    # Messages are doorbells: without emulated acknowledgements there is no visibility time-out to redeliver them,
    # and no worker that exits when Redis drops while a message is unacknowledged.
    "ack_emulation": False,
    "socket_timeout": 5,  # seconds; a hung server must not hang a publisher
    "socket_connect_timeout": 2,
    "socket_keepalive": True,
    "health_check_interval": 10,
    "global_keyprefix": "pubworks:",
}


def make_app(settings: Settings) -> Celery:
    """Return the Celery app for these settings; JSON only, without result backend."""
    app = Celery("pubworks", broker=_broker_url(settings), set_as_current=False)
    app.conf.update(
        accept_content=["json"],
        task_serializer="json",
        task_ignore_result=True,
        task_acks_late=False,
        task_default_queue=queue_name("default"),
        task_create_missing_queues=True,
        task_publish_retry_policy={"max_retries": 1, "interval_start": 0, "interval_step": 0.1, "interval_max": 0.1},
        worker_prefetch_multiplier=1,
        worker_hijack_root_logger=False,
        worker_send_task_events=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport_options=_transport_options(settings),
    )
    if settings.broker.startswith(("redis", "sentinel")):
        app.conf.worker_disable_prefetch = True
    return app


def _broker_url(settings: Settings) -> str:
    if settings.embedded:
        return f"embedded://{hashlib.sha256(settings.database_url.encode()).hexdigest()[:12]}"
    return settings.broker


def _transport_options(settings: Settings) -> dict[str, Any]:
    if settings.broker.startswith("amqp"):
        return {"confirm_publish": True}
    return {} if settings.embedded else _REDIS_OPTIONS


def queue_name(backend: str) -> str:
    """Return the name of a backend's queue.

    >>> queue_name("aer")
    'pubworks.aer'
    """
    return f"pubworks.{backend}"


def queue_of(backend: str) -> Queue:
    """Return a backend's queue."""
    return Queue(queue_name(backend), EXCHANGE, routing_key=queue_name(backend))


def ring(app: Celery, backend: str, times: int, *, together: bool = False) -> None:
    """Tell the workers of a backend that batches are due.

    Args:
        app: The app.
        backend: The backend's name.
        times: How many batches.
        together: Send one message for all, to a worker that is alone, instead of one for each.

    Raises:
        BrokerUnreachable: The broker does not answer. Nothing is lost: the keeper of a worker rings again.
    """
    if together:
        _send(app, RUN_NEXT, backend, times)
    else:
        _send(app, RUN_NEXT, backend, 1, times=min(times, WINDOW))


def ask_to_describe(app: Celery, backend: str) -> None:
    """Ask a worker of a backend to build it and store what it is like."""
    _send(app, DESCRIBE, backend)


def depth(app: Celery, backend: str) -> int:
    """Return how many messages wait in a backend's queue.

    Raises:
        BrokerUnreachable: The broker does not answer.
    """
    with _answering(app), app.connection_or_acquire() as connection:
        connection.ensure_connection(max_retries=1, interval_start=0)
        with connection.channel() as channel:  # not passive: kombu looks for the key without its prefix then
            declared = channel.queue_declare(queue_name(backend), durable=True, auto_delete=False)
            return int(declared.message_count)


def _send(app: Celery, task: str, *args: Any, times: int = 1) -> None:
    with _answering(app), app.producer_or_acquire() as producer:
        for _ in range(times):
            app.send_task(task, args=args, producer=producer, queue=queue_of(args[0]))  # type: ignore[arg-type]


@contextmanager
def _answering(app: Celery) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        connection = app.connection_for_write()
        if not isinstance(error, (OperationalError, OSError, *connection.connection_errors)):
            raise
        raise BrokerUnreachable(
            f"The broker {connection.as_uri()} does not answer: {error}. Start it, or mend PUBWORKS_BROKER."
        ) from error  # as_uri masks the password
