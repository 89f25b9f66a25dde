"""The table of IBM's names: it is whole, and what stands beside them was run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "ibm-names.md").read_text()

#: The public names of qiskit-ibm-runtime 0.51.0.
THEIRS = {
    "service": "active_account active_instance backend backends channel delete_account delete_job instances is_local "
    "job jobs least_busy save_account saved_accounts usage",
    "job": "ERROR JOB_FINAL_STATES backend cancel cancelled creation_date done error_message errored image "
    "in_final_state inputs instance job_id logs metrics primitive_id private properties result running session_id "
    "status tags update_tags usage usage_estimation wait_for_final_state",
    "session": "backend cancel close details service session_id status usage",
    "sampler": "backend mode options run version",
}

ROWS = [
    [cell.strip() for cell in line.strip("|").split(" | ")]
    for line in PAGE.splitlines()
    if line.startswith("| `") and len(line.split(" | ")) >= 2
]


def names_in(cell: str) -> set[tuple[str, str]]:
    return set(re.findall(r"`(\w+)\.(\w+)", cell))


@pytest.mark.parametrize("kind", THEIRS)
def test_every_public_name_of_theirs_has_a_row(kind: str) -> None:
    named = {name for row in ROWS for owner, name in names_in(row[0]) if owner == kind}
    assert set(THEIRS[kind].split()) <= named


def test_what_stands_beside_them_is_run_by_the_script() -> None:
    script = "\n".join(re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))
    ours = {name for row in ROWS for _, name in names_in(row[1])}
    assert len(ours) > 30
    assert {name for name in ours if f".{name}" not in script} == set()
    made = {name for row in ROWS for name in re.findall(r"`([A-Z]\w+)\(", row[1])}
    assert {name for name in made if f"{name}(" not in script} == set()
