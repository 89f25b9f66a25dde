"""Asking before what cannot be undone."""

from __future__ import annotations

import sys

import typer

from pubworks.cli import exits, render


def ask(what: str, question: str, *, otherwise: str) -> None:
    """Go on only if the question is answered with yes.

    Args:
        what: What needs a yes, as the beginning of a sentence, for those without a terminal.
        question: The question.
        otherwise: What is said when the answer is no.
    """
    if not sys.stdin.isatty():
        render.fail(f"{what} needs a yes, and there is no terminal to ask on. Pass --yes.")
        raise typer.Exit(exits.USAGE)
    if not typer.confirm(question, err=True):
        render.say(otherwise)
        raise typer.Exit(exits.OK)
