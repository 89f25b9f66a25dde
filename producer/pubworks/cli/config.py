"""``pubworks config show``."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import typer

from pubworks.cli import render
from pubworks.cli.jobs import AsJson
from pubworks.telemetry import Veil, masked

if TYPE_CHECKING:
    from pubworks.settings import BackendEntry, Settings

app = typer.Typer(no_args_is_help=True, help="The settings in use.", rich_markup_mode=None)


@app.callback()
def config() -> None:
    """The settings in use."""


@app.command()
def show(as_json: AsJson = False) -> None:
    """Print every setting, and where its value comes from.

    Secrets are masked.
    """
    from pubworks.settings import config_path, load_settings

    path, rows = config_path(), _rows(load_settings())
    if as_json:
        names = ("name", "value", "origin")
        settings = [dict(zip(names, row, strict=True)) for row in rows]
        render.emit({"file": path and str(path), "settings": settings})
        return
    render.show(render.table(("SETTING", "VALUE", "FROM"), rows))
    render.say(f"Settings file: {path or 'none'}")


def _rows(settings: Settings) -> list[tuple[str, Any, str]]:
    from pubworks.settings import origin

    plain = [name for name in type(settings).model_fields if name != "backends"]
    rows = [(name, _value(settings, name), origin(name)) for name in plain]
    for name, entry in settings.backends.items():
        rows += [(f"backends.{name}.{key}", value, origin("backends")) for key, value in _entry(entry).items()]
    return rows


def _value(settings: Settings, name: str) -> Any:
    value = settings.database_url if name == "database" else getattr(settings, name)
    return value if isinstance(value, int | float) else masked(str(value))


def _entry(entry: BackendEntry) -> dict[str, Any]:
    """Return what is set of a ``[backends.NAME]`` table, flattened."""
    flat: dict[str, Any] = {"factory": entry.factory}
    flat |= {f"arguments.{key}": _argument(key, value) for key, value in entry.arguments.items()}
    for key, variable in entry.secrets.items():
        flat[f"secrets.{key}"] = f"${variable} ({'set' if variable in os.environ else 'not set'})"
    names = ("max_circuits", "max_shots", "max_payload_bytes", "adapter")
    flat |= {name: value for name in names if (value := getattr(entry, name)) is not None}
    for name in ("limits", "policy"):
        said = getattr(entry, name).model_dump(mode="json", exclude_unset=True, exclude_none=True)
        flat |= {f"{name}.{key}": value for key, value in said.items()}
    return flat


def _argument(name: str, value: Any) -> Any:
    from pubworks.settings import SECRET_NAME, secret_arguments

    if SECRET_NAME.search(name):
        return "***"
    return value if isinstance(value, int | float) else Veil(secret_arguments({name: value})).hide(str(value))
