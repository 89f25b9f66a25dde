"""What an adapter asks of a provider is counted."""

from __future__ import annotations

from collections import Counter
from typing import Any

from qiskit.providers import JobStatus, Options

from pubworks.backends.adapter import Adapter
from pubworks.policy import Policy, Rate
from pubworks.store import limits
from pubworks.store.store import Store
from pubworks.testing.store import Calls


class Vendor:
    """A backend that asks its service for each of its calls, and its only job."""

    options = Options()

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()

    def retrieve_job(self, _: str) -> Vendor:
        self.asked["job"] += 1
        return self

    def status(self) -> JobStatus:
        self.asked["status"] += 1
        return JobStatus.RUNNING

    def cancel(self) -> None:
        self.asked["cancel"] += 1


def test_requests_besides_the_first_of_a_call_are_counted() -> None:
    vendor = Vendor()
    adapter = Adapter(vendor)
    counted = 0  # by who calls
    for one in ("a", "b", "a"):
        adapter.statuses([one])
        counted += 1
    for one in ("a", "c"):
        adapter.cancel(one)
        counted += 1
    assert counted + adapter.more_requests == vendor.asked.total() == 8


def test_requests_that_were_made_already_are_waited_for(store: Store) -> None:
    calls, policy = Calls(store), Policy()
    calls.do(limits.use_requests, "aer", 3, policy)  # not limited
    calls.do(limits.set_quota, "aer", requests=Rate(1.0))
    calls.do(limits.use_requests, "aer", 3, policy)
    wait: Any = calls.do(limits.take_request, "aer", policy)
    assert 2.0 < wait <= 3.0
