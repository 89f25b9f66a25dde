"""The HTTP face of the simulated QPU that a test talks to; its requests are neither counted nor limited."""

from __future__ import annotations

from aiohttp import web
from pydantic import ValidationError

from pubworks.testing.qpu.state import QPU

CONTROL = web.RouteTableDef()


@CONTROL.get("/control/settings")
async def _settings(request: web.Request) -> web.Response:
    return web.json_response(request.app[QPU].settings.model_dump(mode="json"))


@CONTROL.put("/control/settings")
async def _change(request: web.Request) -> web.Response:
    try:
        request.app[QPU].change(await request.json())
    except (ValidationError, ValueError, TypeError) as error:
        return web.json_response({"code": "bad_settings", "message": str(error)}, status=400)
    return web.json_response(request.app[QPU].settings.model_dump(mode="json"))


@CONTROL.get("/control/ledger")
async def _ledger(request: web.Request) -> web.Response:
    return web.json_response(request.app[QPU].ledger.summary())


@CONTROL.get("/control/counts")
async def _counts(request: web.Request) -> web.Response:
    return web.json_response(request.app[QPU].traffic.summary())


@CONTROL.post("/control/reset")
async def _reset(request: web.Request) -> web.Response:
    request.app[QPU].reset()
    return web.json_response({})
