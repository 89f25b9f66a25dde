"""Expectation values beside ``BackendEstimatorV2``: classical overhead, cost per circuit, and a VQE."""

from __future__ import annotations

import statistics
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from qiskit import QuantumCircuit
from qiskit.circuit.library import efficient_su2
from qiskit.primitives import BackendEstimatorV2
from qiskit.primitives.containers.estimator_pub import EstimatorPub
from qiskit.quantum_info import SparsePauliOp
from qiskit.result import Result
from qiskit_aer import AerSimulator
from qiskit_algorithms import VQE
from qiskit_algorithms.optimizers import SPSA

from benchmarks.measure import Figure, TimedAer
from pubworks.backends.adapter import Adapter
from pubworks.client import Client, Estimator
from pubworks.codec.outcomes import Counts, read_counts
from pubworks.codec.results import decode
from pubworks.estimation.measurement import Measurement
from pubworks.estimation.result import evaluate
from pubworks.estimation.tally import Tally
from pubworks.planning.measurement import plan_measurement
from pubworks.store.records import Slice
from pubworks.testing.backends import FinishedJob
from pubworks.worker.measuring import measured

#: 1024 shots.
_PRECISION = 1 / 32
_MAX_CIRCUITS = 500
_ITERATIONS = 100

_H2 = SparsePauliOp(
    ["II", "IZ", "ZI", "ZZ", "XX"],
    [-1.052373245772859, 0.39793742484318045, -0.39793742484318045, -0.01128010425623538, 0.18093119978423156],
)


class _CutAer(TimedAer):
    """Aer that both sides cut alike, so that both give the same bits."""

    @property
    def max_circuits(self) -> int:
        """Most circuits in one run."""
        return _MAX_CIRCUITS


def measure() -> Iterator[Figure]:
    """Yield the figures."""
    yield from _overhead()
    yield from _scaling()
    yield from _vqe()


def _work(sets: int) -> tuple[QuantumCircuit, SparsePauliOp, np.ndarray]:
    random = np.random.default_rng(7)
    circuit = efficient_su2(10, reps=2)
    terms = ["".join(random.choice(list("IXYZ"), 10)) for _ in range(50)]
    values = random.uniform(0, 2 * np.pi, (sets, circuit.num_parameters))
    return circuit, SparsePauliOp(terms, random.normal(size=50)), values


def _overhead() -> Iterator[Figure]:
    backend, work, options = _CutAer(), _work(100), {"seed_simulator": 1}
    reference = BackendEstimatorV2(backend=backend, options=options)
    with tempfile.TemporaryDirectory() as folder, Client(data_dir=folder) as client:
        ours = Estimator(backend, options=options, client=client)
        ours.run([(work[0], work[1], work[2][:1])], precision=0.3).result()
        queued, queue_result = _timed(backend, lambda: ours.run([work], precision=_PRECISION).result()[0])
        thrice = [_timed(backend, lambda: _in_process(backend, work)) for _ in range(3)]
        theirs, expected = _timed(backend, lambda: reference.run([work], precision=_PRECISION).result()[0])
    direct = statistics.median(seconds for seconds, _ in thrice)
    for result in (queue_result, thrice[0][1]):
        np.testing.assert_allclose(result.data.evs, expected.data.evs, rtol=0, atol=1e-12)
        np.testing.assert_allclose(result.data.stds, expected.data.stds, rtol=0, atol=1e-12)
    yield Figure("estimator overhead, 10 qubits x 50 terms x 100 sets, in process", direct, theirs, "s", 1 / 8)
    yield Figure("the same through the embedded queue and the store", queued, theirs, "s", 1 / 4)


def _timed(backend: TimedAer, call: Callable[[], Any]) -> tuple[float, Any]:
    backend.inside()
    start = time.perf_counter()
    result = call()
    return time.perf_counter() - start - backend.inside(), result


def _in_process(backend: TimedAer, work: tuple[Any, ...]) -> Any:
    """Do what a producer and a worker do, without the queue and the store."""
    pub = EstimatorPub.coerce(work, _PRECISION)
    plan = plan_measurement(pub, grouped=True, info={"precision": _PRECISION, "stds": "reference"})
    values, adapter, parts = pub.parameter_values.as_array(), Adapter(backend), []
    for first in range(0, plan.num_circuits, _MAX_CIRCUITS):
        piece = Slice(0, first, min(first + _MAX_CIRCUITS, plan.num_circuits), 0)
        circuits = measured(pub.circuit, values, plan, piece, adapter)
        data = adapter.fetch(adapter.run(circuits, 1024, 1, {}, memory=False), len(circuits))
        widths = plan.widths[plan.settings[piece.first : piece.end]].tolist()
        parts.append((first, read_counts(data, widths=widths, shots=1024)))
    return decode(evaluate(plan, parts, shots=1024, circuit_metadata={}))


