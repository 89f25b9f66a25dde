"""What backends do wrong ends in right samples or in one clear message, never in wrong samples."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import ClassicalRegister, QuantumRegister
from qiskit.primitives import BackendSamplerV2
from qiskit.providers import JobStatus, Options
from qiskit.result.models import ExperimentResultData
from qiskit_aer import AerSimulator

from pubworks.client import Client, Job, Sampler
from pubworks.collector.collect import SHOT_ORDER_LOST
from pubworks.errors import JobFailed
from pubworks.testing.backends import (
    CountsOnlyBackend,
    Fault,
    FlakyBackend,
    KeyStyle,
    LossyBackend,
    MemoryBackend,
    WrappedBackend,
)

AER = AerSimulator()
STYLES: list[KeyStyle] = ["hex", "bits", "spaced", "int", "binary"]


def circuit() -> QuantumCircuit:
    """Two correlated qubits in registers of different width, out of order."""
    made = QuantumCircuit(QuantumRegister(3), ClassicalRegister(2, "b"), ClassicalRegister(9, "a"))
    made.h(0)
    made.cx(0, 1)
    made.x(2)
    made.measure([0, 1, 2], [1, 10, 2])
    return made


def run(client: Client, backend: Any, pubs: list[Any], **options: Any) -> Job:
    job = Sampler(backend, options={"seed_simulator": 7, "default_shots": 200, **options}, client=client).run(pubs)
    job.wait_for_final_state(timeout=60)
    return job


@pytest.mark.parametrize("declares_memory", [True, False])
@pytest.mark.parametrize("keys", STYLES)
def test_counts_alone_give_the_right_samples(client: Client, keys: KeyStyle, declares_memory: bool) -> None:
    backend = CountsOnlyBackend(AER, keys=keys, declares_memory=declares_memory)
    result = run(client, backend, [circuit()]).result()[0]
    reference = BackendSamplerV2(backend=AER, options={"seed_simulator": 7}).run([circuit()], shots=200).result()[0]
    for name in ("a", "b"):
        assert result.data[name].get_counts() == reference.data[name].get_counts()
    assert result.join_data().get_counts() == reference.join_data().get_counts()  # registers stay correlated
    assert result.metadata == {"shots": 200, "circuit_metadata": {}, "shot_order": SHOT_ORDER_LOST}


def test_counts_are_shuffled_and_the_same_every_time(client: Client) -> None:
    backend = CountsOnlyBackend(AER)
    one, two = (run(client, backend, [circuit()]).result()[0].data.b.array.tobytes() for _ in range(2))
    assert one == two
    assert list(one) != sorted(one)


def test_a_strict_backend_is_not_asked_for_memory(client: Client) -> None:
    backend = CountsOnlyBackend(AER)
    run(client, backend, [circuit()])
    assert backend.calls[0].options == {"shots": 200, "seed_simulator": 7}


class GivesMemoryUnasked(WrappedBackend):
    """Has no option for memory, and gives it all the same, sorted."""

    def __init__(self) -> None:
        super().__init__(AER)
        self._options = Options(shots=1024, seed_simulator=None)

    def run(self, circuits: Any, **options: Any) -> Any:
        return super().run(circuits, memory=True, **options)

    def change(self, result: Any, circuits: Any) -> Any:
        for experiment in result.results:
            experiment.data.memory = sorted(experiment.data.memory)
        return result


def test_memory_that_was_not_asked_for_tells_no_order(client: Client) -> None:
    result = run(client, GivesMemoryUnasked(), [circuit()]).result()[0]
    reference = BackendSamplerV2(backend=AER, options={"seed_simulator": 7}).run([circuit()], shots=200).result()[0]
    assert result.join_data().get_counts() == reference.join_data().get_counts()
    assert result.metadata["shot_order"] == SHOT_ORDER_LOST
    shots = result.join_data().get_bitstrings()
    assert shots != sorted(shots)


@pytest.mark.parametrize("keys", STYLES)
def test_memory_in_any_style_is_the_same(client: Client, keys: KeyStyle) -> None:
    result = run(client, MemoryBackend(AER, keys=keys), [circuit()]).result()[0]
    reference = BackendSamplerV2(backend=AER, options={"seed_simulator": 7}).run([circuit()], shots=200).result()[0]
    for name in ("a", "b"):
        assert result.data[name] == reference.data[name]
    assert result.metadata == reference.metadata


@pytest.mark.parametrize(
    ("fault", "told", "attempts"),
    [
        (Fault.RUN_RAISES, "the provider refuses", 3),
        (Fault.RESULT_RAISES, "the result is lost", 3),
        (Fault.RESULT_FAILED, "scripted failure", 3),
    ],
)
def test_a_fault_that_stays_fails_the_job_and_says_why(client: Client, fault: Fault, told: str, attempts: int) -> None:
    """A run that failed is tried again; a result that cannot be understood would be the same again."""
    job = run(client, FlakyBackend(AER, [fault] * 5), [circuit(), circuit()])
    assert job.status() == JobStatus.ERROR
    with pytest.raises(JobFailed, match=rf"2 PUBs failed\. PUB 0: .*{told}"):
        job.result()
    assert [(row["state"], told in row["error"]) for row in job.provider_jobs()] == [("FAILED", True)] * attempts


@pytest.mark.parametrize("fault", [Fault.RUN_RAISES, Fault.RESULT_RAISES, Fault.EXPERIMENT_MISSING])
def test_a_fault_that_passes_costs_an_attempt_and_changes_nothing(client: Client, fault: Fault) -> None:
    job = run(client, FlakyBackend(AER, [fault, fault]), [circuit(), circuit()])
    undisturbed = run(client, FlakyBackend(AER, []), [circuit(), circuit()])
    assert [row["state"] for row in job.provider_jobs()] == ["FAILED", "FAILED", "DONE"]
    for ours, theirs in zip(job.result(), undisturbed.result(), strict=True):
        assert ours.data.a == theirs.data.a
        assert ours.data.b == theirs.data.b


def test_a_fault_in_one_run_leaves_the_others(client: Client) -> None:
    backend = FlakyBackend(AER, [Fault.NONE, Fault.ALL_EMPTY], max_circuits=2)
    job = run(client, backend, [circuit()] * 6)
    with pytest.raises(JobFailed, match=r"2 PUBs failed\. PUB 2: .*; PUB 3: .* gives the other PUBs"):
        job.result()
    partial = job.result(partial=True)
    assert partial.metadata == {"version": 2, "pubs": [0, 1, 4, 5], "missing": [2, 3]}
    assert all(sum(pub.data.a.get_counts().values()) == 200 for pub in partial)
    assert job.record().state == "PARTIAL"
    assert Counter(row["state"] for row in job.provider_jobs()) == {"DONE": 2, "FAILED": 1}


@pytest.mark.parametrize(
    ("fault", "told", "runs"),
    [
        (Fault.EXPERIMENT_FAILED, "scripted failure of one circuit", ["DONE", "FAILED", "FAILED"]),
        (Fault.EXPERIMENT_NONE, "COMPLETED; no result", ["DONE", "FAILED", "FAILED"]),
        (Fault.EMPTY, "neither counts nor memory", ["DONE"]),
        (Fault.TOO_WIDE, "3 classical bits were measured", ["DONE"]),
    ],
)
def test_a_circuit_that_fails_leaves_those_of_its_run(client: Client, fault: Fault, told: str, runs: list[str]) -> None:
    """What came was paid for; only the circuit that failed is tried again, unless that would give the same."""
    job = run(client, FlakyBackend(AER, [fault] * 5), [circuit(), circuit(), circuit()])
    with pytest.raises(JobFailed, match=rf"1 PUB failed\. PUB 0: .*{told}"):
        job.result()
    assert job.result(partial=True).metadata["pubs"] == [1, 2]
    assert [row["state"] for row in job.provider_jobs()] == runs
    assert [event.what for event in job.timeline()].count("rest") == 1


class LosesOneBackend(WrappedBackend):
    """Gives no result at all for circuits of one name."""

    def change(self, result: Any, circuits: Any) -> Any:
        result.results = [one for one, ran in zip(result.results, circuits, strict=True) if ran.name != "lost"]
        return result


def test_a_result_that_is_never_there_leaves_those_of_its_run(client: Client) -> None:
    """Nobody knows whose it is, so the run is halved until it is alone."""
    circuits = [circuit().copy(name) for name in ("a", "b", "lost", "d")]
    job = run(client, LosesOneBackend(AER), circuits)
    with pytest.raises(JobFailed, match=r"1 PUB failed\. PUB 2: .* returned 0 results for 1 circuits"):
        job.result()
    assert job.result(partial=True).metadata["pubs"] == [0, 1, 3]


def test_a_list_of_results_is_read_as_one(client: Client) -> None:
    result = run(client, FlakyBackend(AER, [Fault.LIST_OF_RESULTS]), [circuit()] * 3).result()
    undisturbed = run(client, FlakyBackend(AER, []), [circuit()] * 3).result()
    assert [pub.data.a for pub in result] == [pub.data.a for pub in undisturbed]


def test_a_circuit_that_fails_once_is_run_again_alone(client: Client) -> None:
    backend = FlakyBackend(AER, [Fault.EXPERIMENT_FAILED])
    result = run(client, backend, [circuit(), circuit(), (circuit(), None, 100)]).result()
    assert [call.num_circuits for call in backend.calls] == [2, 1, 1]
    undisturbed = run(client, FlakyBackend(AER, []), [circuit(), circuit()]).result()
    assert result[1].data.a == undisturbed[1].data.a


@pytest.mark.parametrize("max_circuits", [None, 1])
def test_shots_that_did_not_come_are_asked_for_again(client: Client, max_circuits: int | None) -> None:
    backend = FlakyBackend(AER, [Fault.FEWER_SHOTS] * 3, max_circuits=max_circuits)
    job = run(client, backend, [circuit(), circuit()])
    result = job.result()
    for pub in result:
        assert sum(pub.data.a.get_counts().values()) == 200
        assert pub.metadata["lost_shots"] in (175, 100, 150)
    asked = [call.options["shots"] for call in backend.calls]
    assert asked == ([200, 100, 50, 25] if max_circuits is None else [200, 200, 100, 100, 50])
    seeds = [call.options["seed_simulator"] for call in backend.calls]
    assert len(set(seeds[max_circuits or 0 :])) == len(seeds) - (max_circuits or 0)  # no samples are drawn twice
    assert job.record().state == "DONE"
    assert job.progress().batches["DONE"] == len(asked)


@pytest.mark.parametrize("kept", [[0.5], [0.9, 0.2, 0.7]])
def test_lost_shots_are_topped_up_whatever_is_lost(client: Client, kept: list[float]) -> None:
    job = run(client, LossyBackend(AER, keep=kept), [circuit()] * 3)
    reference = Counter(run(client, AER, [circuit()]).result()[0].join_data().get_counts())
    for pub in job.result():
        counts = pub.join_data().get_counts()
        assert sum(counts.values()) == 200
        assert set(counts) <= set(reference)
        assert pub.metadata["lost_shots"] > 0


class LosesFewBackend(LossyBackend):
    """Loses half of its shots, and all of the last few, once for each circuit."""

    def change(self, result: Any, circuits: Any) -> Any:
        result = super().change(result, circuits)
        for experiment in result.results:
            if experiment.shots < 5 and len(self.given) % 3:
                experiment.data = ExperimentResultData(counts={})
        return result


@pytest.mark.parametrize("circuits", [1, 2])
def test_the_last_few_shots_may_all_be_lost_and_are_asked_for_again(client: Client, circuits: int) -> None:
    result = run(client, LosesFewBackend(AER, keep=[0.7]), [circuit()] * circuits).result()
    assert [pub.data.a.num_shots for pub in result] == [200] * circuits


def test_a_backend_that_gives_hardly_any_shots_is_not_asked_for_ever(client: Client) -> None:
    job = run(client, LossyBackend(AER, keep=[0.05]), [circuit()])
    with pytest.raises(JobFailed, match="10 of 200 shots. Set max_shots"):
        job.result()


def test_a_pub_over_a_good_and_a_bad_run_has_no_result(client: Client) -> None:
    backend = FlakyBackend(AER, [Fault.NONE, Fault.EMPTY], max_circuits=1)
    job = run(client, backend, [circuit().copy(), circuit()])
    assert job.record().state == "PARTIAL"
    assert job.result(partial=True).metadata["missing"] == [1]


def test_as_completed_gives_what_there_is_and_then_raises(client: Client) -> None:
    job = run(client, FlakyBackend(AER, [Fault.EMPTY], max_circuits=1), [circuit()] * 3)
    seen = []
    with pytest.raises(JobFailed):  # noqa: PT012
        for pub, result in job.as_completed(timeout=60):
            seen.append(pub)
            assert result.data.a.num_shots == 200
    assert sorted(seen) == [1, 2]
