"""What ``pubworks up`` shows: what runs, where API and page are, and a token for them, once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from pubworks.cli import render
from pubworks.cli.token import account, by_hand
from pubworks.errors import ConfigError
from pubworks.states import Scope

if TYPE_CHECKING:
    from pubworks.stack.place import Place


def new_token(place: Place) -> str | None:
    """Return a token for whoever brought it up, if nobody has one yet."""
    from contextlib import closing

    from pubworks.store import tokens
    from pubworks.store.store import Store

    with closing(Store.open(place.database_url)) as store:
        with store.read() as connection:
            if tokens.any_valid(connection):
                return None
        with by_hand("up", None), store.write() as connection:
            return tokens.create(connection, account(), {Scope.ADMIN})[1]


def show(place: Place, as_json: bool, token: str | None = None) -> None:
    """Show what runs, and what is needed to use it.

    Args:
        place: Where it runs.
        as_json: Whether to show it as JSON.
        token: A new token, which is nowhere else.
    """
    from pubworks.stack.slot import Slot
    from pubworks.stack.supervisor import SUPERVISOR, running

    names = running(place)
    processes = [{"name": name, "pid": Slot(place.folder, name).pid()} for name in names]
    is_up = place.connection.exists() and Slot(place.folder, SUPERVISOR).is_taken()
    url, problem = _url(place) if is_up else (None, None)
    if as_json:
        found = {"up": is_up, "folder": str(place.folder), "url": url, "processes": processes}
        render.emit(found if token is None else {**found, "token": token})
        return
    rows = [(str(process["name"]), f"pid {process['pid']}") for process in processes]
    for name, value in (*rows, ("url", url), ("token", token)):
        if value is not None:
            typer.echo(f"{name:<12}  {value}")
    if problem is not None:
        render.say(problem)
    elif is_up:
        say_where(place)
    elif names:
        render.say("It is not whole: its supervisor is gone, or it is on its way. Mend it: pubworks up; stop it: down")
    else:
        render.say("Nothing is up. Start it: pubworks up")


def _url(place: Place) -> tuple[str | None, str | None]:
    """Return where API and page of a stack that is up are, or why that is not known."""
    try:
        return place.url, None
    except ConfigError as error:
        return None, str(error)


def say_where(place: Place) -> None:
    """Say how to use what is up."""
    render.say(
        f"pubworks is up; every pubworks command and Client() of yours here uses it. Data: {place.folder}\n"
        f"API and page: {place.url}. A token is shown once; for another: pubworks token create NAME --scope admin"
    )
