"""Writing into ``pubworks.toml``: what a person wrote there, comments too, stays as it is."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError

from pubworks.errors import ConfigError

#: A place in a backend's table, and what is to stand there.
Entry = tuple[tuple[str, ...], Any]


def set_of_backend(path: Path, name: str, factory: str, entries: Iterable[Entry]) -> None:
    """Write settings of a backend.

    Args:
        path: The file; it need not be there.
        name: The backend.
        factory: For a table that is not there yet.
        entries: What to write; what stands there already is kept.

    Raises:
        ConfigError: The file cannot be read or written, or is not TOML.
    """
    try:
        document = tomlkit.parse(path.read_text() if path.exists() else "")
        backends = document.setdefault("backends", tomlkit.table(is_super_table=True))
        if name not in backends:
            backends[name] = tomlkit.table()
            backends[name]["factory"] = factory
        for place, value in entries:
            _set(backends[name], place, value)
        _replace(path, tomlkit.dumps(document))
    except (OSError, TOMLKitError) as error:
        raise ConfigError(f"{path} cannot be written: {error}. Put the settings there by hand.") from error


def _set(table: Any, place: tuple[str, ...], value: Any) -> None:
    *parents, key = place
    for parent in parents:
        if parent not in table:
            table[parent] = tomlkit.inline_table()
        table = table[parent]
    table.setdefault(key, value)


def _replace(path: Path, text: str) -> None:
    """Put a text in the place of a file at once: others read it at any moment."""
    target = path.resolve()  # a link stays one
    with tempfile.NamedTemporaryFile("w", dir=target.parent, prefix=f".{target.name}.", delete=False) as made:
        made.write(text)
    if target.exists():
        os.chmod(made.name, target.stat().st_mode & 0o777)
    else:
        os.chmod(made.name, 0o644)
    Path(made.name).replace(target)
