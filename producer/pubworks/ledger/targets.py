"""Backends as planning sees them, where this process has the settings and the database."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pubworks.backends import live, registry
from pubworks.backends.adapter import adapt
from pubworks.errors import ConfigError, SubmissionError
from pubworks.planning.target import Target
from pubworks.store import fleet

if TYPE_CHECKING:
    from qiskit.providers import BackendV2

    from pubworks.backends.spec import BackendSpec
    from pubworks.settings import Settings
    from pubworks.store.records import BackendFacts
    from pubworks.store.store import Store


def enter(settings: Settings, backend: BackendV2) -> str:
    """Make a backend object known to this process, and return its name.

    Raises:
        TypeError: It is no backend.
        ConfigError: Workers elsewhere could not have the object.
    """
    check_object(backend)
    if not settings.embedded:
        raise ConfigError(
            "A backend object lives in this process only, and the jobs run on workers elsewhere. "
            "Register it by name in pubworks.toml, or use the embedded broker."
        )
    return live.enter(backend)


def check_object(backend: object) -> None:
    """Raise ``TypeError`` unless this is a backend."""
    is_backend = callable(getattr(backend, "run", None)) and hasattr(backend, "options")
    if not is_backend or isinstance(backend, type):
        raise TypeError(f"backend must be a BackendV2 or the name of a registered one, not {type(backend).__name__}.")


def of_object(name: str) -> Target:
    """Return what planning needs to know about a backend object of this process."""
    adapter = adapt(live.get(name))
    return Target(name, adapter.num_qubits, adapter.max_circuits, behaviour=adapter.behaviour)


def of_name(settings: Settings, store: Store, name: str) -> Target:
    """Return what planning needs to know about a registered backend.

    Raises:
        SubmissionError: No worker has built it yet.
        ConfigError: It cannot be built here, where no worker need be running.
    """
    spec = registry.find(settings, name)
    facts = _facts(settings, store, spec)
    learned = facts.learned or {}
    return Target(name, facts.num_qubits, facts.max_circuits, spec.limits, learned, spec.behaviour)


def _facts(settings: Settings, store: Store, spec: BackendSpec) -> BackendFacts:
    with store.read() as connection:
        facts = fleet.get_backend(connection, spec.name)
    if facts is not None and facts.spec == spec.digest and facts.error is None:
        return facts
    if not settings.embedded:
        why = facts.error if facts is not None and facts.error else "no worker has built it yet"
        raise SubmissionError(f"Backend {spec.name!r}: {why}. Start one: pubworks worker --backend {spec.name}")
    facts = _describe(store, spec)
    if facts.error is not None:
        raise ConfigError(facts.error)
    return facts


def _describe(store: Store, spec: BackendSpec) -> BackendFacts:
    """Build a backend here, where no worker need be running, and store what it is like."""
    from pubworks.worker.station import describe

    facts = describe(spec)
    with store.write() as connection:
        fleet.describe_backend(connection, facts)
    return facts
