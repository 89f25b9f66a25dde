"""What jobs on any backend are to do besides giving right answers; of pubworks alone, as no wrapper has them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter

from pubworks.testing.conformance.checks import Case, DoesNotApply, is_mostly

if TYPE_CHECKING:
    from pubworks.testing.conformance.benches import PubworksBench

#: ``max_shots`` of the backend while it is tested, so that larger runs are split.
MAX_SHOTS = 2000

#: Seconds that a run may take.
_LONGEST_S = 120.0


def _coin(num_qubits: int = 1) -> QuantumCircuit:
    circuit = QuantumCircuit(num_qubits)
    circuit.h(0)
    circuit.measure_all()
    return circuit


def split_shots(bench: PubworksBench) -> None:
    """More shots than a run may have come from several runs, and none of them twice."""
    job = bench.job([bench.prepare(_coin())], MAX_SHOTS + 1000)
    is_mostly(job.result(_LONGEST_S)[0].data, [{"meas": "0"}, {"meas": "1"}], MAX_SHOTS + 1000)
    asked = {run["shots"] for run in job.provider_jobs()}
    assert max(asked) <= MAX_SHOTS, f"a run of {max(asked)} shots"
    assert sum(run["shots"] for run in job.provider_jobs() if run["state"] == "DONE") >= MAX_SHOTS + 1000


def bad_input(bench: PubworksBench) -> None:
    """Unbound parameters and circuits that are too wide are refused before anything is submitted."""
    from pubworks.errors import SubmissionError

    circuit = QuantumCircuit(1)
    circuit.rx(Parameter("a"), 0)
    circuit.measure_all()
    before = len(bench.client.jobs(limit=1000))
    with pytest.raises(ValueError, match="parameter"):
        bench.sample([circuit])
    if bench.backend.num_qubits is not None:
        with pytest.raises(SubmissionError, match="qubits"):
            bench.sample([_coin(bench.backend.num_qubits + 1)])
    assert len(bench.client.jobs(limit=1000)) == before


def cancelled(bench: PubworksBench) -> None:
    """A job that is cancelled ends, whatever the backend makes of it."""
    job = bench.job([bench.prepare(_coin())] * 3, 10)
    job.cancel()
    assert job.wait_for_final_state(timeout=_LONGEST_S) is not None


def found_again(bench: PubworksBench) -> None:
    """Where the provider keeps jobs, another adapter fetches a run by its id alone."""
    one, other = bench.adapter(), bench.adapter()
    if not one.detachable:
        raise DoesNotApply("its jobs live in the process that submits them")
    provider_job_id = one.job_id(one.run([bench.prepare(_coin())], 100, None, {}))
    assert provider_job_id, "a job has no id"
    _wait_until_over(other, provider_job_id)
    (data,) = other.fetch(other.retrieve(provider_job_id), 1)
    assert sum(data.counts.values()) == 100


def _wait_until_over(adapter: Any, provider_job_id: str) -> None:
    end = time.monotonic() + _LONGEST_S
    while adapter.statuses([provider_job_id])[provider_job_id].name not in ("DONE", "ERROR", "CANCELLED"):
        assert time.monotonic() < end, f"run {provider_job_id} is not over after {_LONGEST_S:g} s"
        time.sleep(0.05)


JOB_CASES = [Case(check.__name__, check) for check in (split_shots, bad_input, cancelled, found_again)]
