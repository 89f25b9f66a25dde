"""A probe finds out how a backend behaves, whatever it is, and takes no trouble of the network for a behaviour."""

from __future__ import annotations

import sys
from collections.abc import Callable
from itertools import count
from types import SimpleNamespace
from typing import Any

import pytest
from qiskit import QuantumCircuit
from qiskit.providers import Options
from qiskit.providers.fake_provider import GenericBackendV2
from qiskit.result.models import ExperimentResultData
from qiskit_aer import AerSimulator

from pubworks.backends.probing import probe as probing
from pubworks.backends.probing.findings import Report
from pubworks.backends.probing.work import Desk
from pubworks.backends.spec import BackendSpec
from pubworks.behaviour import Behaviour
from pubworks.testing.backends import CountsOnlyBackend, LossyBackend, MemoryBackend, WrappedBackend

AER = AerSimulator()


class Here:
    """Answers in this process."""

    def __init__(self, spec: BackendSpec, permit: Callable[[str], None], timeout_s: float) -> None:
        self._desk = Desk(spec, permit, timeout_s)

    def ask(self, question: str, *arguments: Any) -> Any:
        return getattr(self._desk, question)(*arguments)

    def end(self) -> None:
        pass


@pytest.fixture
def probe(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Report]:
    """Return what a probe of a backend comes to."""
    monkeypatch.setattr(probing, "Child", Here)

    def run(backend: Any, **said: Any) -> Report:
        monkeypatch.setitem(sys.modules, "probed", SimpleNamespace(make=lambda: backend))
        spec = BackendSpec("probed", "probed:make", behaviour=Behaviour(**said))
        with probing.Probe(spec, lambda _: None, 10.0, lambda _: None) as made:
            return made.run(made.survey())

    return run


def found(report: Report) -> dict[str, Any]:
    return {one.what: one.value for one in report.findings}


def how(report: Report, what: str) -> str:
    return next(one.how for one in report.findings if one.what == what)


class Wrapped(WrappedBackend):
    """Aer, in the way of a subclass."""

    def __init__(self, **options: Any) -> None:
        super().__init__(AER)
        if options:
            self._options = Options(**options)


class RefusesLists(Wrapped):
    def run(self, circuits: Any, **options: Any) -> Any:
        if not isinstance(circuits, QuantumCircuit):
            raise TypeError("run_input must be a QuantumCircuit")
        return super().run(circuits, **options)


class Reversed(Wrapped):
    def change(self, result: Any, circuits: Any) -> Any:
        result.results.reverse()
        return result


class Grouped(Wrapped):
    def change(self, result: Any, circuits: Any) -> Any:
        for experiment in result.results:
            if getattr(experiment.data, "memory", None):
                experiment.data.memory = sorted(experiment.data.memory)
        return result


class Strict(Wrapped):
    def run(self, run_input: Any, shots: int = 1024, **options: Any) -> Any:
        for name in options:
            getattr(self.options, name)
        return super().run(run_input, shots=shots, **options)


class SeedOfItsOwn(Wrapped):
    def run(self, circuits: Any, **options: Any) -> Any:
        return super().run(circuits, **{"seed_simulator" if key == "seed" else key: options[key] for key in options})


class Seedless(Wrapped):
    def run(self, circuits: Any, **options: Any) -> Any:
        options.pop("seed_simulator", None)
        return super().run(circuits, **options)


class Constant(Wrapped):
    def run(self, circuits: Any, **options: Any) -> Any:
        return super().run(circuits, **{**options, "seed_simulator": 1})


class AtTheEnd(Wrapped):
    """Measures at the end, whatever it is told."""

    def run(self, circuits: Any, **options: Any) -> Any:
        return super().run([_measured_last(circuit) for circuit in circuits], **options)


def _measured_last(circuit: QuantumCircuit) -> QuantumCircuit:
    moved = circuit.copy_empty_like()
    for item in sorted(circuit.data, key=lambda item: item.operation.name == "measure"):
        moved.append(item)
    return moved


class NoDecisions(Wrapped):
    def run(self, circuits: Any, **options: Any) -> Any:
        if any(circuit.has_control_flow_op() for circuit in circuits):
            raise RuntimeError("if_else is not known")
        return super().run(circuits, **options)


class NoTurns(Wrapped):
    """Refuses the gates that a rotation by an unknown angle is made of."""

    target = GenericBackendV2(2, basis_gates=["rz", "sx", "x", "cx"], seed=1, noise_info=False).target

    def run(self, circuits: Any, **options: Any) -> Any:
        if any("rz" in circuit.count_ops() for circuit in circuits):
            raise ValueError("rz is not known")
        return super().run(circuits, **options)


