"""Calls that are made up from the description of the API meet no defect: never a 5xx, and problems are told as such."""

from __future__ import annotations

import os
from typing import Any

import schemathesis
from hypothesis import HealthCheck, Phase, given, settings

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

#: Streams have no end, and this one answers when something happens.
_ENDLESS, _WAITS = "/v1/events", "/v1/wait"


def test_no_call_meets_a_defect(serve_on: Any) -> None:
    with serve_on(api_rate="1000/s burst 10000") as served:
        served.job(owner="root")
        token = served.token("root", Scope.ADMIN)
        schema = schemathesis.openapi.from_url(f"{served.url}/v1/openapi.json")
        tried = set()
        for found in schema.get_all_operations():
            operation = found.ok()
            if operation.path != _ENDLESS and operation.path != "/v1/tokens/{token_id}":
                tried.add(operation.label)
                _hunt(operation, token)
        assert len(tried) > 20


def _hunt(operation: Any, token: str) -> None:
    @_SETTINGS
    @given(case=operation.as_strategy())
    def hunt(case: Any) -> None:
        if operation.path == _WAITS:
            case.query = {**(case.query or {}), "most_s": 0.1}
        answer = case.call(headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code < 500, (operation.label, case.as_curl_command(), answer.text)
        if answer.status_code >= 400:
            assert "application/problem+json" in answer.headers["content-type"], (operation.label, answer.text)

    hunt()
