"""Where the server's application keeps its QPU."""

from __future__ import annotations

from aiohttp import web

from pubworks.testing.qpu.service import Qpu

QPU = web.AppKey("qpu", Qpu)
