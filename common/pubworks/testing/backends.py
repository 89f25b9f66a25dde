"""Backends that misbehave as real ones do, each a wrapper around a good one.

Example::

    backend = CountsOnlyBackend(AerSimulator(), keys="spaced")
    Sampler(backend).run([circuit]).result()[0].metadata["shot_order"]

A wrapper keeps what it was asked in ``calls``, so that a test can say what reached the provider.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import cycle, pairwise
from typing import Any, Literal

import numpy as np
from qiskit import QuantumCircuit
from qiskit.providers import BackendV2, JobStatus, JobV1, Options
from qiskit.result import Result
from qiskit.result.models import ExperimentResult, ExperimentResultData

from pubworks.errors import ProviderError

#: How a provider writes an outcome: ``0x5``, ``101``, ``1 01`` (a space between registers), ``5``, ``0b101``.
KeyStyle = Literal["hex", "bits", "spaced", "int", "binary"]


@dataclass(frozen=True)
class Call:
    """One call of ``backend.run``."""

    num_circuits: int
    options: dict[str, Any]


class FinishedJob(JobV1):  # type: ignore[misc]
    """A provider job that is over when it is made.

    Args:
        backend: The backend that it is of.
        answer: Returns the result, or raises what ``result()`` should raise.
        status: What ``status()`` says.
    """

    def __init__(self, backend: BackendV2, answer: Callable[[], Any], status: JobStatus = JobStatus.DONE) -> None:
        super().__init__(backend, uuid.uuid4().hex)
        self._answer, self._status = answer, status

    def submit(self) -> None:
        """Do nothing: the job is over."""

    def result(self) -> Any:
        """Return the result."""
        return self._answer()

    def status(self) -> JobStatus:
        """Return the state that the job was made with."""
        return self._status

    def cancel(self) -> bool:
        """Return False: the job is over."""
        return False


class WrappedBackend(BackendV2):  # type: ignore[misc]
    """Another backend, with its own limit of circuits in one run.

    Subclasses override :meth:`change`.

    Args:
        inner: The backend that computes.
        max_circuits: Most circuits in one run; more raise, as at a provider. None is no limit.
        name: Name of the backend.
    """

    def __init__(self, inner: BackendV2, *, max_circuits: int | None = None, name: str = "wrapped") -> None:
        super().__init__(name=name)
        self.inner, self._max_circuits = inner, max_circuits
        self.calls: list[Call] = []

    @property
    def target(self) -> Any:
        """The target of the inner backend."""
        return self.inner.target

    @property
    def num_qubits(self) -> int | None:
        """Qubits of the inner backend."""
        return self.inner.num_qubits  # type: ignore[no-any-return]

    @property
    def max_circuits(self) -> int | None:
        """Most circuits in one run."""
        return self._max_circuits

    @classmethod
    def _default_options(cls) -> Options:
        return Options(shots=1024, memory=False, seed_simulator=None)

    def run(self, circuits: Any, **options: Any) -> JobV1:
        """Run circuits on the inner backend, and change its answer.

        Raises:
            ProviderError: There are more circuits than ``max_circuits``.
        """
        circuits = [circuits] if isinstance(circuits, QuantumCircuit) else list(circuits)
        self.calls.append(Call(len(circuits), options))
        if self._max_circuits is not None and len(circuits) > self._max_circuits:
            raise ProviderError(f"{len(circuits)} circuits in one run; {self._max_circuits} are allowed.")
        result = self.inner.run(circuits, **options).result()
        changed = self.change(result, circuits)
        return FinishedJob(self, lambda: changed)

    def change(self, result: Result, circuits: Sequence[QuantumCircuit]) -> Result:  # noqa: ARG002
        """Return what the provider should answer instead of ``result``."""
        return result


class CountsOnlyBackend(WrappedBackend):
    """Gives counts and never memory, whatever it is asked, like most providers' simulators.

    Args:
        inner: The backend that computes.
        keys: How outcomes are written.
        declares_memory: Whether ``memory`` is among its options all the same.
        max_circuits: Most circuits in one run.
    """

    def __init__(
        self, inner: BackendV2, *, keys: KeyStyle = "hex", declares_memory: bool = False,
        max_circuits: int | None = None,
    ) -> None:  # fmt: skip
        super().__init__(inner, max_circuits=max_circuits, name="counts_only")
        self.keys = keys
        if not declares_memory:
            self._options = Options(shots=1024, seed_simulator=None)

    def run(self, circuits: Any, **options: Any) -> JobV1:
        """Run circuits.

        Raises:
            TypeError: ``memory`` is asked for and not declared.
        """
        if "memory" in options and "memory" not in dict(self.options.items()):
            raise TypeError("run() got an unexpected keyword argument 'memory'")
        return super().run(circuits, **options)

    def change(self, result: Result, circuits: Sequence[QuantumCircuit]) -> Result:
        """Return the result without memory, its counts in the chosen style."""
        for experiment, circuit in zip(result.results, circuits, strict=True):
            counts = Counter(_outcomes(experiment))
            written = {write_key(key, circuit, self.keys): count for key, count in counts.items()}
            experiment.data = ExperimentResultData(counts=written)
        return result


class MemoryBackend(WrappedBackend):
    """Gives memory in another style than Qiskit's ``0x5``.

    Args:
        inner: The backend that computes; it must give memory.
        keys: How outcomes are written.
    """

    def __init__(self, inner: BackendV2, *, keys: KeyStyle) -> None:
        super().__init__(inner, name="memory")
        self.keys = keys

    def change(self, result: Result, circuits: Sequence[QuantumCircuit]) -> Result:
        """Return the result with its memory in the chosen style."""
        for experiment, circuit in zip(result.results, circuits, strict=True):
            memory = [write_key(key, circuit, self.keys) for key in _outcomes(experiment)]
            experiment.data = ExperimentResultData(memory=memory)
        return result


class LossyBackend(WrappedBackend):
    """Loses shots without a word: each circuit has fewer than were asked for.

    Args:
        inner: The backend that computes.
        keep: The part of its shots that a circuit keeps, in turn; at least one shot.
        max_circuits: Most circuits in one run.
    """

    def __init__(self, inner: BackendV2, *, keep: Sequence[float] = (0.5,), max_circuits: int | None = None) -> None:
        super().__init__(inner, max_circuits=max_circuits, name="lossy")
        self._keep = cycle(keep)
        #: The counts of each circuit that was run, in order.
        self.given: list[dict[int, int]] = []

    def change(self, result: Result, circuits: Sequence[QuantumCircuit]) -> Result:  # noqa: ARG002
        """Return the result with the counts of some of the shots, whichever they are."""
        random = np.random.default_rng(len(self.given))
        for experiment, keep in zip(result.results, self._keep, strict=False):
            shots = random.permutation(np.array(_outcomes(experiment), dtype=object))
            counts = Counter(shots[: max(1, int(keep * len(shots)))].tolist())
            self.given.append(dict(counts))
            experiment.data = ExperimentResultData(counts={hex(key): count for key, count in counts.items()})
        return result


class KerneledBackend(WrappedBackend):
    """Answers at measurement level 1: one complex value per memory slot, as [real, imaginary].

    The values are noise around -1 or 1, drawn from ``seed_simulator``; no circuit is run.

    Args:
        inner: Gives the target.
        max_circuits: Most circuits in one run.
    """

    def __init__(self, inner: BackendV2, *, max_circuits: int | None = None) -> None:
        super().__init__(inner, max_circuits=max_circuits, name="kerneled")

    def run(self, circuits: Any, **options: Any) -> JobV1:
        """Return values of shape (shots, slots, 2), or (slots, 2) with ``meas_return="avg"``.

        Raises:
            ProviderError: ``meas_level`` is not 1.
        """
        circuits = [circuits] if isinstance(circuits, QuantumCircuit) else list(circuits)
        self.calls.append(Call(len(circuits), options))
        if options.get("meas_level") != 1:
            raise ProviderError("This backend gives meas_level 1 only.")
        shots, averages = int(options.get("shots", 1024)), options.get("meas_return") == "avg"
        random = np.random.default_rng(options.get("seed_simulator"))
        values = [random.normal(1.0, 0.1, (shots, circuit.num_clbits, 2)) for circuit in circuits]
        memories = [value.mean(axis=0) if averages else value for value in values]
        experiments = [
            ExperimentResult(shots, True, ExperimentResultData(memory=memory.tolist()), meas_level=1)
            for memory in memories
        ]
        result = Result(backend_name=self.name, job_id=uuid.uuid4().hex, success=True, results=experiments)
        return FinishedJob(self, lambda: result)


class Fault(StrEnum):
    """What can go wrong in one run."""

    #: Nothing.
    NONE = "none"
    #: ``backend.run`` raises.
    RUN_RAISES = "run raises"
    #: ``job.result()`` raises.
    RESULT_RAISES = "result raises"
    #: The result says ``success=False`` and holds no experiments.
    RESULT_FAILED = "result failed"
    #: One experiment of several says ``success=False``.
    EXPERIMENT_FAILED = "experiment failed"
    #: One experiment is not there.
    EXPERIMENT_MISSING = "experiment missing"
    #: One experiment is None.
    EXPERIMENT_NONE = "experiment none"
    #: There is a list of results, one for each circuit.
    LIST_OF_RESULTS = "list of results"
    #: Each circuit has half of the shots that were asked for.
    FEWER_SHOTS = "fewer shots"
    #: There are neither memory nor counts of one circuit, or of any.
    EMPTY = "empty"
    ALL_EMPTY = "all empty"
    #: Outcomes are wider than the circuit's classical bits.
    TOO_WIDE = "too wide"


class FlakyBackend(WrappedBackend):
    """Fails as a script says, run after run; good when the script is over.

    Args:
        inner: The backend that computes.
        script: The fault of each run, in order.
        max_circuits: Most circuits in one run.
    """

    def __init__(self, inner: BackendV2, script: Iterable[Fault], *, max_circuits: int | None = None) -> None:
        super().__init__(inner, max_circuits=max_circuits, name="flaky")
        self._script: Iterator[Fault] = iter(script)

    def run(self, circuits: Any, **options: Any) -> JobV1:
        """Run circuits with the next fault of the script."""
        fault = next(self._script, Fault.NONE)
        if fault == Fault.RUN_RAISES:
            raise RuntimeError("scripted: the provider refuses")
        job = super().run(circuits, **options)
        if fault == Fault.RESULT_RAISES:
            return FinishedJob(self, _raise, JobStatus.ERROR)
        result = _with_fault(job.result(), fault)
        return FinishedJob(self, lambda: result)


def _raise() -> Any:
    raise RuntimeError("scripted: the result is lost")


def _with_fault(result: Result, fault: Fault) -> Any:
    first = result.results[0]
    if fault == Fault.RESULT_FAILED:
        result.success, result.status, result.results = False, "scripted failure", []
    elif fault == Fault.EXPERIMENT_FAILED:
        first.success, first.status = False, "scripted failure of one circuit"
    elif fault == Fault.EXPERIMENT_MISSING:
        del result.results[-1]
    elif fault == Fault.EXPERIMENT_NONE:
        result.results[0] = None
    elif fault == Fault.LIST_OF_RESULTS:
        facts = {"backend_name": "flaky", "job_id": result.job_id, "success": True}
        return [Result(**facts, results=[experiment]) for experiment in result.results]
    elif fault == Fault.FEWER_SHOTS:
        for experiment in result.results:
            memory = experiment.data.memory
            experiment.data = ExperimentResultData(memory=memory[: len(memory) // 2])
    elif fault == Fault.EMPTY:
        first.data = ExperimentResultData()
    elif fault == Fault.ALL_EMPTY:
        for experiment in result.results:
            experiment.data = ExperimentResultData()
    elif fault == Fault.TOO_WIDE:
        first.data = ExperimentResultData(memory=[hex(1 << 100)] * len(first.data.memory))
    return result


def write_key(outcome: int, circuit: QuantumCircuit, style: KeyStyle) -> str | int:
    """Return an outcome as a provider writes it.

    >>> circuit = QuantumCircuit(3, 3)
    >>> [write_key(5, circuit, style) for style in ("hex", "bits", "int", "binary")]
    ['0x5', '101', 5, '0b101']
    """
    if style == "int":
        return outcome
    if style in ("hex", "binary"):
        return hex(outcome) if style == "hex" else bin(outcome)
    bits = format(outcome, f"0{circuit.num_clbits}b") if circuit.num_clbits else ""
    return bits if style == "bits" else _spaced(bits, circuit)


def _spaced(bits: str, circuit: QuantumCircuit) -> str:
    """Put a space before each register but the last, as ``Result.get_counts`` does."""
    ends, total = [], 0
    for register in circuit.cregs[:-1]:
        total += register.size
        ends.append(len(bits) - total)
    edges = [0, *sorted(set(ends)), len(bits)]
    return " ".join(bits[start:end] for start, end in pairwise(edges))


def _outcomes(experiment: ExperimentResult) -> list[int]:
    """Return the outcomes of one circuit by its memory, or by its counts."""
    data = experiment.data
    if getattr(data, "memory", None):
        return [int(key, 16) for key in data.memory]
    counts = getattr(data, "counts", None) or {"0x0": experiment.shots}
    return [int(key, 16) for key, count in counts.items() for _ in range(int(count))]
