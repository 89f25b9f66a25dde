"""``pubworks doctor``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from pubworks.cli import render
from pubworks.cli.jobs import AsJson

if TYPE_CHECKING:
    from pubworks.cli.checks import Check

_WORDS = {True: ("ok", "green"), False: ("fail", "red"), None: ("skip", "bright_black")}


def doctor(as_json: AsJson = False) -> None:
    """Check that all works, and say how to mend what does not.

    Looked at are the configuration, the broker, the database and its schema, each backend and the workers.
    """
    from pubworks.cli import checks

    found = []
    for check in checks.run():
        found.append(check)
        if not as_json:
            _show(check)
    if as_json:
        render.emit({"ok": not _failed(found), "checks": [_document(check) for check in found]})
    if failed := _failed(found):
        render.say(f"{len(failed)} of {len(found)} checks failed.")
        raise typer.Exit(failed[0].code)


def _failed(found: list[Check]) -> list[Check]:
    return [check for check in found if check.ok is False]


def _document(check: Check) -> dict[str, Any]:
    return {"name": check.name, "status": _WORDS[check.ok][0], "detail": check.detail}


def _show(check: Check) -> None:
    word, color = _WORDS[check.ok]
    typer.echo(f"{typer.style(f'{word:<4}', fg=color)}  {check.name:<18}  {render.printable(check.detail)}")
