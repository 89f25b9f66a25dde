"""Tiny circuits, and what a backend makes of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.exceptions import QiskitError
from qiskit.transpiler import generate_preset_pass_manager

from pubworks.backends.adapter import Adapter
from pubworks.backends.causes import Cause, Phase, judge
from pubworks.backends.price import PricedRun
from pubworks.behaviour import Behaviour
from pubworks.codec.outcomes import read_counts
from pubworks.errors import ProviderError

#: Shots of circuits that have one outcome, and of those whose outcomes are to be compared. Odd numbers, so that a
#: backend which takes its own number of shots is seen.
SHOTS, MANY_SHOTS = 21, 101

#: What is counted against a backend's limits.
Call = Literal["submission", "request"]

#: Part of the shots that may be otherwise: devices have noise.
_NOISE = 0.4

#: Seconds between two looks at a run: from the first, growing by half, to the second.
_LOOK_FIRST_S, _LOOK_LONGEST_S = 0.002, 10.0


class Unusable(Exception):
    """What was asked has no answer, and neither has anything that builds on it."""


@dataclass(frozen=True)
class Ran:
    """A run that is over.

    Attributes:
        job: The provider's job.
        data: What it gave for each circuit.
        widths: Bits of each circuit.
        shots: Shots that were asked for.
        at_once: Whether the run was over when ``run()`` returned.
    """

    job: Any
    data: list[Any]
    widths: list[int]
    shots: int
    at_once: bool

    def counts(self, circuit: int = 0) -> dict[int, int]:
        """Return how often each outcome of a circuit was seen.

        Raises:
            ProviderError: They cannot be read.
        """
        read = read_counts([self.data[circuit]], widths=[self.widths[circuit]], shots=self.shots)
        numbers = (int.from_bytes(row.tobytes(), "big") for row in read.outcomes)
        return dict(zip(numbers, read.counts.tolist(), strict=True))

    def shows(self, outcome: int, circuit: int = 0) -> bool:
        """Return whether nearly all shots of a circuit have an outcome."""
        counts = self.counts(circuit)
        return counts.get(outcome, 0) > (1 - _NOISE) * sum(counts.values())


@dataclass(frozen=True)
class Refused:
    """A run that the backend did not take, or that failed.

    Attributes:
        why: In its words.
    """

    why: str


class Bench:
    """Runs circuits on one backend.

    Args:
        adapter: The backend.
        permit: Called before each run and each look at one; returns when that may be done.
        timeout_s: Seconds that a run may take.
    """

    def __init__(self, adapter: Adapter, permit: Callable[[Call], None], timeout_s: float) -> None:
        self.adapter, self._permit, self._timeout_s = adapter, permit, timeout_s
        #: What is known so far; options that are not known to be taken are not passed.
        self.known = Behaviour()
        #: The runs that were taken.
        self.runs: list[PricedRun] = []
        #: The last two jobs.
        self.jobs: list[Any] = []
        self._passes = generate_preset_pass_manager(optimization_level=1, backend=adapter.backend, seed_transpiler=1)

    def run(
        self, circuits: Sequence[QuantumCircuit], shots: int = SHOTS, *,
        said: Behaviour | None = None, seed: int | None = None, tag: str | None = None, **options: Any,
    ) -> Ran | Refused:  # fmt: skip
        """Return what became of a run.

        Args:
            circuits: What is run.
            shots: Runs of each.
            said: How the backend is to be taken, over what is known.
            seed: Of its random numbers.
            tag: A word to keep with it.
            options: Further options of ``backend.run``.

        Raises:
            Unusable: It could not be asked, or did not end in time.
        """
        self.adapter.behaviour = (said or Behaviour()).over(self.known)
        asks_memory = bool(said and said.memory)
        try:
            job = self._start(circuits, shots, options, seed=seed, memory=asks_memory, tag=tag)
            at_once = Adapter.is_over(job)
            self.wait(job)
            widths = [circuit.num_clbits for circuit in circuits]
            return Ran(job, self._fetch(job, len(circuits)), widths, shots, at_once)
        except Unusable:
            raise
        except Exception as error:
            return self.refusal(error)

    def _start(
        self, circuits: Sequence[QuantumCircuit], shots: int, options: dict[str, Any], *,
        seed: int | None = None, memory: bool = False, tag: str | None = None,
    ) -> Any:  # fmt: skip
        self._permit("submission")
        prepared = self.adapter.prepare(circuits)
        job = self.adapter.run(prepared, shots, seed, options, memory=memory, tag=tag)
        self.runs.append(PricedRun(len(circuits), shots, None))
        self.jobs = [*self.jobs[-1:], job]
        return job

    def submit(self, circuit: QuantumCircuit) -> Any:
        """Return a job that nobody waited for."""
        self.adapter.behaviour = self.known
        return self._start([circuit], SHOTS, {})

    def _fetch(self, job: Any, num_circuits: int) -> list[Any]:
        data = self.adapter.fetch(job, num_circuits)
        failed = next((item for item in data if isinstance(item, ProviderError)), None)
        if failed is not None:
            raise failed
        return data

    def wait(self, job: Any) -> None:
        """Wait until a job is over.

        Raises:
            Unusable: It is not in time.
        """
        end, wait_s = time.monotonic() + self._timeout_s, _LOOK_FIRST_S
        while not Adapter.is_over(job):
            if time.monotonic() > end:
                raise Unusable(f"a run was not over after {self._timeout_s:g} s; --timeout gives it longer")
            time.sleep(wait_s)
            self._permit("request")
            wait_s = min(1.5 * wait_s, _LOOK_LONGEST_S)

    def refusal(self, error: Exception) -> Refused:
        """Return an error as a refusal.

        Raises:
            Unusable: It says nothing of what was asked: the network, a limit, the account.
        """
        verdict = judge(error, Phase.CANCEL, rules=self.adapter.rules)  # the phase in which no answer is no refusal
        if verdict.cause == Cause.REJECTED:
            return Refused(verdict.message[:200])
        raise Unusable(f"it could not be asked: {verdict.message[:200]}") from error

    @property
    def _width(self) -> int:
        return min(2, self.adapter.num_qubits or 2)

    def mark(self, place: int) -> QuantumCircuit:
        """Return a circuit that sets one of two bits, or of one on a single qubit."""
        circuit = QuantumCircuit(self._width, self._width)
        if place < self._width:
            circuit.x(place)
        circuit.measure(range(self._width), range(self._width))
        return self.prepared(circuit)

    def marked(self, place: int) -> int:
        """Return the outcome of :meth:`mark`."""
        return 1 << place if place < self._width else 0

    def coins(self) -> QuantumCircuit:
        """Return a circuit that throws up to four coins."""
        width = min(4, self.adapter.num_qubits or 4)
        circuit = QuantumCircuit(width, width)
        circuit.h(range(width))
        circuit.measure(range(width), range(width))
        return self.prepared(circuit)

    def turned(self, *, bound_first: bool) -> QuantumCircuit:
        """Return a circuit with the outcome 1, whose parameter is bound before or after it is made for the backend."""
        angle = Parameter("a")
        circuit = QuantumCircuit(self._width, self._width)
        circuit.rx(angle, 0)
        circuit.measure(range(self._width), range(self._width))
        bound = 3.141592653589793
        return circuit.assign_parameters([bound]) if bound_first else self.prepared(circuit).assign_parameters([bound])

    def going_on(self) -> QuantumCircuit:
        """Return a circuit with the outcome 1 that measures a qubit, goes on with it and measures it again."""
        circuit = QuantumCircuit(1, 2)
        circuit.x(0)
        circuit.measure(0, 0)
        circuit.x(0)
        circuit.measure(0, 1)
        return self.prepared(circuit)

    def deciding(self) -> QuantumCircuit:
        """Return a circuit with the outcome 3, or 1 on a single qubit, in which a gate depends on an outcome."""
        circuit = QuantumCircuit(self._width, 2)
        circuit.x(0)
        circuit.measure(0, 0)
        with circuit.if_test((circuit.clbits[0], 1)):
            circuit.x(self._width - 1)
        circuit.measure(self._width - 1, 1)
        return self.prepared(circuit)

    def decided(self) -> int:
        """Return the outcome of :meth:`deciding`."""
        return 3 if self._width == 2 else 1

    def prepared(self, circuit: QuantumCircuit) -> QuantumCircuit:
        """Return a circuit in the gates of the backend; as it is, where its target leaves out what it may know."""
        try:
            return self._passes.run(circuit)
        except QiskitError:
            return circuit
