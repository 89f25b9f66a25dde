"""Backends that differ in a word are asked in their own way, and not for what they do not do."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from qiskit import QuantumCircuit
from qiskit.providers import Options

from pubworks.backends.adapter import Adapter, adapt
from pubworks.behaviour import Behaviour
from pubworks.errors import ConfigError, Rejected
from pubworks.settings import BackendEntry, load_settings


class Backend:
    """Notes how it is called."""

    name = "picky"

    def __init__(self, max_circuits: int | None = None, provider: Any = None, **options: Any) -> None:
        self.options, self.max_circuits, self.provider = Options(**options), max_circuits, provider
        self.calls: list[tuple[Any, dict[str, Any]]] = []

    def run(self, circuits: Any, **options: Any) -> Any:
        self.calls.append((circuits, options))
        return SimpleNamespace(job_id=lambda: "", batch_job_id=17)


def call(backend: Backend, behaviour: Behaviour, circuit: QuantumCircuit | None = None, **options: Any) -> Adapter:
    adapter = adapt(backend, behaviour=behaviour)
    adapter.run([circuit or bell()], 10, 7, options, tag="j-0")
    return adapter


def bell() -> QuantumCircuit:
    circuit = QuantumCircuit(2, 2)
    circuit.h(0)
    circuit.cx(0, 1)
    circuit.measure([0, 1], [0, 1])
    return circuit


@pytest.mark.parametrize(
    ("options", "said", "passed"),
    [
        ({"seed_simulator": None, "seed": None}, {}, {"seed_simulator": 7}),
        ({"sampler_seed": None}, {}, {"sampler_seed": 7}),
        ({}, {}, {"seed_simulator": 7}),
        ({"seed_simulator": None}, {"seed": "seed"}, {"seed": 7}),
        ({"seed_simulator": None}, {"seed": "none"}, {}),
        ({"memory": False}, {"seed": "none"}, {"memory": True}),
        ({"memory": False}, {"seed": "none", "memory": False}, {}),
        ({}, {"seed": "none", "memory": True, "tag": "job_name"}, {"memory": True, "job_name": "j-0"}),
    ],
)
def test_only_options_that_a_backend_has_are_passed(
    options: dict[str, Any], said: dict[str, Any], passed: dict[str, Any]
) -> None:
    backend = Backend(**options)
    call(backend, Behaviour(**said))
    assert backend.calls[0][1] == {"shots": 10, **passed}


@pytest.mark.parametrize(
    ("max_circuits", "said", "bare"), [(None, {}, False), (2, {}, False), (1, {}, True), (None, {"single": True}, True)]
)
def test_one_circuit_goes_bare_where_one_is_all(max_circuits: int | None, said: dict[str, Any], bare: bool) -> None:
    backend = Backend(max_circuits)
    adapter = call(backend, Behaviour(**said))
    assert isinstance(backend.calls[0][0], QuantumCircuit if bare else list)
    assert adapter.max_circuits == (1 if bare else max_circuits)


def dynamic() -> QuantumCircuit:
    circuit = bell()
    with circuit.if_test((circuit.clbits[0], 1)):
        circuit.x(1)
    return circuit


def early() -> QuantumCircuit:
    circuit = bell()
    circuit.barrier()
    circuit.x(0)
    return circuit


@pytest.mark.parametrize(
    ("said", "circuit", "options", "told"),
    [
        ({"control_flow": False}, dynamic(), {}, "no circuits with control flow"),
        ({"mid_circuit": False}, early(), {}, "measures at the end only"),
        ({"options": ("shots",)}, bell(), {"noise": 1}, "takes no option noise; it takes shots"),
        ({"options": ()}, bell(), {"noise": 1}, "it takes none"),
    ],
)
def test_what_a_backend_does_not_do_is_refused_before_it_is_called(
    said: dict[str, Any], circuit: QuantumCircuit, options: dict[str, Any], told: str
) -> None:
    backend = Backend()
    with pytest.raises(Rejected, match=told):
        call(backend, Behaviour(**said), circuit, **options)
    assert backend.calls == []
    call(backend, Behaviour(), circuit, **options)
    call(backend, Behaviour(**said), bell())


def test_jobs_are_found_again_as_the_provider_offers() -> None:
    provider = SimpleNamespace(get_job="job {}".format, fetch="fetched {}".format)
    assert not adapt(Backend()).detachable
    assert adapt(Backend(provider=provider)).retrieve("3") == "job 3"
    assert (
        adapt(Backend(provider=provider), behaviour=Behaviour(retrieve="provider.fetch")).retrieve("3") == "fetched 3"
    )
    assert not adapt(Backend(provider=provider), behaviour=Behaviour(detachable=False)).detachable
    assert not adapt(Backend(provider=provider), behaviour=Behaviour(retrieve="backend.fetch")).detachable


def test_the_id_of_a_job_is_what_identifies_it() -> None:
    job = Backend().run([])
    assert adapt(Backend()).job_id(job) is None
    assert adapt(Backend(), behaviour=Behaviour(job_id="batch_job_id")).job_id(job) == "17"
    assert adapt(Backend()).job_id(object()) is None


def test_circuits_are_translated_after_they_are_bound_where_asked() -> None:
    from qiskit.providers.fake_provider import GenericBackendV2

    backend = GenericBackendV2(2, basis_gates=["rz", "sx", "cx"], seed=1)
    seen = []
    backend.run = lambda circuits, **_: seen.extend(circuits)
    adapter = adapt(backend, behaviour=Behaviour(transpile=True))
    adapter.run(adapter.prepare([bell()]), 10, None, {})
    assert set(seen[0].count_ops()) <= {"rz", "sx", "cx", "measure"}


def test_what_the_settings_say_goes_before_what_an_adapter_declares() -> None:
    entry = BackendEntry(factory="a:b", behaviour={"seed": "seed"})
    declared = Behaviour(seed="sampler_seed", memory=False)
    assert entry.behaviour.over(declared) == Behaviour(seed="seed", memory=False)
    with pytest.raises(ConfigError, match=r"Known here: .*mid_circuit"):
        load_settings(backends={"b": {"factory": "a:b", "behaviour": {"sed": "x"}}})


def test_a_provider_that_cancels_nothing_is_not_asked_to() -> None:
    provider = SimpleNamespace(get_job=lambda _: SimpleNamespace(cancel=pytest.fail))
    with pytest.raises(NotImplementedError, match="Backend picky cancels no runs"):
        adapt(Backend(provider=provider), behaviour=Behaviour(cancel=False)).cancel("3")
