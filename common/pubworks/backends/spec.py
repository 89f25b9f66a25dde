"""How a named backend is made, and what one call of it may hold."""

from __future__ import annotations

import hashlib
import importlib
import json
import os
from dataclasses import dataclass, field, replace
from typing import Any

from pubworks.behaviour import Behaviour
from pubworks.errors import ConfigError
from pubworks.policy import Policy, Price, Quota
from pubworks.settings import secret_arguments
from pubworks.telemetry import keep_secret, masked


@dataclass(frozen=True)
class Limits:
    """What one ``backend.run`` may hold; None is no limit."""

    max_circuits: int | None = None
    max_shots: int | None = None
    #: Bytes of QPY of all circuits, before compression and with parameters unbound.
    max_payload_bytes: int | None = None

    def with_learned(self, learned: dict[str, int] | None) -> Limits:
        """Return the smaller of these and those that the provider taught by refusing runs.

        >>> Limits(max_shots=100).with_learned({"max_shots": 200, "max_circuits": 5})
        Limits(max_circuits=5, max_shots=100, max_payload_bytes=None)
        """
        found = {name: min(value, getattr(self, name) or value) for name, value in (learned or {}).items()}
        return replace(self, **found)


@dataclass(frozen=True)
class BackendSpec:
    """A registered backend.

    Example::

        BackendSpec("aer", "qiskit_aer:AerSimulator", {"method": "statevector"})
    """

    name: str
    #: ``module:callable``.
    factory: str
    arguments: dict[str, Any] = field(default_factory=dict)
    #: Argument -> name of the environment variable that holds its value.
    secrets: dict[str, str] = field(default_factory=dict)
    limits: Limits = Limits()
    quota: Quota = field(default_factory=Quota)
    policy: Policy = field(default_factory=Policy)
    behaviour: Behaviour = field(default_factory=Behaviour)
    #: ``module:class`` of the adapter; None: that of the provider's package, or the generic one.
    adapter: str | None = None
    #: What its runs cost; None: what its adapter says.
    price: Price | None = None

    @property
    def digest(self) -> str:
        """Hash of what the backend is made from; another hash is another backend."""
        text = json.dumps([self.factory, self.arguments], sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()

    def build(self) -> Any:
        """Return the ``BackendV2``.

        Raises:
            ConfigError: Names the backend, what fails (import, secret, call) and where to mend it.
        """
        factory = self.load_factory()
        secrets = self._read_secrets()
        keep_secret([*secrets.values(), *secret_arguments(self.arguments)])  # providers repeat them in their errors
        arguments = {**self.arguments, **secrets}
        try:
            return factory(**arguments)
        except Exception as error:
            raise ConfigError(
                f"Backend {self.name!r}: {self.factory} failed with {type(error).__name__}: {masked(str(error))}. "
                f"Check its arguments ({', '.join(arguments) or 'none'}) in [backends.{self.name}]."
            ) from error

    def load_factory(self) -> Any:
        """Import what makes the backend, and return it.

        Raises:
            ConfigError: It cannot be imported.
        """
        return load(self.factory, f"Backend {self.name!r}")

    def _read_secrets(self) -> dict[str, str]:
        missing = sorted(variable for variable in self.secrets.values() if variable not in os.environ)
        if missing:
            raise ConfigError(
                f"Backend {self.name!r} needs the environment variable {', '.join(missing)}, which is not set here. "
                "Export it where the worker runs."
            )
        return {argument: os.environ[variable] for argument, variable in self.secrets.items()}


def load(path: str, what: str) -> Any:
    """Return the object that ``module:attribute`` names.

    Raises:
        ConfigError: It cannot be imported; the message starts with ``what``.
    """
    module, _, attribute = path.partition(":")
    try:
        found = importlib.import_module(module)
        for part in attribute.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise ConfigError(
            f"{what}: cannot load {path}: {error}. Install the provider's package in this environment, "
            "or mend the name."
        ) from error
    return found
