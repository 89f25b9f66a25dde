"""The tests that ``pytest --pubworks-backend`` runs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from pubworks.backends.spec import load
from pubworks.client import Client
from pubworks.errors import JobFailed, SubmissionError
from pubworks.testing.conformance.benches import PubworksBench
from pubworks.testing.conformance.checks import CASES, Case, DoesNotApply
from pubworks.testing.conformance.jobs import JOB_CASES, MAX_SHOTS


@pytest.fixture(scope="module")
def entry(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The settings of the backend."""
    behaviour = json.loads(request.config.getoption("--pubworks-behaviour"))
    return {"factory": request.config.getoption("--pubworks-backend"), "behaviour": behaviour, "max_shots": MAX_SHOTS}


@pytest.fixture(scope="module")
def bench(entry: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[PubworksBench]:
    """The backend, in an embedded pubworks."""
    with Client(data_dir=tmp_path_factory.mktemp("pubworks"), backends={"tested": entry}) as client:
        yield PubworksBench(client, "tested", load(entry["factory"], "Backend")())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_answers_are_right(bench: PubworksBench, case: Case) -> None:
    """Samples and expectation values are as they must be; what is optional may be refused, in words."""
    try:
        case.check(bench)
    except (JobFailed, SubmissionError) as error:
        if not case.optional:
            raise
        pytest.skip(f"refused: {error}")


@pytest.mark.parametrize("case", JOB_CASES, ids=lambda case: case.name)
def test_jobs_do_what_they_should(bench: PubworksBench, case: Case) -> None:
    """Shots are split, bad input is refused, a cancelled job ends, and a job is found again by its id."""
    try:
        case.check(bench)
    except DoesNotApply as why:
        pytest.skip(str(why))