def _scaling() -> Iterator[Figure]:
    """Yield what a circuit costs to merge at 50,000 circuits beside 1,000, and the memory that this takes."""
    few, _, _ = _merge(1_000)
    many, peak, raw = _merge(50_000)
    yield Figure("merge of one circuit, at 50,000 circuits beside 1,000", 1e6 * many, 1e6 * few, "us", 1.2)
    yield Figure("peak memory of the merge, beside the raw counts", peak / 1e6, raw / 1e6, "MB", 1.5)
    before, cost_of_many, after = _thrice(1_000), _whole(50_000), _thrice(1_000)  # other load of the machine changes
    cost_of_few = statistics.median(before + after)
    yield Figure("whole way of one circuit, at 50,000 beside 1,000", 1e3 * cost_of_many, 1e3 * cost_of_few, "ms", 1.2)


class _Canned(AerSimulator):  # type: ignore[misc]
    """Aer that answers at once with what it once measured, so that only the classical work takes time."""

    def run(self, circuits: Any, **options: Any) -> Any:
        """Return a finished job."""
        if not hasattr(self, "_once"):
            self._once = super().run(circuits[0], **options).result().results[0]
        answer = Result(results=[self._once] * len(circuits), success=True)
        return FinishedJob(self, lambda: answer)


def _thrice(circuits: int) -> list[float]:
    return [_whole(circuits) for _ in range(3)]


def _whole(circuits: int) -> float:
    """Return the seconds that one circuit costs from ``run`` to ``result``, without the backend."""
    circuit, observable, _ = _work(1)
    values = np.random.default_rng(3).uniform(0, 1, (circuits, circuit.num_parameters))
    with tempfile.TemporaryDirectory() as folder, Client(data_dir=folder) as client:
        estimator = Estimator(_Canned(), client=client)
        estimator.run([(circuit, observable[0], values[:10])], precision=_PRECISION).result()
        start = time.perf_counter()
        estimator.run([(circuit, observable[0], values)], precision=_PRECISION).result()
        return (time.perf_counter() - start) / circuits


def _merge(circuits: int) -> tuple[float, int, int]:
    plan, chunk = _plan_of(circuits), _counts()
    tracemalloc.start()
    timed = [_merge_once(plan, chunk) for _ in range(3)]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    raw = (chunk.outcomes.nbytes + chunk.counts.nbytes) * circuits // len(chunk.ends)
    return min(timed) / circuits, peak, raw


def _merge_once(plan: Measurement, chunk: Counts) -> float:
    start = time.perf_counter()
    tally = Tally(plan, covariance=False)
    for first in range(0, plan.num_circuits, len(chunk.ends)):
        tally.add(first, chunk)
    tally.finish()
    return time.perf_counter() - start


def _plan_of(circuits: int) -> Measurement:
    circuit, observable, _ = _work(1)
    values = np.zeros((circuits, circuit.num_parameters))
    plan = plan_measurement(
        EstimatorPub.coerce((circuit, observable[0], values)), grouped=True, info={"precision": 1, "stds": "reference"}
    )
    assert plan.num_circuits == circuits
    return plan


def _counts() -> Counts:
    random = np.random.default_rng(1)
    keys = [np.unique(random.integers(0, 256, 1024), return_counts=True) for _ in range(_MAX_CIRCUITS)]
    outcomes = np.concatenate([key for key, _ in keys]).astype(np.uint8)[:, None]
    return Counts(outcomes, np.concatenate([count for _, count in keys]), np.cumsum([len(key) for key, _ in keys]))


def _vqe() -> Iterator[Figure]:
    backend, options = AerSimulator(), {"seed_simulator": 1}
    with tempfile.TemporaryDirectory() as folder, Client(data_dir=folder) as client:
        ours, theirs = (
            Estimator(backend, options=options, client=client),
            BackendEstimatorV2(backend=backend, options=options),
        )
        _iterate(ours, 2)
        rounds = [(_iterate(ours, _ITERATIONS), _iterate(theirs, _ITERATIONS)) for _ in range(2)]
    mine, other = (1e3 * statistics.median(times) for times in zip(*rounds, strict=True))
    yield Figure("VQE of H2 with SPSA, one iteration", mine, other, "ms", 2.0)


def _iterate(estimator: Any, iterations: int) -> float:
    """Return the seconds of one iteration."""
    ansatz = efficient_su2(2, reps=1)
    optimizer = SPSA(maxiter=iterations, learning_rate=0.1, perturbation=0.1)
    vqe = VQE(estimator, ansatz, optimizer, initial_point=np.full(ansatz.num_parameters, 0.1))
    start = time.perf_counter()
    vqe.compute_minimum_eigenvalue(_H2)
    return (time.perf_counter() - start) / iterations
