"""The log's vocabulary: all of it is used, nothing else is, and no line holds a secret."""

from __future__ import annotations

import ast
import json
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pubworks import telemetry
from pubworks.settings import load_settings, secrets_of
from pubworks.telemetry import ACTIONS, JsonLines, TextLines, Veil, log, masked

ROOT = Path(__file__).parents[2]
SECRET = "tok-3f9a77c1"


def calls_of_log() -> Iterator[tuple[str, str, list[str | None]]]:
    """Yield (place, action, names of the fields) of every call of ``log`` in the code."""
    for path in (path for folder in ("common", "producer", "worker") for path in (ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "log":
                action = ast.literal_eval(node.args[0])
                yield f"{path.name}:{node.lineno}", action, [field.arg for field in node.keywords]


def test_every_line_of_the_log_is_in_the_vocabulary() -> None:
    calls = list(calls_of_log())
    assert [call for call in calls if call[1] not in ACTIONS] == []
    unknown = [(place, field) for place, action, fields in calls for field in fields
               if field and field not in ACTIONS[action].fields]  # fmt: skip
    assert unknown == []
    assert ACTIONS.keys() == {action for _, action, _ in calls}


def record(text: str, **extra: Any) -> logging.LogRecord:
    made = logging.LogRecord("pubworks", logging.INFO, "file.py", 1, text, (), None)
    made.__dict__.update(extra)
    return made


@given(st.text(), st.sampled_from(["redis://me:{}@host/0", "GET /v1?api_key={}", "it said {}, again {}"]))
def test_no_form_of_a_line_shows_a_secret(around: str, place: str) -> None:
    veil, text = Veil([SECRET]), f"{around} {place.replace('{}', SECRET)} {around}"
    for formatter in (JsonLines(veil), TextLines(logging.Formatter("%(message)s"), veil)):
        assert SECRET not in formatter.format(record(text.replace("%", "%%")))
    line = JsonLines(veil).format(record("", action="store.away", fields={"error": ValueError(text), "count": 3}))
    assert SECRET not in line
    assert "\n" not in line
    document = json.loads(line)
    assert (document["action"], document["count"]) == ("store.away", 3)


def test_a_traceback_is_one_field_without_secrets() -> None:
    made = record("keeper")
    try:
        raise ValueError(SECRET)
    except ValueError as error:
        made.exc_info = (ValueError, error, error.__traceback__)
    line = json.loads(JsonLines(Veil([SECRET])).format(made))
    assert line["message"] == "keeper"
    assert line["traceback"].endswith("ValueError: ***")


@pytest.mark.parametrize(("text", "shown"), [
    ("GET a://me:pw@x@host b://:@ x@y a://b", "GET a://me:***@host b://:***@ x@y a://b"),
    ("GET /x?a=b?my_Token_id=pw&n=1&key=2#f", "GET /x?a=b?my_Token_id=***&n=1&key=***"),
    ("?token?n=1&key=&secret", "?token?n=1&key=&secret"),
])  # fmt: skip
def test_passwords_and_secrets_in_urls_are_hidden(text: str, shown: str) -> None:
    assert masked(text) == shown


@pytest.mark.parametrize("part", ["?", "?token", "token", "&key?", "a://:", "a://", "pw_", "?token=", "a://:@"])
def test_no_path_of_a_stranger_keeps_the_log_busy(part: str) -> None:
    start = time.process_time()
    for text in (part * 5_000, "?" + part * 5_000, "a://" + part * 5_000):
        masked(text)
    assert time.process_time() - start < 2.0


def test_a_short_word_is_no_secret() -> None:
    assert Veil(["aer"]).hide("backend aer") == "backend aer"


def test_the_secrets_are_those_of_urls_and_backends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_KEY", SECRET)
    entry = {"factory": "lab:ionq", "secrets": {"token": "LAB_KEY", "other": "LAB_UNSET"}}
    settings = load_settings(database="postgresql+psycopg://lab:pass-1@db/x", backends={"aria": entry})
    assert secrets_of(settings) == ["pass-1", SECRET]


def test_who_listens_hears_of_what_the_log_leaves_out(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[tuple[str, dict[str, Any]]] = []
    monkeypatch.setattr(telemetry, "_listeners", [])
    telemetry.listen(lambda action, fields: heard.append((action, fields)))
    log("run.over", logging.DEBUG, batch="b", backend="aer", status=None, seconds=1.5)
    assert heard == [("run.over", {"batch": "b", "backend": "aer", "seconds": 1.5})]
