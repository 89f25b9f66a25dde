"""How the command line starts, and how errors end it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from typer.testing import CliRunner

from pubworks import errors
from pubworks.cli import exits
from pubworks.cli.main import app

HEAVY = ("qiskit", "sqlalchemy", "celery", "pydantic", "rich", "numpy")

_RUN = """
import sys
from pubworks.cli.main import main
sys.argv[0] = "pubworks"
try:
    main()
finally:
    print("LOADED", *(name for name in {heavy!r} if name in sys.modules))
"""


def _loaded(*arguments: str) -> set[str]:
    command = [sys.executable, "-c", _RUN.format(heavy=HEAVY), *arguments]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    return set(ran.stdout.splitlines()[-1].split()[1:])


def test_help_imports_nothing_heavy() -> None:
    assert _loaded("--help") == set()
    assert _loaded("submit", "--help") <= {"pydantic"}, "which typer itself loads for typed options"


def test_list_does_not_import_qiskit(place: Any) -> None:
    assert not {"qiskit", "celery"} & _loaded("list")


@pytest.mark.parametrize("group", ["", "batch", "session", "backends", "workers", "token", "db", "config"])
def test_no_summary_in_a_list_of_commands_breaks_off(group: str) -> None:
    shown = CliRunner().invoke(app, [*group.split(), "--help"], env={"COLUMNS": "80"}).stdout
    assert [line for line in shown.partition("Commands:")[2].splitlines() if line.endswith("...")] == []


def test_help_answers_at_once() -> None:
    def seconds() -> float:
        before = os.times()
        subprocess.run([sys.executable, "-m", "pubworks.cli.main", "--help"], capture_output=True, check=True)
        after = os.times()
        return after.children_user + after.children_system - before.children_user - before.children_system

    assert min(seconds() for _ in range(3)) < 0.3


def _tree(root: type[Exception]) -> Iterator[type[Exception]]:
    yield root
    for kind in root.__subclasses__():
        yield from _tree(kind)


@pytest.mark.parametrize("kind", sorted(set(_tree(errors.PubworksError)), key=str), ids=lambda kind: kind.__name__)
def test_every_error_has_an_exit_code(kind: type[errors.PubworksError]) -> None:
    expected = {
        errors.ConfigError: 2, errors.SubmissionError: 2, errors.JobNotFound: 3, errors.BatchNotHeld: 3,
        errors.NothingToRetry: 2, errors.SessionClosed: 2, errors.SessionNotFound: 3, errors.TokenNotFound: 3,
        errors.TooLarge: 2, errors.WorkerNotFound: 3,
        errors.JobTimeout: 4, errors.StoreUnreachable: 5, errors.ServerUnreachable: 5, errors.BrokerUnreachable: 5,
        errors.SchemaOutOfDate: 6,
    }  # fmt: skip
    assert exits.code_of(kind("why")) == expected.get(kind, 1)


def test_names_from_others_cannot_drive_the_terminal(place: Any) -> None:
    place.submit("bell.qpy", "--backend", "basic", "--name", "[bold]\x1b[2J")
    assert "[bold]?[2J" in place.run("list").out


def test_importing_the_client_loads_no_database_and_no_queue() -> None:
    script = (
        "import sys, pubworks.client; print(*sorted({'sqlalchemy', 'celery', 'pydantic', 'httpx'} & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == []
