"""The broker that needs no server: kombu's in-memory transport, woken by each message instead of by a timer.

kombu's own transport looks every second, or burns a core looking more often; this one sleeps until something is put.
The host part of the URL separates several brokers in one process: ``embedded://a`` and ``embedded://b`` share nothing.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from queue import Empty, Queue
from typing import Any

from kombu.transport import TRANSPORT_ALIASES, memory, virtual

_put = threading.Condition()
_puts = 0
_queues: defaultdict[str, dict[str, Queue[Any]]] = defaultdict(dict)
_states: defaultdict[str, virtual.BrokerState] = defaultdict(virtual.BrokerState)


class Channel(memory.Channel):
    """A channel that rings when something can be delivered."""

    def __init__(self, connection: Any, **kwargs: Any) -> None:
        self.queues = _queues[connection.client.hostname]
        super().__init__(connection, **kwargs)

    def _put(self, queue: str, message: Any, **kwargs: Any) -> None:
        super()._put(queue, message, **kwargs)
        wake()

    def basic_ack(self, delivery_tag: str, multiple: bool = False) -> None:
        super().basic_ack(delivery_tag, multiple)
        wake()  # a pool's thread made room for the next message

    def _put_fanout(self, exchange: str, message: Any, routing_key: str | None = None, **kwargs: Any) -> None:
        super()._put_fanout(exchange, message, routing_key, **kwargs)
        wake()


class Transport(memory.Transport):
    """In-memory transport of one process, without polling."""

    Channel = Channel

    def __init__(self, client: Any, **kwargs: Any) -> None:
        super().__init__(client, **kwargs)
        self.state = _states[client.hostname]

    def drain_events(self, connection: Any, timeout: float | None = None, **_: Any) -> None:  # noqa: ARG002
        """Deliver one message; if there is none, wait up to ``timeout`` seconds for one, or until woken.

        Raises:
            TimeoutError: Nothing was delivered; Celery looks whether it should stop, and comes again.
        """
        seen = _puts
        try:
            self.cycle.get(self._deliver, timeout=timeout)  # type: ignore[union-attr]
        except Empty:
            with _put:
                _put.wait_for(lambda: _puts != seen, timeout)
            self._deliver_or_give_up()

    def _deliver_or_give_up(self) -> None:
        try:
            self.cycle.get(self._deliver)  # type: ignore[union-attr]
        except Empty:
            raise TimeoutError from None


def wake() -> None:
    """Have every consumer of this process look: for a message, or whether it should stop."""
    global _puts  # noqa: PLW0603
    with _put:
        _puts += 1
        _put.notify_all()


TRANSPORT_ALIASES["embedded"] = f"{__name__}:Transport"
