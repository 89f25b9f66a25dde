"""Backend objects that a user hands in, in embedded mode.

A live object cannot be rebuilt elsewhere. Where everything that decides its results can be seen (options and target of
Qiskit's own and Aer's simulators), its name carries a fingerprint of that: a job that its process left behind goes on
when a process is given a backend with the same fingerprint, and never on another one. Any other object gets a name that
no other object ever has, because two that look alike may compute different things.
"""

from __future__ import annotations

import hashlib
import re
import uuid
from typing import Any

from pubworks.errors import ConfigError

#: Packages whose backends are wholly described by class, options and target.
_TRANSPARENT = ("qiskit_aer", "qiskit")

_PLAIN = (str, int, float, bool, type(None))

#: Every live backend of this process, by name. They are never dropped: jobs may still be waiting for them.
_live: dict[str, Any] = {}


def enter(backend: Any) -> str:
    """Make a backend object known in this process and return its name."""
    known = next((name for name, entered in _live.items() if entered is backend), None)
    name = known or f"live.{_own_name(backend)}.{_fingerprint(backend) or uuid.uuid4().hex[:12]}"
    _live[name] = backend
    return name


def get(name: str) -> Any:
    """Return a live backend of this process.

    Raises:
        ConfigError: This process was not given it.
    """
    if name not in _live:
        raise ConfigError(
            f"Backend {name!r} is an object of another process. Make the same backend here and pass it to "
            "Sampler(backend=…), or register it by name in pubworks.toml."
        )
    return _live[name]


def names() -> list[str]:
    """Return the names of this process's live backends."""
    return list(_live)


def is_live(name: str) -> bool:
    """Return whether a backend's name is that of a live object.

    >>> is_live("live.aer_simulator.0123456789ab"), is_live("aer")
    (True, False)
    """
    return name.startswith("live.")


def _own_name(backend: Any) -> str:
    return re.sub(r"[^\w-]+", "_", str(getattr(backend, "name", None) or type(backend).__name__))[:100]


def _fingerprint(backend: Any) -> str | None:
    """Return a hash of all that decides the backend's results, or None where that cannot be seen."""
    if type(backend).__module__.split(".")[0] not in _TRANSPARENT:
        return None
    options = {key: _content(value) for key, value in backend.options.items()}
    if any(value is None for value in options.values()):
        return None
    target = sorted(str(backend.target).splitlines())  # sorted: parts of it come from sets
    parts = [type(backend).__module__, type(backend).__qualname__, sorted(options.items()), target]
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:12]


def _content(value: Any) -> str | None:
    if isinstance(value, _PLAIN):
        return repr(value)
    if isinstance(value, (list, tuple)) and all(isinstance(item, _PLAIN) for item in value):
        return repr(value)
    return repr(value.to_dict()) if hasattr(value, "to_dict") else None
