"""The HTTP face of the simulated QPU that its provider talks to."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from email.utils import formatdate
from math import ceil
from typing import Any

from aiohttp import web

from pubworks.testing.qpu import checks
from pubworks.testing.qpu.checks import Dropped, Refusal
from pubworks.testing.qpu.control import CONTROL
from pubworks.testing.qpu.job import Job, Request, State
from pubworks.testing.qpu.service import Qpu
from pubworks.testing.qpu.settings import Fault
from pubworks.testing.qpu.state import QPU

#: Bytes of the largest submission that is read at all.
_READ_AT_MOST = 1 << 30
#: Bytes of the longest request line: it holds hundreds of ids.
_LINE_AT_MOST = 1 << 20
#: Seconds that an idle connection stays open: long, as who sends while it closes cannot know what became of it.
_KEEP_ALIVE_S = 3600

#: HTTP statuses of requests for the result of a job that is not done.
_RESULT_STATUS = {State.QUEUED: 202, State.RUNNING: 202, State.FAILED: 200, State.CANCELLED: 200}

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_NOTE = web.RequestKey("note", dict[str, Any])
_face = web.RouteTableDef()


async def serve(qpu: Qpu, port: int) -> tuple[web.AppRunner, int]:
    """Start to serve on 127.0.0.1; return what stops it and the port in use."""
    app = web.Application(middlewares=[_each_request], client_max_size=_READ_AT_MOST)
    app[QPU] = qpu
    app.add_routes([*_face, *CONTROL])
    runner = web.AppRunner(
        app, access_log=None, keepalive_timeout=_KEEP_ALIVE_S, max_line_size=_LINE_AT_MOST, shutdown_timeout=0.1
    )
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, backlog=4096).start()
    return runner, runner.addresses[0][1]


@web.middleware
async def _each_request(request: web.Request, handler: _Handler) -> web.StreamResponse:
    """Count, admit and log every request of the provider; leave those of the test alone."""
    kind = _kind(request)
    if kind is None:
        return await handler(request)
    qpu, arrived = request.app[QPU], time.time()
    note = request[_NOTE] = {}
    response, status = await _answer(request, handler, kind)
    await asyncio.sleep(qpu.chance.seconds("latency_s", qpu.settings.latency_s))
    qpu.traffic.answer(status, note.get("code"))
    qpu.log({"time": arrived, "kind": kind, "status": status, **note})
    if status == "dropped" and request.transport is not None:
        request.transport.abort()
    return response


async def _answer(request: web.Request, handler: _Handler, kind: str) -> tuple[web.StreamResponse, str]:
    qpu = request.app[QPU]
    try:
        qpu.admit(kind, request.headers.get("Authorization", "").removeprefix("Bearer "))
        response = await handler(request)
    except Refusal as refusal:
        request[_NOTE]["code"] = refusal.code
        response = _refused(refusal, qpu.settings.retry_after)
    except Dropped:
        return web.Response(), "dropped"
    return response, str(response.status)


def _kind(request: web.Request) -> str | None:
    name = request.match_info.route.name
    return ("list" if "tag" in request.query else "statuses") if name == "jobs" else name


def _refused(refusal: Refusal, style: str) -> web.Response:
    response = web.json_response({"code": refusal.code, "message": str(refusal)}, status=refusal.status)
    if refusal.retry_after is not None and style != "none":
        seconds = ceil(refusal.retry_after)
        # Dates are of whole seconds: one more, so that they never name a time that is too early.
        as_date = formatdate(time.time() + seconds + 1, usegmt=True)
        response.headers["Retry-After"] = str(seconds) if style == "seconds" else as_date
    return response


@_face.get("/backend", name="backend")
async def _backend(request: web.Request) -> web.Response:
    settings = request.app[QPU].settings
    limits = {name: settings.advertised(name) for name in ("max_circuits", "max_shots", "max_payload_bytes")}
    names = (
        "name", "num_qubits", "price_per_shot", "find_by_id", "find_by_tag", "batched_status", "cancel", "max_ids",
    )  # fmt: skip
    return web.json_response({**{name: getattr(settings, name) for name in names}, **limits})


@_face.post("/jobs", name="submit")
async def _submit(request: web.Request) -> web.Response:
    qpu, note = request.app[QPU], request[_NOTE]
    wanted, payload = _read(await request.read())
    note.update(
        tag=wanted.tag, circuits=wanted.circuits, shots=wanted.shots, seed=wanted.seed, payload_bytes=len(payload)
    )
    job = qpu.submit(wanted, payload)
    note["id"] = job.id
    if qpu.chance.strikes(Fault.SLOW):
        await asyncio.sleep(qpu.chance.seconds("slow_s", qpu.settings.slow_s))
    checks.after_acceptance(qpu.settings, qpu.chance)
    return web.json_response({"id": job.id, "key": job.key}, status=201)


@_face.get("/jobs", name="jobs")
async def _jobs(request: web.Request) -> web.Response:
    qpu, query = request.app[QPU], request.query
    jobs = qpu.with_tag(query["tag"]) if "tag" in query else qpu.with_ids(query.get("ids", "").split(","))
    return web.json_response({"jobs": [job.summary() for job in jobs]})


@_face.get("/jobs/{id}", name="status")
async def _status(request: web.Request) -> web.Response:
    return web.json_response(_job(request).summary())


@_face.get("/jobs/{id}/result", name="result")
async def _result(request: web.Request) -> web.Response:
    job = _job(request)
    if job.state != State.DONE:
        return web.json_response(job.summary(), status=_RESULT_STATUS[job.state])
    body = request.app[QPU].result(job)
    return web.Response(body=body, content_type="application/json", headers={"Content-Encoding": "deflate"})


@_face.delete("/jobs/{id}", name="cancel")
async def _cancel(request: web.Request) -> web.Response:
    job = _job(request)
    return web.json_response({"cancelled": request.app[QPU].cancel(job)})


def _job(request: web.Request) -> Job:
    id_ = request[_NOTE]["id"] = request.match_info["id"]
    return request.app[QPU].find(id_, request.headers.get("X-Job-Key", ""))


def _read(body: bytes) -> tuple[Request, bytes]:
    """Split a submission: a line of JSON, then the circuits as QPY."""
    line, _, payload = body.partition(b"\n")
    try:
        fields = json.loads(line)
        request = Request(
            circuits=tuple(map(str, fields["circuits"])), num_qubits=int(fields["num_qubits"]),
            shots=int(fields["shots"]), seed=None if fields["seed"] is None else int(fields["seed"]),
            memory=bool(fields["memory"]), tag=None if fields["tag"] is None else str(fields["tag"]),
        )  # fmt: skip
    except (ValueError, KeyError, TypeError) as error:
        raise Refusal(400, "malformed", f"The submission cannot be read: {error!r}.") from error
    if not request.circuits or request.shots < 1:
        raise Refusal(400, "malformed", "A job needs a circuit and a shot.")
    return request, payload
