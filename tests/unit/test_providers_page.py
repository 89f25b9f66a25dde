"""What the page on providers says is what was measured."""

from __future__ import annotations

import json
import re
import tomllib
from typing import Any

import pytest
from tests.providers import table

FOUND = json.loads(table.KEPT.read_text())
PAGE = table.PAGE.read_text()
TESTED, READ = PAGE.split("## Read from source only")

#: The backends that were tested with the entries of the page.
ENTRIES = {"manila": "fake_manila", "braket_local": "braket_sv"}


def entries(text: str) -> dict[str, Any]:
    """Return the tables that a part of the page has to copy."""
    blocks = re.findall(r"^```toml\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return dict(tomllib.loads("\n".join(blocks))["backends"])


def test_the_table_is_made_of_the_verdicts_that_are_kept() -> None:
    assert table.shown() == table.table(FOUND)


def test_pubworks_is_never_wrong_and_refuses_only_what_a_backend_cannot_do() -> None:
    for name, of in FOUND.items():
        told = of["pubworks"]
        behaviour = of["behaviour"]
        refused = {case for case, verdict in told.items() if verdict == "refused"}
        cannot = {"control_flow"} if not behaviour["control_flow"] else set()
        cannot |= set() if behaviour["mid_circuit"] else {"measured_twice", "estimator_measuring"}
        assert refused == cannot, name
        assert set(told.values()) <= {"right", "refused", "not"}, name
        assert {case for case, verdict in told.items() if verdict == "not"} <= {"found_again"}, name


@pytest.mark.parametrize("name", entries(TESTED))
def test_an_entry_to_copy_says_what_a_probe_finds(name: str) -> None:
    from pubworks.settings import BackendEntry

    entry = entries(TESTED)[name]
    BackendEntry(**entry)
    found, said = FOUND[ENTRIES.get(name, name)]["behaviour"], entry.get("behaviour", {})
    assert {key: found[key] for key in said} == said
    assert {key for key in ("control_flow", "mid_circuit") if found[key] is False} <= set(said)


def test_every_tested_backend_has_an_entry() -> None:
    named = {ENTRIES.get(name, name) for name in entries(TESTED)}
    assert set(FOUND) - named <= {"braket_dm", "neutral_atom_losing"}  # other arguments of one that has


@pytest.mark.parametrize("name", entries(READ))
def test_an_entry_that_was_not_tested_is_one_that_can_be_read(name: str) -> None:
    from pubworks.settings import BackendEntry

    BackendEntry(**entries(READ)[name])
    assert f"def {entries(READ)[name]['factory'].partition(':')[2]}(" in READ
