"""The PUBs of a job again, from what is stored of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from qiskit import QuantumCircuit
from qiskit.primitives.containers.bindings_array import BindingsArray
from qiskit.primitives.containers.estimator_pub import EstimatorPub
from qiskit.primitives.containers.observables_array import ObservablesArray
from qiskit.primitives.containers.sampler_pub import SamplerPub

from pubworks.codec import circuits
from pubworks.codec.arrays import unpack
from pubworks.estimation.measurement import Measurement, from_bytes
from pubworks.estimation.terms import label
from pubworks.store.records import StoredPub

if TYPE_CHECKING:
    from pubworks.ledger.contract import Ledger


def load_inputs(ledger: Ledger, job_id: str) -> list[SamplerPub] | list[EstimatorPub]:
    """Return the PUBs of a job, as they were submitted; equal circuits are one object."""
    pubs, qpy = ledger.inputs(job_id, circuits=True)
    decoded = {key: circuits.decode(data) for key, data in qpy.items()}
    if ledger.record(job_id).primitive == "sampler":
        return [_sampler_pub(pub, decoded[pub.circuit]) for pub in pubs]
    return [_estimator_pub(pub, decoded[pub.circuit]) for pub in pubs]


def _sampler_pub(pub: StoredPub, circuit: QuantumCircuit) -> SamplerPub:
    return SamplerPub(circuit, _bindings(pub, circuit, pub.shape), pub.shots)


def _estimator_pub(pub: StoredPub, circuit: QuantumCircuit) -> EstimatorPub:
    assert pub.measurement is not None
    measured = from_bytes(pub.measurement)
    bindings = _bindings(pub, circuit, measured.parameters_shape)
    return EstimatorPub(circuit, observables_of(measured), bindings, measured.info["precision"])


def _bindings(pub: StoredPub, circuit: QuantumCircuit, shape: tuple[int, ...]) -> BindingsArray:
    if pub.parameter_values is None:
        return BindingsArray(shape=shape)
    _, (values,) = unpack(pub.parameter_values)
    return BindingsArray({tuple(circuit.parameters): values.reshape(*shape, circuit.num_parameters)})


def observables_of(measured: Measurement) -> ObservablesArray:
    """Return the observables that a measurement was planned for.

    Each observable is read in the first row of the parameter values that meets it: another row may read the same
    terms from other settings. What no row meets is not measured, and was not kept: the identity stands for it.
    """
    count = int(np.prod(measured.observables_shape, dtype=np.int64))
    array = np.empty(count, dtype=object)
    for number, row in enumerate(_first_rows(measured, count)):
        terms = dict(_terms(measured, number, measured.settings[measured.rows == row]))
        array[number] = terms or {"I" * measured.num_qubits: 1.0}
    return ObservablesArray(array.reshape(measured.observables_shape), num_qubits=measured.num_qubits)


def _first_rows(measured: Measurement, count: int) -> NDArray[np.int64]:
    rows = np.arange(int(np.prod(measured.parameters_shape, dtype=np.int64))).reshape(measured.parameters_shape)
    numbers = np.arange(count).reshape(measured.observables_shape)
    met, meets = (np.broadcast_to(side, measured.shape).ravel() for side in (numbers, rows))
    first = np.full(count, -1, dtype=np.int64)
    first[met[::-1]] = meets[::-1]
    return first


def _terms(measured: Measurement, number: int, settings: NDArray[np.int64]) -> Iterator[tuple[str, float]]:
    for setting in settings:
        positions, observables, coefficients = measured.weights(int(setting))
        mine = observables == number
        terms = measured.reads(int(setting))[positions[mine]]
        for term, coefficient in zip(terms, coefficients[mine], strict=True):
            yield label(measured.terms[term], measured.num_qubits), float(coefficient)
