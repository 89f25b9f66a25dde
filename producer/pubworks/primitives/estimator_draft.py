"""From what a user hands to ``Estimator.run`` to a job that can be stored."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from qiskit import QuantumCircuit
from qiskit.exceptions import QiskitError
from qiskit.primitives.containers.estimator_pub import EstimatorPub

from pubworks.codec import readout
from pubworks.codec.circuits import CircuitBlob
from pubworks.errors import SubmissionError
from pubworks.estimation.measurement import Measurement
from pubworks.planning.measurement import plan_measurement
from pubworks.planning.plan import PubSize, plan
from pubworks.planning.target import Target
from pubworks.primitives.draft import check_options, check_runs, check_target, encode_once, parameter_values
from pubworks.store.records import JobDraft, PubDraft

#: QPY bytes of one measured qubit: a change of basis of up to five gates, the measurement and its classical bit.
_BYTES_PER_QUBIT = 600


def draft_estimator_job(
    pubs: Sequence[EstimatorPub], target: Target, options: dict[str, Any], *, job_id: str
) -> JobDraft:
    """Return the job of an Estimator call, planned.

    Args:
        pubs: Coerced PUBs, each with its precision.
        target: The backend.
        options: ``abelian_grouping``, ``stds``, ``seed_simulator`` and ``run_options``, JSON values.
        job_id: Id of the job to be.

    Raises:
        ValueError: A precision is no positive number; as ``SubmissionError``, a PUB cannot run on the backend or cannot
            be stored.
        QiskitError: ``meas_level`` is not 2.
    """
    _check_options(options)
    check_target(options, target)
    shots = [_shots(position, pub.precision) for position, pub in enumerate(pubs)]
    for position, pub in enumerate(pubs):
        check_runs(position, pub.circuit, target)
        _check_circuit(position, pub.circuit)
    blobs = encode_once([pub.circuit for pub in pubs])
    measurements = [_measure(pub, options) for pub in pubs]
    sizes = [
        PubSize(measurement.num_circuits, count, _circuit_bytes(blobs[id(pub.circuit)], measurement))
        for pub, measurement, count in zip(pubs, measurements, shots, strict=True)
    ]
    batches = plan(sizes, target.limits, backend_max_circuits=target.max_circuits, seed=options.get("seed_simulator"))
    drafts = tuple(
        _draft_pub(pub, blobs[id(pub.circuit)], measurement, count)
        for pub, measurement, count in zip(pubs, measurements, shots, strict=True)
    )
    circuits = {blob.hash: blob.data for blob in blobs.values()}
    run_options = options.get("run_options") or {}
    return JobDraft(job_id, None, "estimator", target.name, options, circuits, drafts, batches, run_options)


def _check_options(options: dict[str, Any]) -> None:
    check_options(options, {"shots", "seed_simulator"})
    if (options.get("run_options") or {}).get("meas_level") == 1:
        raise QiskitError("Unsupported meas_level: 1. Expectation values are made of bits, that is level 2.")
    if options["stds"] not in ("reference", "covariance"):
        raise ValueError(f"stds must be 'reference' or 'covariance', not {options['stds']!r}.")


def _check_circuit(position: int, circuit: QuantumCircuit) -> None:
    if circuit.num_qubits == 0:
        raise ValueError(f"PUB {position}: circuit {circuit.name!r} has no qubits, so there is nothing to measure.")


def _shots(position: int, precision: float) -> int:
    """Return the shots of a precision: 1 / precision^2, rounded up."""
    if not 0.0 < precision < math.inf:
        raise ValueError(
            f"The {position}-th pub has precision {precision}, but precision should be a number larger than 0."
        )
    try:
        return math.ceil(1.0 / precision**2)
    except (ZeroDivisionError, OverflowError) as error:
        raise SubmissionError(
            f"PUB {position}: precision {precision} asks for more shots than there are numbers."
        ) from error


def _measure(pub: EstimatorPub, options: dict[str, Any]) -> Measurement:
    info = {"precision": float(pub.precision), "stds": options["stds"]}
    return plan_measurement(pub, grouped=options["abelian_grouping"], info=info)


def _circuit_bytes(blob: CircuitBlob, measurement: Measurement) -> int:
    """Return an upper bound of the QPY of a circuit with its measurements."""
    return blob.size + _BYTES_PER_QUBIT * int(measurement.widths.max(initial=0))


def _draft_pub(pub: EstimatorPub, blob: CircuitBlob, measurement: Measurement, shots: int) -> PubDraft:
    return PubDraft(
        circuit=blob.hash,
        shape=pub.shape,
        size=measurement.num_circuits,
        shots=shots,
        parameter_values=parameter_values(pub),
        readout=readout.describe(pub.circuit),
        circuit_metadata=pub.circuit.metadata,
        measurement=measurement.to_bytes(),
    )
