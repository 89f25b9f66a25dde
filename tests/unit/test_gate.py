"""What the gate bears of a body, and how answers are sent."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import httpx
import pytest

from pubworks.errors import TooLarge
from pubworks.web import gate, server


@pytest.mark.parametrize("limit", ["_STALL_S", "_WHOLE_S"])
def test_a_body_that_does_not_come_in_time_is_given_up(limit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, limit, 0.0)

    async def nothing() -> Any:
        await asyncio.Event().wait()

    with pytest.raises(TooLarge, match="Send it again"):
        asyncio.run(gate._Body(nothing, 100, "").receive())


def test_a_client_ends_an_idle_connection_before_the_server_does() -> None:
    assert (httpx.Limits().keepalive_expiry or 0) * 2 < server.IDLE_S


def test_no_part_of_an_answer_waits_for_the_one_before() -> None:
    with (
        server._listening("127.0.0.1", 0) as listener,
        socket.create_connection(listener.getsockname()),
        listener.accept()[0] as accepted,
    ):
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
