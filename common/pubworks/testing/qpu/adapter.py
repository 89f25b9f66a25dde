"""How pubworks talks to the simulated QPU: by tag, and about many jobs at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from qiskit.providers import JobStatus

from pubworks.backends.adapter import Adapter
from pubworks.backends.price import PriceModel, linear
from pubworks.policy import Price
from pubworks.testing.qpu.client import QpuError
from pubworks.testing.qpu.provider import QpuBackend


class QpuAdapter(Adapter):
    """An adapter that finds jobs by their tag.

    Args:
        backend: A :class:`~pubworks.testing.qpu.provider.QpuBackend`.
    """

    retrieve_requests = 0

    def __init__(self, backend: QpuBackend) -> None:
        super().__init__(backend)
        self._can: dict[str, Any] = backend.description

    @property
    def detachable(self) -> bool:
        """Whether another process can find a job by its id; the service says it."""
        return bool(self._can["find_by_id"])

    @property
    def status_batch(self) -> int:  # type: ignore[override]
        """Ids in one question for states, as the service says."""
        return int(self._can["max_ids"]) if self._can["batched_status"] else 1

    @property
    def price(self) -> PriceModel:
        """What the service asked for each shot when the backend was made."""
        return linear(Price(per_shot=self._can["price_per_shot"]))

    def tag_options(self, tag: str) -> dict[str, Any]:
        """Return the option that carries a tag."""
        return {"job_name": tag}

    def find(self, tag: str) -> list[str] | None:
        """Return the ids of the jobs with a tag, oldest first; None where the service does not list jobs."""
        try:
            return self.backend.find_jobs(tag)  # type: ignore[no-any-return]
        except QpuError as error:
            if error.code == "not_supported":
                return None
            raise

    def statuses(self, provider_job_ids: Sequence[str]) -> dict[str, JobStatus]:
        """Return how jobs stand, with one request; ids that are not known are left out."""
        if self.status_batch > 1:
            return self.backend.statuses(provider_job_ids)  # type: ignore[no-any-return]
        return {one: status for one in provider_job_ids if (status := self._status(one)) is not None}

    def _status(self, provider_job_id: str) -> JobStatus | None:
        try:
            return self.retrieve(provider_job_id).status()
        except QpuError as error:
            if error.code == "no_such_job":
                return None
            raise
