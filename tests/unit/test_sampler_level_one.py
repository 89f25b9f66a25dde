"""Measurement level 1: complex values instead of bits, whole or averaged, split in every way."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import ClassicalRegister, Parameter
from qiskit.primitives import BackendSamplerV2
from qiskit_aer import AerSimulator

from pubworks.backends.spec import Limits
from pubworks.client import Client, Sampler
from pubworks.planning.plan import plan
from pubworks.primitives import draft
from pubworks.testing.backends import KerneledBackend

AER = AerSimulator()


def parameterised() -> QuantumCircuit:
    circuit = QuantumCircuit(1, 1)
    circuit.rx(Parameter("a"), 0)
    circuit.measure(0, 0)
    return circuit


@pytest.mark.parametrize("max_circuits", [None, 2])
@pytest.mark.parametrize("meas_return", ["single", "avg"])
def test_level_one(client: Client, meas_return: str, max_circuits: int | None) -> None:
    backend = KerneledBackend(AER, max_circuits=max_circuits)
    options = {"seed_simulator": 3, "run_options": {"meas_level": 1, "meas_return": meas_return}}
    two = QuantumCircuit(2, 2)
    two.add_register(ClassicalRegister(bits=two.clbits[:1], name="first"))
    two.measure([0, 1], [0, 1])
    workload = [two, (parameterised(), [[0.1], [0.2], [0.3]], 5), (parameterised(), [[[0.1], [0.2]]])]
    ours = Sampler(backend, options=options, client=client).run(workload, shots=7).result(timeout=60)
    theirs = BackendSamplerV2(backend=backend, options=options).run(workload, shots=7).result()
    for one, two in zip(ours, theirs, strict=True):
        assert one.metadata == two.metadata
        assert list(one.data.keys()) == list(two.data.keys())
        for name in two.data:
            assert one.data[name].shape == two.data[name].shape
            assert one.data[name].dtype == two.data[name].dtype
            assert np.array_equal(one.data[name], two.data[name])
    assert ours[2].data.c.shape == ((1, 2, 7, 1) if meas_return == "single" else (1, 2, 1))


@pytest.mark.parametrize("meas_return", ["single", "avg"])
def test_level_one_in_parts_of_the_shots(client: Client, meas_return: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(draft, "plan", _limited(Limits(max_shots=4)))
    options = {"seed_simulator": 3, "run_options": {"meas_level": 1, "meas_return": meas_return}}
    backend = KerneledBackend(AER)
    result = Sampler(backend, options=options, client=client).run([(parameterised(), [[0.1], [0.2]])], shots=10)
    found = result.result(timeout=60)[0].data.c
    calls = [(call.options["shots"], call.options["seed_simulator"]) for call in backend.calls]
    assert sorted(shots for shots, _ in calls) == [2, 4, 4]
    parts = {seed: level_one(shots, seed, meas_return) for shots, seed in calls}
    in_order = sorted(calls, key=lambda call: (-call[0], call[1] != 3))
    if meas_return == "avg":
        expected = sum(parts[seed] * (shots / 10) for shots, seed in in_order)
        assert found.shape == (2, 1)
        assert np.allclose(found, expected)
    else:
        assert found.shape == (2, 10, 1)
        assert np.array_equal(found[:, :4], parts[3])
        for shots, seed in in_order[1:]:
            assert any(np.array_equal(found[:, at : at + shots], parts[seed]) for at in (4, 8))


def level_one(shots: int, seed: int, meas_return: str) -> np.ndarray:
    circuits = [parameterised().assign_parameters([value]) for value in (0.1, 0.2)]
    options = {"meas_level": 1, "meas_return": meas_return, "seed_simulator": seed}
    result = KerneledBackend(AER).run(circuits, shots=shots, **options).result()
    values = np.array([experiment.data.memory for experiment in result.results])
    return values[..., 0] + 1j * values[..., 1]


def _limited(limits: Any) -> Any:
    return lambda sizes, _, **kwargs: plan(sizes, limits, **kwargs)
