"""The verdicts that are kept, and their table on a page.

``python -m tests.providers.table keep VERDICTS.json…`` writes both; ``… check VERDICTS.json…`` sees that what pubworks
did is what is kept.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
KEPT, PAGE = ROOT / "tests/providers/verdicts.json", ROOT / "docs/providers.md"

_BLOCK = re.compile(r"(?<=<!-- verdicts -->\n)(.*?)(?=<!-- end of verdicts -->)", re.DOTALL)

#: How the verdicts that are not ``right`` are told.
_WORDS = {"wrong": "wrong", "refused": "refused", "not": "does not apply"}

Verdicts = Mapping[str, Mapping[str, Any]]


def together(verdicts: Sequence[Path]) -> dict[str, Any]:
    """Return verdicts of several environments, in a word each; a backend of several stands for the first of them."""
    found = {name: of for path in reversed(verdicts) for name, of in json.loads(path.read_text()).items()}
    return {
        name: {
            "behaviour": found[name]["behaviour"],
            **{who: {case: told.partition(":")[0] for case, told in found[name][who].items()} for who in _COLUMNS},
        }
        for name in sorted(found)
    }


_COLUMNS = ("pubworks", "qiskit")


def table(found: Verdicts) -> str:
    """Return the table of verdicts, a row for each backend."""
    ours, theirs = (max(len(of[who]) for of in found.values()) for who in _COLUMNS)
    head = [f"| backend | pubworks, of {ours} cases | Qiskit's wrappers, of {theirs} |", "| --- | --- | --- |"]
    rows = [f"| `{name}` | {_tell(of['pubworks'])} | {_tell(of['qiskit'])} |" for name, of in found.items()]
    return "\n".join(["", *head, *rows, "", ""])


def _tell(cases: Mapping[str, str]) -> str:
    """Return how many answers were right, and the names of the others."""
    told = [f"{sum(verdict == 'right' for verdict in cases.values())} right"]
    for kind, words in _WORDS.items():
        names = sorted(name.replace("_", " ") for name, verdict in cases.items() if verdict == kind)
        if names:
            told.append(f"{len(names)} {words}" + (f" ({', '.join(names)})" if len(names) < len(cases) / 2 else ""))
    return ", ".join(told)


def shown() -> str:
    """Return the table that the page shows."""
    (block,) = _BLOCK.findall(PAGE.read_text())
    return str(block)


def keep(found: Verdicts) -> None:
    """Write the verdicts, and the table on the page."""
    KEPT.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")
    PAGE.write_text(_BLOCK.sub(lambda _: table(found), PAGE.read_text()))


def differences(found: Verdicts) -> list[str]:
    """Return where pubworks did otherwise than is kept; what the wrappers get wrong is partly chance."""
    kept = json.loads(KEPT.read_text())
    return [
        f"{name} {case}: {told}, and {kept[name]['pubworks'].get(case)} is kept; make verdicts writes it"
        for name, of in found.items()
        for case, told in of["pubworks"].items()
        if kept[name]["pubworks"].get(case) != told
    ]


def main(action: str, *paths: str) -> int:
    """Keep verdicts, or check them. Returns 1 where they are others."""
    found = together([Path(path) for path in paths])
    if action == "keep":
        keep(found)
        return 0
    told = differences(found)
    print("\n".join(told))
    return bool(told)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
