"""Every error is told over HTTP with the code by which the command line ends, and without the server's secrets."""

from __future__ import annotations

import asyncio
import inspect
import json

import httpx
import pytest
from fastapi import FastAPI

from pubworks import errors
from pubworks.cli import exits
from pubworks.web import problems
from pubworks.web.problems import kind_of, problem_of

#: A request.
API = {"type": "http", "method": "GET", "path": "/v1/jobs", "query_string": b"", "headers": []}

CLASSES = [found for _, found in inspect.getmembers(errors, inspect.isclass)]


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_every_error_has_a_status_and_the_code_of_the_command_line(kind: type[errors.PubworksError]) -> None:
    told = kind_of(kind("why"))
    assert getattr(exits, told.code) == exits.code_of(kind("why"))
    # A class that nobody thought of would be the server's fault.
    assert told.status < 500 or issubclass(
        kind, errors.StoreUnreachable | errors.SchemaOutOfDate | errors.BrokerUnreachable | errors.ProviderError
    ) or kind in (errors.PubworksError, errors.StoreError, errors.AccessError)  # fmt: skip


def test_what_is_the_servers_fault_is_told_without_its_place() -> None:
    answer = problem_of(errors.StoreUnreachable("The database postgresql://lab:s3cret@db.lab/x does not answer"), API)
    assert answer.status_code == 503
    assert b"db.lab" not in answer.body
    assert b"s3cret" not in problem_of(errors.JobFailed("see redis://:s3cret@x/0"), API).body


def test_a_token_in_a_message_is_hidden() -> None:
    token = "pw_0123456789ab_" + "x" * 43
    assert "xxx" not in json.loads(problem_of(errors.JobNotFound(f"No job {token!r}"), API).body)["detail"]


def test_a_defect_is_told_as_a_problem_too() -> None:
    app = FastAPI()
    problems.install(app)

    @app.get("/v1/broken")
    def broken() -> None:
        raise ZeroDivisionError("s3cret")

    async def ask() -> httpx.Response:
        way = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=way, base_url="http://here") as http:
            return await http.get("/v1/broken")

    answer = asyncio.run(ask())
    assert (answer.status_code, answer.headers["content-type"]) == (500, problems.MEDIA_TYPE)
    assert (answer.json()["type"], "s3cret" in answer.text) == ("urn:pubworks:error:InternalError", False)
