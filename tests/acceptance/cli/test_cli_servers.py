"""The command line where the database and the broker are servers, and the jobs run elsewhere."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from pubworks.testing.servers import NotAvailable, eventually, private_postgresql, private_redis

pytestmark = pytest.mark.servers


@pytest.fixture
def lab(place: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    try:
        with private_postgresql() as database, private_redis() as broker:
            monkeypatch.setenv("PUBWORKS_DATABASE", database)
            monkeypatch.setenv("PUBWORKS_BROKER", broker)
            yield place
    except NotAvailable as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))


def test_the_whole_way_on_servers(lab: Any, finish: Any) -> None:
    assert lab.run("submit", "bell.qpy", "--backend", "basic").code == 6
    assert lab.run("db", "upgrade").code == 0
    early = lab.run("submit", "bell.qpy", "--backend", "basic")
    assert (early.code, "pubworks worker --backend basic" in early.err) == (2, True)
    ill = lab.run("doctor")
    assert (ill.code, "fail  workers" in ill.out) == (1, True)

    worker = lab.start("worker", "--backend", "basic", "--concurrency", "1")
    try:
        eventually(lambda: _ready(lab), what="worker that described its backend")
        done = lab.run("submit", "bell.qpy", "--backend", "basic", "--wait", "--json")
        assert (done.code, done.json["status"], done.json["workers"]) == (0, "DONE", 1)
        assert lab.run("doctor").code == 0
        assert lab.run("result", done.json["id"]).code == 0
    finally:
        worker.send_signal(signal.SIGTERM)
        ran = finish(worker)
    assert ran.code == 0, ran.err
    waiting = lab.run("submit", "bell.qpy", "--backend", "basic")
    assert "Start a worker: pubworks worker --backend basic" in waiting.err


def _ready(lab: Any) -> bool:
    found = {item["name"]: item["status"] for item in lab.run("backends", "--json").json["backends"]}
    return found["basic"] == "ready" and bool(lab.run("workers", "--json").json["workers"])
