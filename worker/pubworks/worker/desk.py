"""What a runner has at hand for one backend."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from pubworks.backends.adapter import Adapter
from pubworks.policy import Policy
from pubworks.store.store import Store

#: Ends the note of a batch that lives in the process which runs it.
LIVES_HERE = " here"


@dataclass
class Desk:
    """One backend in one process: how to reach it, on which terms, and where to write down what happens."""

    store: Store
    backend: str
    adapter: Adapter
    policy: Policy
    #: Id of this process in leases.
    owner: str
    lease_s: float
    #: Limits that the provider taught this process by refusing runs.
    learned: dict[str, int] = field(default_factory=dict)
    #: Whether the backend was in trouble lately.
    troubled: bool = False
    #: Whether the last call was answered in a way that tells to make no other.
    asked_to_wait: bool = False
    #: Time, by the monotonic clock, at which to claim again without a ring.
    claim_at: float = math.inf

    #: Told of each batch before it is run.
    note: Callable[[str], object] = str

    def claim_in(self, seconds: float) -> None:
        """Have this process claim again in so many seconds at the latest."""
        self.claim_at = min(self.claim_at, time.monotonic() + seconds)
