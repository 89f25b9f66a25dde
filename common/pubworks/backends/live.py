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

import numpy as np

from pubworks.errors import ConfigError

#: Packages whose backends are wholly described by class, options and target.
_TRANSPARENT = ("qiskit_aer", "qiskit")

#: Every live backend of this process, by name. They are never dropped: jobs may still be waiting for them.
_live: dict[str, Any] = {}

#: The fingerprints with which they were entered.
_marks: dict[str, str | None] = {}


class _Unseen(Exception):
    """Something decides the results that cannot be looked into."""


def enter(backend: Any) -> str:
    """Make a backend object known in this process and return its name; other options make another name."""
    mark = _fingerprint(backend)
    known = (name for name, entered in _live.items() if entered is backend and _marks[name] == mark)
    name = next(known, None) or f"live.{_own_name(backend)}.{mark or uuid.uuid4().hex[:12]}"
    _live[name], _marks[name] = backend, mark
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
    kind = type(backend)
    if kind.__module__.split(".")[0] not in _TRANSPARENT:
        return None
    try:
        options = _content(dict(backend.options.items()))
        target = sorted(str(backend.target).splitlines())  # sorted: parts of it come from sets
        qubits = repr([backend.target.dt, backend.target.qubit_properties])
    except _Unseen:
        return None
    parts = [kind.__module__, kind.__qualname__, options, target, qubits]
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:12]


def _content(value: Any) -> Any:
    """Return what a value holds, in a form whose ``repr`` is equal in every process and for equal values only."""
    if isinstance(value, (str, int, float, complex, type(None))):
        return repr(value)
    if isinstance(value, (list, tuple)):
        return [_content(item) for item in value]
    if isinstance(value, dict):
        return sorted((str(key), _content(item)) for key, item in value.items())
    if isinstance(value, np.ndarray) and value.dtype.kind in "biufc":
        return [str(value.dtype), value.shape, hashlib.sha256(value.tobytes()).hexdigest()]
    return _noise(value)


def _noise(value: Any) -> Any:
    """Return the content of a noise model; its errors carry random ids, which decide nothing."""
    if not type(value).__module__.startswith("qiskit_aer.noise") or getattr(value, "_custom_noise_passes", None):
        raise _Unseen
    errors = value.to_dict()["errors"]
    return [_content({key: item for key, item in error.items() if key != "id"}) for error in errors]
