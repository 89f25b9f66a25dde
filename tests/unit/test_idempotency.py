"""Two submissions with one key are one job, in whichever process the circuits were built."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter, ParameterVector
from qiskit.circuit.library import PauliEvolutionGate, UnitaryGate, efficient_su2
from qiskit.quantum_info import SparsePauliOp

from pubworks.client import Client, Estimator, Sampler
from pubworks.errors import SubmissionError


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    with Client(data_dir=tmp_path_factory.mktemp("data"), works=False) as client:
        yield client


def angles() -> QuantumCircuit:
    circuit = QuantumCircuit(2, 2)
    vector = ParameterVector("v", 2)
    circuit.rx(2 * vector[0] + Parameter("a"), 0)
    circuit.rzz(vector[1], 0, 1)
    circuit.measure([0, 1], [0, 1])
    return circuit


def parts() -> QuantumCircuit:
    inner = QuantumCircuit(2)  # a counted name
    inner.cx(0, 1)
    circuit = QuantumCircuit(2)
    circuit.append(inner.to_gate(), [1, 0])
    circuit.append(UnitaryGate(np.eye(2)), [0])
    circuit.append(PauliEvolutionGate(SparsePauliOp(["XX", "ZI"], [1, 0.5]), time=0.3), [0, 1])
    circuit.measure_all()
    return circuit


def control() -> QuantumCircuit:
    circuit = QuantumCircuit(1, 1)
    circuit.h(0)
    circuit.measure(0, 0)
    with circuit.if_test((circuit.clbits[0], 1)):
        circuit.x(0)
    with circuit.for_loop(range(3)):
        circuit.rx(Parameter("a"), 0)
    circuit.measure(0, 0)
    return circuit


def pubs_of(make: Callable[[], QuantumCircuit]) -> list[Any]:
    circuit = make()
    return [(circuit, np.linspace(0, 1, circuit.num_parameters))]


@pytest.mark.parametrize("make", [angles, parts, control])
def test_circuits_that_are_built_again_are_the_same(client: Client, make: Callable[[], QuantumCircuit]) -> None:
    sampler = Sampler("aer", client=client)
    first = sampler.run(pubs_of(make), idempotency_key=make.__name__, name="first", tags=["one"])
    before = client.jobs(limit=None)
    second = sampler.run(pubs_of(make), idempotency_key=make.__name__, name="second", tags=["two"])
    assert (second, second.name, second.tags) == (first, "first", ["one"])
    assert client.jobs(limit=None) == before


CHANGES: dict[str, Callable[[], Any]] = {
    "shots": lambda: [(angles(), [0, 1, 2], 11)],
    "values": lambda: [(angles(), [0, 1, 3], 10)],
    "shape": lambda: [(angles(), [[0, 1, 2]], 10)],
    "number": lambda: [(angles(), [0, 1, 2], 10)] * 2,
    "circuit": lambda: [(angles().reverse_bits(), [0, 1, 2], 10)],
    "nothing": lambda: [],
}


@pytest.mark.parametrize("change", CHANGES)
def test_other_pubs_under_the_same_key_are_refused(client: Client, change: str) -> None:
    sampler = Sampler("aer", client=client)
    first = sampler.run([(angles(), [0, 1, 2], 10)], idempotency_key="mine")
    before = client.jobs(limit=None)
    with pytest.raises(SubmissionError, match=f"'mine' is that of job {first.job_id()}, which has other PUBs"):
        sampler.run(CHANGES[change](), idempotency_key="mine")
    assert client.jobs(limit=None) == before


def test_other_options_backend_or_primitive_are_refused(client: Client) -> None:
    pub = (efficient_su2(1, reps=1).decompose(), "Z", [0.1, 0.2, 0.3, 0.4])
    for other in (
        lambda: Estimator("aer", client=client, options={"seed_simulator": 1}).run([pub], idempotency_key="e"),
        lambda: Estimator("basic", client=client).run([pub], idempotency_key="e"),
        lambda: Estimator("aer", client=client).run([(pub[0], "X", pub[2])], idempotency_key="e"),
        lambda: Estimator("aer", client=client).run([pub], precision=0.5, idempotency_key="e"),
        lambda: Sampler("aer", client=client).run([], idempotency_key="e"),
    ):
        first = Estimator("aer", client=client).run([pub], idempotency_key="e")
        with pytest.raises(SubmissionError, match=first.job_id()):
            other()


def test_a_second_run_of_the_script_gives_the_same_job(client: Client) -> None:
    script = (
        "import sys; sys.path.insert(0, sys.argv[2]); from test_idempotency import *;"
        "QuantumCircuit(1);"  # shifts the counted names
        "client = Client(data_dir=sys.argv[1], works=False);"
        "job = Sampler('aer', client=client).run(pubs_of(angles) + pubs_of(parts), idempotency_key='script');"
        "print(job.job_id()); client.close()"
    )
    command = [sys.executable, "-c", script, str(client.settings.data_dir), str(__file__).rpartition("/")[0]]
    found = [subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout for _ in range(2)]
    assert found[0] == found[1] != ""
    here = Sampler("aer", client=client).run(pubs_of(angles) + pubs_of(parts), idempotency_key="script")
    assert here.job_id() == found[0].strip()


def test_without_a_key_every_submission_is_a_job(client: Client) -> None:
    sampler = Sampler("aer", client=client)
    assert sampler.run(pubs_of(angles)) != sampler.run(pubs_of(angles))
