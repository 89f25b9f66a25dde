"""Wrong input raises what Qiskit's own Estimator raises, and nothing is stored."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.exceptions import QiskitError
from qiskit.primitives import BackendEstimatorV2
from qiskit.primitives.containers.estimator_pub import EstimatorPub
from qiskit.quantum_info import Operator, Pauli, SparseObservable, SparsePauliOp
from qiskit_aer import AerSimulator

from pubworks.client import Client, Estimator
from pubworks.errors import NotMeasured, SubmissionError
from pubworks.testing.backends import WrappedBackend

AER = AerSimulator()
PLAIN = QuantumCircuit(2)
TURN = QuantumCircuit(2)
TURN.rx(Parameter("angle"), 0)


@pytest.mark.parametrize(
    ("pub", "precision"),
    [
        ((PLAIN, "ZZZ"), None),
        ((PLAIN, "Z"), None),
        ((PLAIN, ["ZZ", "ZZZ"]), None),
        ((PLAIN, "ZZ"), 0),
        ((PLAIN, "ZZ"), -0.1),
        ((PLAIN, "ZZ"), float("nan")),
        ((PLAIN, "ZZ", None, -1), None),
        ((PLAIN, "ZZ", None, 0), None),
        ((PLAIN, "ZZ", None, "fine"), None),
        ((PLAIN, "ZZ"), "fine"),
        ((TURN, ["ZZ", "XX"], [[1], [2], [3]]), None),
        ((TURN, "ZZ"), None),
        ((PLAIN, "ZZ", [1]), None),
        ((PLAIN, SparsePauliOp(["ZZ"], [1j])), None),
        ((PLAIN, {"ZZ": 1j}), None),
        ((PLAIN, SparsePauliOp(["ZZ"], [0.0])), None),
        ((PLAIN, "AB"), None),
        ((PLAIN, 3), None),
        ((PLAIN, {5: 1.0}), None),
        (PLAIN, None),
        ((PLAIN,), None),
        (("ZZ", "ZZ"), None),
        ((PLAIN, "iZZ"), None),
        ((PLAIN, Pauli("-iZZ")), None),
        ((PLAIN, "zz"), None),
        ((PLAIN, ""), None),
        ((PLAIN, b"ZZ"), None),
        ((PLAIN, ("ZZ", "XX")), None),
        ((PLAIN, [["ZZ"], ["XX", "YY"]]), None),
        ((PLAIN, []), None),
        ((PLAIN, Operator.from_label("ZZ")), None),
        ((PLAIN, SparsePauliOp(["XX", "XX"], [1, -1])), None),
        ((PLAIN, SparsePauliOp(["ZZ"], [float("nan")])), None),
        ((PLAIN, SparsePauliOp(["ZZ"], np.array([Parameter("c")]))), None),
        ((PLAIN, SparseObservable.zero(2)), None),
        ((PLAIN, SparseObservable.from_list([("ZZ", 1j)])), None),
        ((PLAIN, {"ZZ": 1.0, "ZZZ": 1.0}), None),
        ((PLAIN, {}), None),
        ((PLAIN, {"ZZ": None}), None),
        ((TURN, "ZZ", {"other": 1}), None),
        ((TURN, "ZZ", {"angle": 1, "other": 1}), None),
        ((TURN, "ZZ", [float("nan")]), None),
        ((TURN, "ZZ", [float("inf")]), None),
        ((TURN, "ZZ", [1j]), None),
        ((TURN, "ZZ", ["one"]), None),
        ((PLAIN, "ZZ", None, float("nan")), None),
        ((PLAIN, "ZZ", None, Decimal("0.1")), None),
        ((PLAIN, "ZZ", None, np.array(0.1)), None),
        ((PLAIN, "ZZ", None, 0.1, 1), None),
    ],
)
def test_same_type_of_error(client: Client, pub: Any, precision: Any) -> None:
    with pytest.raises(Exception) as theirs:  # noqa: PT011
        BackendEstimatorV2(backend=AER).run([pub], precision=precision).result()
    before = client.jobs(limit=1)
    with pytest.raises(theirs.type):
        Estimator(AER, client=client).run([pub], precision=precision)
    assert client.jobs(limit=1) == before


@pytest.mark.parametrize("pubs", [(PLAIN, "ZZ"), None, 3, EstimatorPub.coerce((PLAIN, "ZZ"))])
def test_same_type_of_error_where_there_is_no_list_of_pubs(client: Client, pubs: Any) -> None:
    with pytest.raises(Exception) as theirs:  # noqa: PT011
        BackendEstimatorV2(backend=AER).run(pubs).result()
    with pytest.raises(theirs.type):
        Estimator(AER, client=client).run(pubs)


@pytest.mark.parametrize("coefficient", [float("nan"), float("inf")])
@pytest.mark.parametrize("kind", [dict, SparseObservable.from_list])
def test_coefficients_that_are_no_numbers(client: Client, kind: Any, coefficient: float) -> None:
    """Qiskit refuses them in a ``SparsePauliOp`` only; otherwise the runs would be paid for, and be worth nothing."""
    with pytest.raises(ValueError, match=r"coefficient of ZZ"):
        Estimator(AER, client=client).run([(PLAIN, "ZZ"), (PLAIN, kind([("ZZ", coefficient), ("XX", 1.0)]))])
    assert client.jobs(status="QUEUED") == []


@pytest.mark.parametrize("precision", [np.float32(0.1), Fraction(1, 10), 1, True, 2.5])
def test_precision_is_any_real_number(client: Client, precision: Any) -> None:
    pub, options = (TURN, "ZZ", [1.0], precision), {"seed_simulator": np.int64(3), "abelian_grouping": np.bool_(True)}
    theirs = BackendEstimatorV2(backend=AER, options=options).run([pub]).result()[0]
    estimator = Estimator(AER, options=options, client=client)
    for job in (estimator.run([pub]), estimator.run([pub[:3]], precision=precision)):
        [ours] = job.result(60)
        assert ours.metadata == {**theirs.metadata, "target_precision": float(precision)}
        assert ours.data.evs == theirs.data.evs


@pytest.mark.parametrize("precision", [float("inf"), 1e-6, 1e-200])
def test_shots_that_no_run_can_have(client: Client, precision: float) -> None:
    with pytest.raises(ValueError, match=r"precision|shots"):
        Estimator(AER, client=client).run([(PLAIN, "ZZ")], precision=precision)
    assert client.jobs(status="QUEUED") == []


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"run_options": {"shots": 3}}, TypeError),
        ({"run_options": {"meas_level": 1}}, QiskitError),
        ({"run_options": {"method": object()}}, SubmissionError),
        ({"stds": "wrong"}, ValueError),
        ({"unknown": 1}, TypeError),
    ],
)
def test_options(client: Client, options: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        Estimator(AER, options=options, client=client).run([(PLAIN, "ZZ")])


def test_run_options_reach_the_backend_and_memory_is_not_asked_for(client: Client) -> None:
    backend = WrappedBackend(AER)
    estimator = Estimator(backend=backend, options={"run_options": {"method": "statevector"}}, client=client)
    estimator.run([(PLAIN, "ZZ")], precision=0.1).result(60)
    assert backend.calls[0].options == {"shots": 100, "method": "statevector"}


def test_shots_above_the_maximum_are_split_and_merged(tmp_path: Any) -> None:
    entry = {"factory": "qiskit_aer:AerSimulator", "max_shots": 300, "max_circuits": 2}
    with Client(data_dir=tmp_path, backends={"small": entry}) as client:
        estimator = Estimator("small", options={"seed_simulator": 5, "stds": "covariance"}, client=client)
        job = estimator.run([(TURN, [["ZZ"], ["IX"]], [0.3, 0.4], 1 / 32), (PLAIN, "ZZ", None, 0.1)])
        first, second = job.result(60)
        assert job.progress().num_batches == 4 * 2 + 1
    assert first.metadata["shots"] == 1024
    np.testing.assert_allclose(first.data.evs, [np.cos([0.3, 0.4]), [0, 0]], atol=5 / 32)
    assert (second.data.evs, second.metadata["shots"]) == (1.0, 100)


def test_other_observables_from_stored_counts(client: Client) -> None:
    estimator = Estimator(AER, options={"seed_simulator": 5}, client=client)
    job = estimator.run([(TURN, ["ZZ", "XX"], [[0.3], [0.4]]), (PLAIN, "ZI")], precision=0.1)
    done = job.result(60)
    batches = job.progress().num_batches
    again = client.job(job.job_id()).reestimate([["ZZ", "XX"], "ZI"])
    for mine, first in zip(again, done, strict=True):
        assert mine.metadata == first.metadata
        np.testing.assert_array_equal([mine.data.evs, mine.data.stds], [first.data.evs, first.data.stds])
    other = job.reestimate([["IZ", "IX"], {"II": 2.0, "0I": 1.0}])
    np.testing.assert_allclose(other[0].data.evs, [np.cos(0.3), 0], atol=0.4)
    assert other[1].data.evs == 3.0
    assert job.progress().num_batches == batches
    with pytest.raises(NotMeasured, match="PUB 0 .* covers YY"):
        job.reestimate([["YY", "ZZ"], "ZI"])
    with pytest.raises(ValueError, match="a list of length 2, not 1"):
        job.reestimate(["ZZ"])
