"""What pubworks asks of any ``BackendV2``, and how the answers of many vendors are read.

:class:`Adapter` is safe with any provider. A provider that can do more (carry a tag, find jobs by it, tell the status
of many at once) gets a subclass, named as ``adapter`` in its ``[backends.NAME]`` table or, for everyone, by an entry
point of the group ``pubworks.adapters`` whose name is the provider's package.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from functools import cached_property
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, ClassVar

from pubworks.backends.spec import load
from pubworks.behaviour import Behaviour
from pubworks.errors import Incomplete, ProviderError, Rejected

if TYPE_CHECKING:
    from qiskit import QuantumCircuit
    from qiskit.providers.jobstatus import JobStatus

    from pubworks.backends.basis_change import BasisChanges
    from pubworks.backends.causes import Rule
    from pubworks.backends.price import PriceModel

ENTRY_POINTS = "pubworks.adapters"

#: Options that take a seed, and calls that retrieve a job, in the order in which they are looked for.
SEEDS = ("seed_simulator", "sampler_seed", "seed")
RETRIEVE = ("backend.retrieve_job", "provider.retrieve_job", "provider.get_job", "provider.job")

#: Job objects that are kept, so that they need not be asked for again.
_REMEMBERED = 1000


def adapt(backend: Any, adapter: str | None = None, behaviour: Behaviour | None = None) -> Adapter:
    """Return the adapter of a backend: the one named, that of its package, or the safe generic one.

    Args:
        backend: A ``qiskit.providers.BackendV2``.
        adapter: ``module:class`` of an :class:`Adapter`.
        behaviour: What is known of the backend; it goes before what the adapter declares.

    Raises:
        ConfigError: The adapter cannot be loaded.
    """
    made: Adapter = _class_of(backend, adapter)(backend)
    if behaviour is not None:
        made.behaviour = behaviour.over(made.behaviour)
    return made


def _class_of(backend: Any, adapter: str | None) -> Any:
    if adapter is not None:
        return load(adapter, "Adapter")
    module = type(backend).__module__
    for point in entry_points(group=ENTRY_POINTS):
        if module == point.name or module.startswith(f"{point.name}."):
            return point.load()
    return Adapter


class Adapter:
    """One backend, seen through the calls that pubworks makes; the contract of an adapter.

    All calls come from one thread: many providers are not safe in several. Each is one request to the provider, as far
    as pubworks counts them against a limit; :attr:`more_requests` counts those that came on top.

    Args:
        backend: A ``qiskit.providers.BackendV2``.
    """

    #: What is known of the provider's backends; the settings of a backend go before it.
    behaviour: Behaviour = Behaviour()
    #: Ids that one call of :meth:`statuses` may ask about.
    status_batch: ClassVar[int] = 1
    #: Requests that the provider's ``retrieve_job`` makes.
    retrieve_requests: ClassVar[int] = 1
    #: What this provider's errors mean, where the general rules would be wrong.
    rules: ClassVar[tuple[Rule, ...]] = ()

    def __init__(self, backend: Any) -> None:
        self.backend = backend
        #: Requests that were made and not counted yet.
        self.more_requests = 0
        self._jobs: OrderedDict[str, Any] = OrderedDict()
        self._options = dict(backend.options.items())

    @property
    def num_qubits(self) -> int | None:
        """Qubits of the backend, None where it does not say."""
        return getattr(self.backend, "num_qubits", None)

    @property
    def max_circuits(self) -> int | None:
        """Most circuits that the backend takes in one run, None where it does not say."""
        return 1 if self.behaviour.single else getattr(self.backend, "max_circuits", None) or None

    @property
    def max_shots(self) -> int | None:
        """Most shots of a circuit that the backend says it takes; None where it does not say."""
        said = getattr(self.backend, "max_shots", None) or _validator(self.backend.options).get("shots")
        if isinstance(said, tuple):  # (least, most), as ``Options.set_validator`` keeps it
            said = said[-1]
        return int(said) if isinstance(said, int) and said > 0 else None

    @property
    def price(self) -> PriceModel | None:
        """What a run costs, where the provider tells it; None: nobody knows. The price of the settings comes first."""
        return None

    @cached_property
    def basis_changes(self) -> BasisChanges:
        """Gates before a measurement of X or Y, as this backend writes them."""
        from pubworks.backends.basis_change import BasisChanges

        return BasisChanges(self.backend)

    @property
    def detachable(self) -> bool:
        """Whether another process can find a job of this backend by its id."""
        said = self.behaviour.detachable
        return said if said is not None else self._retrieve is not None

    @cached_property
    def _retrieve(self) -> Callable[[str], Any] | None:
        """What retrieves a job by its id."""
        places = (self.behaviour.retrieve,) if self.behaviour.retrieve else RETRIEVE
        owners = {"backend": self.backend, "provider": getattr(self.backend, "provider", None)}
        calls = (getattr(owners[owner], name, None) for owner, name in (place.split(".") for place in places))
        return next(filter(callable, calls), None)

    def tag_options(self, tag: str) -> dict[str, Any]:
        """Return options of ``run`` with which the provider keeps a tag, so that a person or :meth:`find` finds it."""
        return {self.behaviour.tag: tag} if self.behaviour.tag else {}

    def find(self, tag: str) -> list[str] | None:  # noqa: ARG002
        """Return the ids of the provider's jobs with a tag, oldest first; None where it cannot be asked."""
        return None

    def statuses(self, provider_job_ids: Sequence[str]) -> dict[str, JobStatus]:
        """Return how jobs stand, by id, at most ``status_batch`` of them; ids that are not known are left out."""
        return {one: self._status(one) for one in provider_job_ids}

    def _status(self, provider_job_id: str) -> JobStatus:
        from qiskit.providers.jobstatus import JobStatus

        try:
            return _as_status(self.retrieve(provider_job_id).status())
        except Exception as error:
            if "JobFail" in type(error).__name__:  # qiskit-ionq raises where others return
                return JobStatus.ERROR
            raise

    def run(
        self, circuits: Sequence[QuantumCircuit], shots: int, seed: int | None, run_options: dict[str, Any],
        *,
        memory: bool = True,
        tag: str | None = None,
    ) -> Any:  # fmt: skip
        """Call ``backend.run`` with circuits that are prepared, and return the provider's job.

        Only options that the user set are passed, and ``memory`` where it is wanted and the backend declares it: strict
        backends refuse what they do not know.

        Raises:
            Rejected: The backend is known not to take such circuits or options; it was not called.
        """
        self._refuse(circuits, run_options)
        options: dict[str, Any] = {"shots": shots}
        if memory and self.takes_memory:
            options["memory"] = True
        if seed is not None and self.seed_option is not None:
            options[self.seed_option] = seed
        if tag is not None:
            options |= self.tag_options(tag)
        job = self.backend.run(self._input(circuits), **(options | run_options))
        if self.detachable:
            self._remember(self.job_id(job) or "", job)
        return job

    def prepare(self, circuits: Sequence[QuantumCircuit]) -> list[QuantumCircuit]:
        """Return bound circuits in the form in which :meth:`run` is to get them; this may take long, and costs nothing.

        It is done before a run is committed to: who dies of it leaves no run in doubt.
        """
        if not self.behaviour.transpile:
            return list(circuits)
        from qiskit import transpile

        return list(transpile(list(circuits), self.backend, optimization_level=1, num_processes=1))

    def _input(self, circuits: Sequence[QuantumCircuit]) -> Any:
        """Return circuits as the backend takes them: a bare one where it takes one at a time."""
        return circuits[0] if self.max_circuits == 1 and len(circuits) == 1 else list(circuits)

    @property
    def takes_memory(self) -> bool:
        """Whether to ask for memory."""
        return "memory" in self._options if self.behaviour.memory is None else self.behaviour.memory

    @property
    def seed_option(self) -> str | None:
        """The option of ``run`` that takes a seed; None where there is none."""
        if self.behaviour.seed is not None:
            return None if self.behaviour.seed == "none" else self.behaviour.seed
        return next((name for name in SEEDS if name in self._options), SEEDS[0])

    def _refuse(self, circuits: Sequence[QuantumCircuit], run_options: dict[str, Any]) -> None:
        """Raise for what the backend is known not to take."""
        from pubworks.backends.programs import has_control_flow, measures_early

        takes = self.behaviour.options
        if takes is not None and (unknown := sorted(set(run_options) - set(takes))):
            raise Rejected(f"{self._name} takes no option {', '.join(unknown)}; it takes {', '.join(takes) or 'none'}.")
        if self.behaviour.control_flow is False and any(map(has_control_flow, circuits)):
            raise Rejected(f"{self._name} runs no circuits with control flow. Choose a backend that does.")
        if self.behaviour.mid_circuit is False and any(map(measures_early, circuits)):
            raise Rejected(f"{self._name} measures at the end only. Choose a backend that measures before.")

    @property
    def _name(self) -> str:
        return f"Backend {getattr(self.backend, 'name', type(self.backend).__name__)}"

    def retrieve(self, provider_job_id: str) -> Any:
        """Return a job, whoever submitted it."""
        if provider_job_id not in self._jobs:
            self.more_requests += self.retrieve_requests
            assert self._retrieve is not None  # as it is detachable
            self._remember(provider_job_id, self._retrieve(provider_job_id))
        return self._jobs[provider_job_id]

    def cancel(self, provider_job_id: str) -> bool:
        """Ask the provider to cancel a job; raises where it cannot. Returns False where it says that it does not."""
        if self.behaviour.cancel is False:
            raise NotImplementedError(f"{self._name} cancels no runs.")
        return bool(self.retrieve(provider_job_id).cancel() is not False)  # many return nothing

    def forget(self, provider_job_ids: Iterable[str]) -> None:
        """Drop jobs that are not needed any more."""
        for one in provider_job_ids:
            self._jobs.pop(one, None)

    def _remember(self, provider_job_id: str, job: Any) -> None:
        self._jobs[provider_job_id] = job
        while len(self._jobs) > _REMEMBERED:
            self._jobs.popitem(last=False)

    def job_id(self, job: Any) -> str | None:
        """Return the provider's id of a job, None where it has none."""
        try:
            found = getattr(job, self.behaviour.job_id or "job_id")
            return str(found() if callable(found) else found) or None
        except (AttributeError, NotImplementedError):
            return None

    @staticmethod
    def is_over(job: Any) -> bool:
        """Return whether a job ended, well or badly; ``result()`` of such a job does not wait."""
        from qiskit.providers.jobstatus import JOB_FINAL_STATES

        return _as_status(job.status()) in JOB_FINAL_STATES

    @staticmethod
    def cancel_here(job: Any) -> bool:
        """Cancel a job that lives in this process, where that is possible. Returns whether it is over by that."""
        from qiskit.providers.jobstatus import JobStatus

        try:
            job.cancel()
        except Exception:  # most cannot, and each says it in its own way
            return False
        return bool(_as_status(job.status()) == JobStatus.CANCELLED)

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
        """Return ``ExperimentResult.data`` of every circuit, in order; of one that failed, a ``ProviderError``.

        Raises:
            ProviderError: The whole run failed, or there are more results than circuits.
            Incomplete: There are fewer.
        """
        result = job.result()
        experiments = _experiments(result)
        failed = [item for item in experiments if not _succeeded(item)]
        succeeded = all(getattr(one, "success", True) for one in _as_list(result))
        if len(failed) == len(experiments) and (failed or not succeeded):
            raise ProviderError(f"The provider reports failure: {_reason(result, failed)}")
        if len(experiments) != num_circuits:
            kind = Incomplete if len(experiments) < num_circuits else ProviderError
            raise kind(
                f"The provider returned {len(experiments)} results for {num_circuits} circuits, "
                f"in a {type(result).__name__}."
            )
        if not succeeded and not failed:
            raise ProviderError(f"The provider reports failure: {_reason(result, failed)}")
        return [item.data if _succeeded(item) else _failure(item) for item in experiments]


