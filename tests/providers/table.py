"""Write the verdicts into a page: ``python -m tests.providers.table PAGE VERDICTS.json…``."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path

_BLOCK = re.compile(r"(<!-- verdicts -->\n).*?(<!-- end of verdicts -->)", re.DOTALL)


def rows(found: Mapping[str, Mapping[str, Mapping[str, str]]]) -> list[str]:
    """Return a row of the table for each backend."""
    return [f"| `{name}` | {_tell(of['pubworks'])} | {_tell(of['qiskit'])} |" for name, of in found.items()]


def _tell(cases: Mapping[str, str]) -> str:
    """Return how many answers were right, and the names of the others."""
    told = [f"{sum(verdict == 'right' for verdict in cases.values())} right"]
    for kind in ("wrong", "refused"):
        names = sorted(name.replace("_", " ") for name, verdict in cases.items() if verdict.startswith(kind))
        if names:
            told.append(f"{len(names)} {kind}" + (f" ({', '.join(names)})" if len(names) < len(cases) / 2 else ""))
    return ", ".join(told)


def main(page: Path, verdicts: list[Path]) -> None:
    """Write the table; a backend of several environments stands for the first of them."""
    found = {name: of for path in reversed(verdicts) for name, of in json.loads(path.read_text()).items()}
    cases = len(next(iter(found.values()))["pubworks"])
    head = [f"| backend | pubworks, of {cases} cases | Qiskit's wrappers |", "| --- | --- | --- |"]
    block = "\n".join([*head, *rows(dict(sorted(found.items())))])
    page.write_text(_BLOCK.sub(rf"\g<1>\n{block}\n\n\g<2>", page.read_text()))


if __name__ == "__main__":
    main(Path(sys.argv[1]), [Path(path) for path in sys.argv[2:]])
