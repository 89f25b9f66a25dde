"""What the gate bears of a body."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from pubworks.errors import TooLarge
from pubworks.web import gate


@pytest.mark.parametrize("limit", ["_STALL_S", "_WHOLE_S"])
def test_a_body_that_does_not_come_in_time_is_given_up(limit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, limit, 0.0)

    async def nothing() -> Any:
        await asyncio.Event().wait()

    with pytest.raises(TooLarge, match="Send it again"):
        asyncio.run(gate._Body(nothing, 100, "").receive())
