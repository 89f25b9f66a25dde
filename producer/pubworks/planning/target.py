"""The backend that a job is for, as far as planning needs it."""

from __future__ import annotations

from dataclasses import dataclass, field

from pubworks.backends.spec import Limits
from pubworks.behaviour import Behaviour


@dataclass(frozen=True)
class Target:
    """A backend, by name.

    Example::

        Target("aria", num_qubits=25, max_circuits=300, configured=Limits(max_shots=10_000))
    """

    name: str
    num_qubits: int | None = None
    #: What the backend itself says it takes in one run.
    max_circuits: int | None = None
    #: What the settings allow in one run.
    configured: Limits = field(default_factory=Limits)
    #: What the provider taught by refusing runs, by the names of :class:`Limits`.
    learned: dict[str, int] = field(default_factory=dict)
    #: What is known of what it runs.
    behaviour: Behaviour = field(default_factory=Behaviour)

    @property
    def limits(self) -> Limits:
        """What one run may hold, apart from what the backend itself says.

        >>> Target("aria", configured=Limits(max_shots=100), learned={"max_circuits": 5}).limits
        Limits(max_circuits=5, max_shots=100, max_payload_bytes=None)
        """
        return self.configured.with_learned(self.learned)

    def source(self, limit: str, value: int) -> str:
        """Return in words who set a limit.

        >>> Target("aria", max_circuits=300).source("max_circuits", 300)
        "the backend's own"

        Args:
            limit: Its name, as in :class:`Limits`.
            value: What it is.
        """
        if self.learned.get(limit) == value:
            return "learned from a refusal"
        if getattr(self.configured, limit) == value:
            return "of the settings"
        return "the backend's own" if self.max_circuits == value else "where there is no other limit"
