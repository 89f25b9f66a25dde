"""The tests that ``pytest --pubworks-backend`` runs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter

from pubworks.backends.adapter import adapt
from pubworks.backends.spec import load
from pubworks.client import Client, Sampler
from pubworks.errors import JobFailed, SubmissionError
from pubworks.testing.conformance.benches import PubworksBench
from pubworks.testing.conformance.checks import CASES, Case


@pytest.fixture(scope="module")
def entry(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The settings of the backend."""
    behaviour = json.loads(request.config.getoption("--pubworks-behaviour"))
    return {"factory": request.config.getoption("--pubworks-backend"), "behaviour": behaviour}


@pytest.fixture(scope="module")
def bench(entry: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[PubworksBench]:
    """The backend, in an embedded pubworks."""
    with Client(data_dir=tmp_path_factory.mktemp("pubworks"), backends={"tested": entry}) as client:
        yield PubworksBench(client, "tested", load(entry["factory"], "Backend")())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_answers_are_right(bench: PubworksBench, case: Case) -> None:
    """Samples and expectation values are as they must be; what is optional may be refused, in words."""
    try:
        case.check(bench)
    except (JobFailed, SubmissionError) as error:
        if not case.optional:
            raise
        pytest.skip(f"refused: {error}")


def _measuring(num_qubits: int) -> QuantumCircuit:
    circuit = QuantumCircuit(num_qubits)
    circuit.h(0)
    circuit.measure_all()
    return circuit


def test_bad_input_is_refused_before_anything_is_submitted(bench: PubworksBench) -> None:
    """Unbound parameters and circuits that are too wide never reach the backend."""
    circuit = QuantumCircuit(1)
    circuit.rx(Parameter("a"), 0)
    circuit.measure_all()
    with pytest.raises(ValueError, match="parameter"):
        bench.sample([circuit])
    if bench.backend.num_qubits is not None:
        with pytest.raises(SubmissionError, match="qubits"):
            bench.sample([_measuring(bench.backend.num_qubits + 1)])


def test_a_job_that_is_cancelled_ends(bench: PubworksBench) -> None:
    """Cancelling never hangs, whatever the backend makes of it."""
    circuit = bench.prepare(_measuring(1))
    job = Sampler(bench.name, client=bench.client).run([circuit] * 3, shots=10)
    job.cancel()
    assert job.wait_for_final_state(timeout=60) is not None


def test_a_job_is_found_again_by_its_id(bench: PubworksBench) -> None:
    """Where the provider keeps jobs, another adapter fetches the same counts by the id alone."""
    made: list[Any] = [adapt(bench.backend), adapt(bench.backend)]
    if not made[0].detachable:
        pytest.skip("its jobs live in the process that submits them")
    provider_job_id = made[0].job_id(made[0].run([bench.prepare(_measuring(1))], 100, None, {}))
    assert provider_job_id
    while made[1].statuses([provider_job_id])[provider_job_id].name not in ("DONE", "ERROR", "CANCELLED"):
        pass
    (data,) = made[1].fetch(made[1].retrieve(provider_job_id), 1)
    assert sum(data.counts.values()) == 100
