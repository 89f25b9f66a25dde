"""The doorbell, on a Redis that is only pretended."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator

import pytest
import redis
from fakeredis import TcpFakeServer

from pubworks import queue
from pubworks.errors import BrokerUnreachable
from pubworks.settings import load_settings
from pubworks.testing.servers import free_port


@pytest.fixture
def port() -> Iterator[int]:
    port = free_port()
    server = TcpFakeServer(("127.0.0.1", port), server_type="redis")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield port
    server.shutdown()
    server.server_close()


@pytest.fixture
def app(port: int) -> Iterator[object]:
    app = queue.make_app(load_settings(broker=f"redis://127.0.0.1:{port}/0"))
    yield app
    app.close()


def messages(port: int, backend: str) -> list[dict]:
    with redis.Redis(port=port) as client:
        return [json.loads(item) for item in client.lrange(f"pubworks:pubworks.{backend}", 0, -1)]


def test_each_backend_has_its_queue_and_each_batch_its_message(app, port) -> None:
    queue.ring(app, "aer", 3)
    queue.ring(app, "aria", 1)
    assert (queue.depth(app, "aer"), queue.depth(app, "aria"), queue.depth(app, "other")) == (3, 1, 0)


def test_a_message_is_json_and_holds_names_only(app, port) -> None:
    queue.ring(app, "aer", 1)
    (message,) = messages(port, "aer")
    assert message["content-type"] == "application/json"
    assert message["headers"]["task"] == "pubworks.run_next"
    assert json.loads(base64.b64decode(message["body"]))[:2] == [["aer", 1], {}]


def test_a_large_job_rings_no_more_than_the_window(app, port) -> None:
    queue.ring(app, "aer", 10 * queue.WINDOW)
    assert queue.depth(app, "aer") == queue.WINDOW


def test_one_message_may_stand_for_all(app, port) -> None:
    queue.ring(app, "aer", 500, together=True)
    assert queue.depth(app, "aer") == 1


def test_a_broker_that_is_away_is_named_without_its_password() -> None:
    app = queue.make_app(load_settings(broker=f"redis://:s3cret@127.0.0.1:{free_port()}/0"))
    for call in (lambda: queue.ring(app, "aer", 1), lambda: queue.depth(app, "aer")):
        with pytest.raises(BrokerUnreachable, match="PUBWORKS_BROKER") as caught:
            call()
        assert "s3cret" not in str(caught.value)
    app.close()
