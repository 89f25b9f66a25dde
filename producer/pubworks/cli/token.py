"""``pubworks token`` and ``audit``: who may use the server, and who changed what."""

from __future__ import annotations

import getpass
import os
import re
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pubworks.cli import render, times
from pubworks.cli.jobs import AsJson
from pubworks.cli.session import opened
from pubworks.states import Scope
from pubworks.views import documents

if TYPE_CHECKING:
    from pubworks.views.session import Session

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
    from pubworks.store import tokens

    if not _OWNER.fullmatch(owner):
        raise typer.BadParameter("a name has letters, digits and . @ + - _ only", param_hint="NAME")
    wanted = sorted(set(scopes or [Scope.SUBMIT]))
    with opened() as session, by_hand(f"token create {owner}", why), session.store.write() as connection:
        token_id, token = tokens.create(connection, owner, wanted, _seconds(lasts))
    if as_json:
        render.emit({"id": token_id, "owner": owner, "scopes": wanted, "token": token})
        return
    typer.echo(token)
    render.say(f"Token {token_id} of {owner}. It is not shown again. Revoke it: pubworks token revoke {token_id}")


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
    from pubworks.store import tokens

    with opened() as session, session.store.read() as connection:
        found = [documents.of_token(row) for row in tokens.list_tokens(connection)]
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
    from pubworks.store import tokens

    with opened() as session, by_hand(f"token revoke {token_id}", why), session.store.write() as connection:
        revoked = tokens.revoke(connection, token_id)
    render.say(f"Token {token_id} is revoked." if revoked else f"Token {token_id} was revoked already.")


def audit(
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=100_000, help="Most entries to show.")] = 20,
    as_json: AsJson = False,
) -> None:
    """Show who changed what through the server or by a command here, and why; newest first."""
    with opened() as session:
        found = _entries(session, limit)
    if as_json:
        render.emit({"entries": found})
    elif not found:
        render.say("Nothing was changed yet.")
    else:
        columns = ("AT", "WHO", "WHAT", "JOBS", "WHY")
        render.show(render.table(columns, [
            (entry["at"], entry["who"], entry["what"], ", ".join(entry["jobs"]), entry["why"]) for entry in found
        ]))  # fmt: skip


def _entries(session: Session, limit: int) -> list[dict[str, Any]]:
    from pubworks.store import audit as store

    with session.store.read() as connection:
        return [documents.of_audit(row) for row in store.entries(connection, limit)]


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
