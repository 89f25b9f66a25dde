"""The broker that needs no server: kombu's in-memory transport, woken by each message instead of by a timer.

kombu's own transport looks every second, or burns a core looking more often; this one sleeps until something is put.
The host part of the URL separates several brokers in one process: ``embedded://a`` and ``embedded://b`` share nothing.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from queue import Empty, Queue
from time import monotonic
from typing import Any

from kombu.transport import TRANSPORT_ALIASES, memory, virtual

_put = threading.Condition()
_puts = 0
_queues: defaultdict[str, dict[str, Queue[Any]]] = defaultdict(dict)
_states: defaultdict[str, virtual.BrokerState] = defaultdict(virtual.BrokerState)


class Channel(memory.Channel):
    """A channel that rings when something was put."""

    def __init__(self, connection: Any, **kwargs: Any) -> None:
        self.queues = _queues[connection.client.hostname]
        super().__init__(connection, **kwargs)

    def _put(self, queue: str, message: Any, **kwargs: Any) -> None:
        super()._put(queue, message, **kwargs)
        _ring()

    def _put_fanout(self, exchange: str, message: Any, routing_key: str | None = None, **kwargs: Any) -> None:
        super()._put_fanout(exchange, message, routing_key, **kwargs)
        _ring()


class Transport(memory.Transport):
    """In-memory transport of one process, without polling."""

    Channel = Channel

    def __init__(self, client: Any, **kwargs: Any) -> None:
        super().__init__(client, **kwargs)
        self.state = _states[client.hostname]

    def drain_events(self, connection: Any, timeout: float | None = None, **_: Any) -> None:  # noqa: ARG002
        """Deliver one message, waiting up to ``timeout`` seconds for it."""
        deadline = None if timeout is None else monotonic() + timeout
        while True:
            seen = _puts
            try:
                self.cycle.get(self._deliver, timeout=timeout)  # type: ignore[union-attr]
            except Empty:
                _wait_for_put(seen, deadline)
            else:
                return


def _ring() -> None:
    global _puts  # noqa: PLW0603
    with _put:
        _puts += 1
        _put.notify_all()


def _wait_for_put(seen: int, deadline: float | None) -> None:
    left = None if deadline is None else deadline - monotonic()
    with _put:
        if not _put.wait_for(lambda: _puts != seen, left):
            raise TimeoutError  # socket.timeout, as kombu's callers expect


TRANSPORT_ALIASES["embedded"] = f"{__name__}:Transport"
