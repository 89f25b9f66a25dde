"""What pubworks asks of any ``BackendV2``, and how the answers of many vendors are read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pubworks.errors import ProviderError

if TYPE_CHECKING:
    from qiskit import QuantumCircuit

    from pubworks.backends.basis_change import BasisChanges


class Adapter:
    """One backend, seen through the calls that pubworks makes.

    All calls must come from one thread: many providers are not safe in several.

    Args:
        backend: A ``qiskit.providers.BackendV2``.
    """

    def __init__(self, backend: Any) -> None:
        self.backend = backend
        self._takes_memory = "memory" in dict(backend.options.items())

    @property
    def num_qubits(self) -> int | None:
        """Qubits of the backend, None where it does not say."""
        return getattr(self.backend, "num_qubits", None)

    @property
    def max_circuits(self) -> int | None:
        """Most circuits that the backend takes in one run, None where it does not say."""
        return getattr(self.backend, "max_circuits", None) or None

    @cached_property
    def basis_changes(self) -> BasisChanges:
        """Gates before a measurement of X or Y, as this backend writes them."""
        from pubworks.backends.basis_change import BasisChanges

        return BasisChanges(self.backend)

    @property
    def outlives_process(self) -> bool:
        """Whether another process can find a job of this backend by its id."""
        return callable(getattr(self.backend, "retrieve_job", None))

    def run(
        self, circuits: Sequence[QuantumCircuit], shots: int, seed: int | None, run_options: dict[str, Any],
        *,
        memory: bool = True,
    ) -> Any:  # fmt: skip
        """Call ``backend.run`` and return the provider's job.

        Only options that the user set are passed, and ``memory`` where it is wanted and the backend declares it: strict
        backends refuse what they do not know.
        """
        options: dict[str, Any] = {"shots": shots}
        if memory and self._takes_memory:
            options["memory"] = True
        if seed is not None:
            options["seed_simulator"] = seed
        return self.backend.run(list(circuits), **(options | run_options))

    def retrieve(self, provider_job_id: str) -> Any:
        """Return a job that another process submitted."""
        return self.backend.retrieve_job(provider_job_id)

    @staticmethod
    def job_id(job: Any) -> str | None:
        """Return the provider's id of a job, None where it has none."""
        try:
            return str(job.job_id()) or None
        except (AttributeError, NotImplementedError):
            return None

    @staticmethod
    def is_over(job: Any) -> bool:
        """Return whether a job ended, well or badly; ``result()`` of such a job does not wait."""
        from qiskit.providers.jobstatus import JOB_FINAL_STATES

        return job.status() in JOB_FINAL_STATES

    @staticmethod
    def call_when_over(job: Any, callback: Callable[[Any], None]) -> bool:
        """Have ``callback`` called when a job ends, where the job offers that. Returns whether it does.

        Local simulators (Aer, DDSIM and others) run their jobs as futures and keep them in ``_future``.
        """
        future = getattr(job, "_future", None)
        if not isinstance(future, Future):
            return False
        future.add_done_callback(callback)
        return True

    @staticmethod
    def fetch(job: Any, num_circuits: int) -> list[Any]:
        """Return ``ExperimentResult.data`` of every circuit, in order.

        Raises:
            ProviderError: The run failed, or the number of results is not that of the circuits.
        """
        result = job.result()
        experiments = list(getattr(result, "results", None) or [])
        failed = [item for item in experiments if item is None or not getattr(item, "success", True)]
        if failed or not getattr(result, "success", True):
            raise ProviderError(f"The provider reports failure: {_reason(result, failed)}")
        if len(experiments) != num_circuits:
            raise ProviderError(f"The provider returned {len(experiments)} results for {num_circuits} circuits.")
        return [item.data for item in experiments]


def _reason(result: Any, failed: list[Any]) -> str:
    of_circuits = [str(getattr(item, "status", "no result")) for item in failed[:3]]
    return "; ".join([str(getattr(result, "status", "no status")), *of_circuits])
