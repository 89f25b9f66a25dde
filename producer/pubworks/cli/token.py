"""``pubworks token`` and ``audit``: who may use the server, and who changed what."""

from __future__ import annotations

import getpass
import os
import re
from contextlib import AbstractContextManager
from typing import Annotated

import typer

from pubworks.cli import render, times
from pubworks.cli.jobs import AsJson
from pubworks.cli.session import reached
from pubworks.states import Scope

app = typer.Typer(no_args_is_help=True, help="Tokens of the server.", rich_markup_mode=None)

Why = Annotated[str | None, typer.Option("--why", help="The reason, kept in the audit.")]

_OWNER = re.compile(r"[\w.@+-]{1,200}")


@app.command()
def create(
    owner: Annotated[str, typer.Argument(metavar="NAME", help="Who uses it: their jobs are those of this name.")],
    scopes: Annotated[
        list[Scope] | None,
        typer.Option("--scope", help="read, submit (the default), operate or admin; each includes those before it."),
    ] = None,
    lasts: Annotated[str | None, typer.Option(metavar="AGE", help="Time until it is over: 12h, 30d, 8w.")] = None,
    why: Why = None,
    as_json: AsJson = False,
) -> None:
    """Make a token and print it, this once: it is kept nowhere."""
    if not _OWNER.fullmatch(owner):
        raise typer.BadParameter("a name has letters, digits and . @ + - _ only", param_hint="NAME")
    wanted, lasts_s = sorted(set(scopes or [Scope.SUBMIT])), _seconds(lasts)
    with reached() as ledger, by_hand(f"token create {owner}", why):
        made = ledger.create_token(owner, wanted, lasts_s)
    if as_json:
        render.emit(made)
        return
    typer.echo(made["token"])
    render.say(f"Token {made['id']} of {owner}. It is not shown again. Revoke it: pubworks token revoke {made['id']}")


def _seconds(lasts: str | None) -> float | None:
    if lasts is None:
        return None
    try:
        return times.duration(lasts)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--lasts") from None


@app.command("list")
def list_tokens(as_json: AsJson = False) -> None:
    """List the tokens, without their secrets."""
    with reached() as ledger:
        found = ledger.tokens()
    if as_json:
        render.emit({"tokens": found})
    elif not found:
        render.say("No token yet. Make one: pubworks token create NAME")
    else:
        columns = ("ID", "OWNER", "SCOPES", "VALID", "CREATED", "ENDS", "REVOKED")
        render.show(render.table(columns, [
            (token["id"], token["owner"], ", ".join(token["scopes"]), "yes" if token["valid"] else "no",
             token["created_at"], token["expires_at"], token["revoked_at"])
            for token in found
        ]))  # fmt: skip


@app.command()
def revoke(
    token_id: Annotated[str, typer.Argument(metavar="ID", help="The token's id; `pubworks token list` shows it.")],
    why: Why = None,
) -> None:
    """Revoke a token at once."""
    with reached() as ledger, by_hand(f"token revoke {token_id}", why):
        revoked = ledger.revoke_token(token_id)
    render.say(f"Token {token_id} is revoked." if revoked else f"Token {token_id} was revoked already.")


def audit(
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=100_000, help="Most entries to show.")] = 20,
    as_json: AsJson = False,
) -> None:
    """Show who changed what, and why; newest first.

    Changes through the server are there, and those by a command here.
    """
    with reached() as ledger:
        found = ledger.audit(limit)
    if as_json:
        render.emit({"entries": found})
    elif not found:
        render.say("Nothing was changed yet.")
    else:
        columns = ("AT", "WHO", "WHAT", "JOBS", "WHY")
        render.show(render.table(columns, [
            (entry["at"], entry["who"], entry["what"], ", ".join(entry["jobs"]), entry["why"]) for entry in found
        ]))  # fmt: skip


def by_hand(what: str, why: str | None) -> AbstractContextManager[None]:
    """Have what this command changes be told of in the audit."""
    from pubworks.store.authors import Author, acting

    return acting(Author(f"cli:{account()}", f"pubworks {what}", why))


def account() -> str:
    """Return the name of the account that runs this command."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run under a number that has no name
        return str(os.getuid())
