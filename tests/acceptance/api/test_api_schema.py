"""Calls that are made up from the description of the API get the answers that it describes, and meet no defect."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from qiskit import QuantumCircuit
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi import checks

from pubworks.client import Client, Sampler, Session
from pubworks.states import Scope

#: Calls of each endpoint; ``make api-hunt`` makes 200.
_EXAMPLES = int(os.environ.get("API_EXAMPLES", "3"))
_SETTINGS = settings(
    max_examples=_EXAMPLES,
    deadline=None,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)

#: A stream has no end, and the other one answers when something happens.
_ENDLESS, _WAITS = "/v1/events", "/v1/wait"

#: What every answer must be: no 5xx; a status, a type, headers and JSON that are described.
_CHECKS = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
]


def test_every_call_is_answered_as_it_is_described(serve_on: Any) -> None:
    with serve_on(api_rate="1000/s burst 10000") as served, _used(served) as there:
        token = served.token("root", Scope.ADMIN)
        schema = schemathesis.openapi.from_url(f"{served.url}/v1/openapi.json")
        operations = [found.ok() for found in schema.get_all_operations()]
        assert {operation.path for operation in operations} == set(schema.raw_schema["paths"])
        wrong = [error for operation in operations if (error := _hunt(operation, token, there))]
        if wrong:
            raise BaseExceptionGroup("Answers that are not as described", wrong)


@contextmanager
def _used(served: Any) -> Iterator[dict[str, Any]]:
    """Give what there is in a server that was used, by the names that paths have for it."""
    bell = QuantumCircuit(2, name="bell")
    bell.h(0)
    bell.measure_all()
    with Client(served.client.settings) as client, Session(backend="basic", client=client) as session:
        job = Sampler(mode=session).run([bell], tags=["t"])
        job.result(timeout=60)
        (worker,) = client.ledger.workers()
        yield {
            "job_id": job.job_id(), "pub": 0, "session_id": session.session_id, "worker_id": worker["id"],
            "batch_id": f"{job.job_id()}-0", "token_id": served.token("ben", Scope.READ).split("_")[1],
        }  # fmt: skip


def _hunt(operation: Any, token: str, there: dict[str, Any]) -> BaseException | None:
    """Return what an operation does wrong, if anything."""
    names = {"name": "meas" if "npy" in operation.path else "basic"}
    found = {name: value for name, value in {**there, **names}.items() if f"{{{name}}}" in operation.path}

    @_SETTINGS
    @given(case=operation.as_strategy(), is_there=st.booleans() if found else st.just(False))
    def hunt(case: Any, is_there: bool) -> None:
        if is_there:
            case.path_parameters = {**case.path_parameters, **found}
        if operation.path == _WAITS:
            case.query = {**(case.query or {}), "most_s": 0.1}
        headers = {"Authorization": f"Bearer {token}"}
        if operation.path == _ENDLESS:
            _check_beginning(case, headers)
        else:
            case.call_and_validate(headers=headers, checks=_CHECKS)

    try:
        hunt()
    except (Exception, BaseExceptionGroup) as error:
        return error
    return None


def _check_beginning(case: Any, headers: dict[str, str]) -> None:
    """Check an answer that has no end, but for its text."""
    with requests.request(**case.as_transport_kwargs(headers=headers), stream=True, timeout=30) as answer:
        media_type = "text/event-stream" if answer.ok else "application/problem+json"
        assert (answer.status_code < 500, media_type in answer.headers["content-type"]) == (True, True), answer.headers