def _validator(options: Any) -> Mapping[str, Any]:
    """Return what a backend says its options may be, by name."""
    return getattr(options, "validator", None) or {}


def _as_list(result: Any) -> list[Any]:
    """Return the results that a provider gave: one, or a list of them, each of some of the circuits."""
    return list(result) if isinstance(result, (list, tuple)) else [result]


def _experiments(result: Any) -> list[Any]:
    return [item for one in _as_list(result) for item in getattr(one, "results", None) or []]


def _succeeded(experiment: Any) -> bool:
    return experiment is not None and bool(getattr(experiment, "success", True))


def _failure(experiment: Any) -> ProviderError:
    return ProviderError(f"The provider reports failure of one circuit: {getattr(experiment, 'status', 'no result')}")


def _as_status(status: Any) -> JobStatus:
    """Return a status as Qiskit's, also where a provider has words or an enumeration of its own."""
    from qiskit.providers.jobstatus import JobStatus

    name = str(getattr(status, "name", status)).upper()
    return (
        JobStatus[_STATUS_WORDS.get(name, name)]
        if name in _STATUS_WORDS.keys() | set(JobStatus.__members__)
        else status
    )


#: Words of providers for states in which a job stays.
_STATUS_WORDS = {
    "COMPLETED": "DONE", "COMPLETE": "DONE", "FINISHED": "DONE", "SUCCESS": "DONE", "SUCCEEDED": "DONE",
    "FAILED": "ERROR", "FAILURE": "ERROR", "ABORTED": "ERROR", "CANCELED": "CANCELLED",
}  # fmt: skip


def _reason(result: Any, failed: list[Any]) -> str:
    of_runs = [str(getattr(one, "status", "no status")) for one in _as_list(result)[:3]]
    return "; ".join([*of_runs, *(str(getattr(item, "status", "no result")) for item in failed[:3])])
