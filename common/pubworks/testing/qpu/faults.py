"""What goes wrong, and when: counters first, then seeded chance."""

from __future__ import annotations

from random import Random

from pubworks.testing.qpu.settings import Fault, QpuSettings, Span


class Chance:
    """Draws from one seeded generator for each purpose, so that one fault does not move the others.

    Args:
        settings: Gives the seed; its counters are counted down.
    """

    def __init__(self, settings: QpuSettings) -> None:
        self.settings = settings
        self._generators: dict[str, Random] = {}

    def use(self, settings: QpuSettings) -> None:
        """Go on with other settings; from the start if their seed is another."""
        if settings.seed != self.settings.seed:
            self._generators.clear()
        self.settings = settings

    def strikes(self, fault: Fault) -> bool:
        """Return whether a fault happens now."""
        left = getattr(self.settings, f"{fault}_next")
        if left:
            setattr(self.settings, f"{fault}_next", left - 1)
            return True
        probability = getattr(self.settings, fault)
        return bool(probability) and self._generator(fault).random() < probability

    def seconds(self, purpose: str, span: Span) -> float:
        """Return seconds out of a span."""
        return self._generator(purpose).uniform(*span) if isinstance(span, tuple) else span

    def _generator(self, purpose: str) -> Random:
        return self._generators.setdefault(purpose, Random(f"{self.settings.seed}:{purpose}"))
