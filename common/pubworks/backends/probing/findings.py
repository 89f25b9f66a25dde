"""What a probe found out about a backend."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from pubworks.backends.price import Cost, PricedRun


@dataclass(frozen=True)
class Finding:
    """One behaviour.

    Attributes:
        what: Its name; of one that can be set, its key in the settings.
        value: What it is, as it may be written into the settings; None: it was not found out.
        how: What was seen, in words.
        setting: Where it belongs in ``[backends.NAME]``; None: nowhere, pubworks sees it again in each run.
    """

    what: str
    value: Any
    how: str
    setting: tuple[str, ...] | None = None


def behaves(what: str, value: Any, how: str) -> Finding:
    """Return a finding that belongs into ``behaviour``."""
    return Finding(what, value, how, ("behaviour", what))


@dataclass(frozen=True)
class Survey:
    """What is known of a backend before anything is run.

    Attributes:
        findings: What it says of itself, and what is said of it.
        trials: Names of the trials that would tell more, in their order.
        local: Whether its runs live in this process, as those of a simulator do.
        runs: The runs of all of these trials, at most; and how many of each kind.
        cost: What they cost at most; None: nobody says.
    """

    findings: list[Finding]
    trials: list[str]
    local: bool
    runs: list[tuple[PricedRun, int]]
    cost: Cost | None

    @property
    def num_runs(self) -> int:
        """Runs, at most."""
        return sum(count for _, count in self.runs)

    @property
    def num_shots(self) -> int:
        """Shots over all circuits, at most."""
        return sum(run.circuits * run.shots * count for run, count in self.runs)


@dataclass(frozen=True)
class Report:
    """What a probe came to.

    Attributes:
        findings: All that is known now.
        num_runs: Runs that were made.
        cost: What they cost; None: nobody says.
        trouble: Why it ended early; None: it did not.
    """

    findings: list[Finding]
    num_runs: int
    cost: Cost | None
    trouble: str | None = None

    def document(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "findings": [{"what": one.what, "value": one.value, "how": one.how} for one in self.findings],
            "runs": self.num_runs,
            "cost": self.cost and asdict(self.cost),
            "trouble": self.trouble,
        }