@pytest.mark.parametrize(
    ("backend", "expected"),
    [
        (AER, {"single": False, "memory": True, "seed": "seed_simulator", "mid_circuit": True, "control_flow": True}),
        (AER, {"num_qubits": AER.num_qubits, "max_shots": None, "transpile": False, "detachable": False, "tag": None}),
        (WrappedBackend(AER, max_circuits=1), {"single": True, "max_circuits": 1, "blocking": True}),
        (RefusesLists(), {"single": True}),
        (Reversed(), {"single": True}),
        (CountsOnlyBackend(AER), {"memory": False, "counts": "hexadecimal"}),
        (CountsOnlyBackend(AER, declares_memory=True, keys="spaced"), {"memory": False, "counts": "bits"}),
        (CountsOnlyBackend(AER, keys="int"), {"counts": "numbers"}),
        (MemoryBackend(AER, keys="bits"), {"memory": True}),
        (Grouped(), {"memory": False}),
        (Strict(shots=1024, seed_simulator=None), {"options": ["seed_simulator", "shots"]}),
        (SeedOfItsOwn(shots=1024, seed=None), {"seed": "seed", "memory": False}),
        (Seedless(), {"seed": "none"}),
        (Constant(), {"seed": "none"}),
        (LossyBackend(AER, keep=[0.9]), {"shots": "fewer"}),
        (AtTheEnd(), {"mid_circuit": False}),
        (NoDecisions(), {"mid_circuit": True, "control_flow": False}),
        (NoTurns(), {"transpile": True}),
    ],
)
def test_behaviours_are_found_out(probe: Callable[..., Report], backend: Any, expected: dict[str, Any]) -> None:
    report = probe(backend)
    assert report.trouble is None
    assert {name: found(report)[name] for name in expected} == expected


class Cloud(Wrapped):
    """A provider that keeps its jobs."""

    def __init__(self, retrieve: str = "retrieve_job", **options: Any) -> None:
        super().__init__(**options)
        self.kept: dict[str, Any] = {}
        setattr(self, retrieve, self.kept.__getitem__)

    def run(self, circuits: Any, **options: Any) -> Any:
        for own in ("tag", "job_name"):
            options.pop(own, None)
        job = super().run(circuits, **options)
        self.kept[job.job_id()] = job
        return job


class Unknown(Cloud):
    """Loses its jobs."""

    def __init__(self) -> None:
        super().__init__()
        self.retrieve_job = {}.__getitem__


class Nameless(Cloud):
    """Has jobs whose id is always the same, and another thing that tells them apart."""

    numbers = count(1)

    def run(self, circuits: Any, **options: Any) -> Any:
        job = super().run(circuits, **options)
        job.job_id = lambda: ""
        job.batch_job_id = next(self.numbers)
        self.kept[str(job.batch_job_id)] = job
        return job


class Uncancellable(Cloud):
    def run(self, circuits: Any, **options: Any) -> Any:
        job = super().run(circuits, **options)
        job.cancel = lambda: exec("raise NotImplementedError")
        return job


def by_provider() -> Any:
    backend = Cloud("fetch")
    backend._provider = SimpleNamespace(get_job=backend.fetch)
    return backend


@pytest.mark.parametrize(
    ("backend", "expected"),
    [
        (Cloud(), {"detachable": True, "retrieve": "backend.retrieve_job", "job_id": "job_id", "cancel": None}),
        (Cloud(shots=1024, tag=None, job_name=None), {"tag": "job_name"}),
        (by_provider(), {"detachable": True, "retrieve": "provider.get_job"}),
        (Unknown(), {"detachable": False}),
        (Nameless(), {"job_id": "batch_job_id", "detachable": True}),
        (Uncancellable(), {"cancel": False}),
    ],
)
def test_jobs_are_looked_for_in_each_way(probe: Callable[..., Report], backend: Any, expected: dict[str, Any]) -> None:
    report = probe(backend)
    assert {name: found(report)[name] for name in expected} == expected


class Mirrored(CountsOnlyBackend):
    def change(self, result: Any, circuits: Any) -> Any:
        for experiment in super().change(result, circuits).results:
            counts = {key[::-1]: count for key, count in experiment.data.counts.items()}
            experiment.data = ExperimentResultData(counts=counts)
        return result


def test_a_backend_that_is_wrong_is_not_probed_further(probe: Callable[..., Report]) -> None:
    backend = Mirrored(AER, keys="bits")
    report = probe(backend)
    assert "its answers are not to be trusted" in (report.trouble or "")
    assert len(backend.calls) == 2


class Away(Wrapped):
    """Does not answer when it is asked for memory or decisions, as a provider at its limit."""

    def run(self, circuits: Any, **options: Any) -> Any:
        if options.get("memory") or any(circuit.has_control_flow_op() for circuit in circuits):
            error = RuntimeError("slow down")
            error.status_code = 429  # type: ignore[attr-defined]
            raise error
        return super().run(circuits, **options)


def test_trouble_of_the_network_is_no_behaviour(probe: Callable[..., Report]) -> None:
    report = probe(Away())
    assert (found(report)["memory"], found(report)["control_flow"]) == (None, None)
    assert "could not be asked" in how(report, "memory")


def test_what_is_said_is_believed_and_not_tried(probe: Callable[..., Report]) -> None:
    backend = WrappedBackend(AER)
    report = probe(backend, memory=False, seed="none", options=("shots",), control_flow=False, mid_circuit=True)
    assert how(report, "seed") == "said in its settings"
    assert [set(call.options) for call in backend.calls] == [{"shots"}] * report.num_runs
    assert [call.num_circuits for call in backend.calls] == [1, 2, 1]
    assert "job_id" in found(report)


def test_a_backend_tells_its_most_shots_in_one_of_two_ways(probe: Callable[..., Report]) -> None:
    validated, told = Wrapped(), Wrapped()
    validated.options.set_validator("shots", (1, 5000))
    told.max_shots = 700
    assert [found(probe(backend))["max_shots"] for backend in (validated, told)] == [5000, 700]
