"""Backends by name: ``[backends.NAME]`` of the configuration first, then the entry points ``pubworks.backends``."""

from __future__ import annotations

from difflib import get_close_matches
from functools import cache
from importlib.metadata import entry_points

from pubworks.backends.spec import BackendSpec, Limits
from pubworks.errors import ConfigError
from pubworks.settings import BackendEntry, Settings

ENTRY_POINTS = "pubworks.backends"


def registered(settings: Settings) -> dict[str, BackendSpec]:
    """Return every backend that this process knows by name."""
    found = {name: BackendSpec(name, factory) for name, factory in _installed()}
    return found | {name: _from_entry(name, entry) for name, entry in settings.backends.items()}


@cache
def _installed() -> tuple[tuple[str, str], ...]:
    """Return name and factory of each entry point, read once: that takes as long as a small job."""
    return tuple((point.name, point.value) for point in entry_points(group=ENTRY_POINTS))


def find(settings: Settings, name: str) -> BackendSpec:
    """Return one backend.

    Raises:
        ConfigError: No backend has this name; the message lists those there are.
    """
    known = registered(settings)
    if name in known:
        return known[name]
    near = get_close_matches(name, known, n=1)
    raise ConfigError(
        f"Unknown backend {name!r}{f'; did you mean {near[0]!r}?' if near else '.'} "
        f"Known: {', '.join(sorted(known)) or 'none'}. Add a [backends.{name}] table to pubworks.toml."
    )


def _from_entry(name: str, entry: BackendEntry) -> BackendSpec:
    limits = Limits(entry.max_circuits, entry.max_shots, entry.max_payload_bytes)
    same = ("factory", "arguments", "secrets", "policy", "behaviour", "adapter", "price")
    return BackendSpec(name, limits=limits, quota=entry.limits, **{key: getattr(entry, key) for key in same})
