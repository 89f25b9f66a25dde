"""``pubworks db upgrade`` and ``db current``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from pubworks.cli import render
from pubworks.cli.jobs import AsJson
from pubworks.cli.session import database
from pubworks.telemetry import masked

if TYPE_CHECKING:
    from pubworks.store.store import Store

app = typer.Typer(no_args_is_help=True, help="The database's schema.", rich_markup_mode=None)


@app.command()
def upgrade() -> None:
    """Bring the schema to this version's; jobs are kept.

    It may be any older one, or none.
    """
    from pubworks.settings import load_settings

    with database(load_settings()) as store:
        before = _current(store)
        store.upgrade()
        after = _current(store)
    changed = f"upgraded from {before or 'empty'} to {after}" if before != after else f"at {after} already"
    render.say(f"The database {masked(store.url)} is {changed}.")


@app.command()
def current(as_json: AsJson = False) -> None:
    """Print the schema's version.

    It fails with exit code 6 if that is not this pubworks' own.
    """
    from pubworks.settings import load_settings
    from pubworks.store import schema

    with database(load_settings()) as store:
        found = _current(store)
        if as_json:
            document = {"database": masked(store.url), "current": found, "needed": schema.head()}
            render.emit({**document, "up_to_date": found == schema.head()})
        else:
            typer.echo(found or "empty")
        store.check_schema()


def _current(store: Store) -> str | None:
    from pubworks.store import schema

    with store.read() as connection:
        return schema.current(connection)
