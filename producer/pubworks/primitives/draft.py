"""From what a user hands to ``Sampler.run`` to a job that can be stored."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from qiskit import QuantumCircuit
from qiskit.exceptions import QiskitError
from qiskit.primitives import DataBin
from qiskit.primitives.containers.estimator_pub import EstimatorPub
from qiskit.primitives.containers.sampler_pub import SamplerPub

from pubworks.backends.programs import has_control_flow, measures_early
from pubworks.codec import circuits as circuit_codec
from pubworks.codec import readout
from pubworks.codec.arrays import pack
from pubworks.errors import SubmissionError
from pubworks.planning.plan import PubSize, plan
from pubworks.planning.target import Target
from pubworks.store.records import JobDraft, PubDraft


def draft_sampler_job(pubs: Sequence[SamplerPub], target: Target, options: dict[str, Any], *, job_id: str) -> JobDraft:
    """Return the job of a Sampler call, planned.

    Args:
        pubs: Coerced PUBs, each with its shots.
        target: The backend.
        options: ``seed_simulator`` and ``run_options``, JSON values.
        job_id: Id of the job to be.

    Raises:
        SubmissionError: A PUB cannot run on the backend or cannot be stored.
        ValueError: A register has a name that Qiskit's ``DataBin`` refuses.
        QiskitError: ``meas_level`` is neither 1 nor 2.
    """
    check_options(options, {"shots", "memory", "seed_simulator"})
    check_target(options, target)
    for position, pub in enumerate(pubs):
        check_runs(position, pub.circuit, target)
        _check_registers(position, pub.circuit)
    blobs = encode_once([pub.circuit for pub in pubs])
    drafts = tuple(_draft_pub(pub, blobs[id(pub.circuit)]) for pub in pubs)
    sizes = [
        PubSize(draft.size if _is_run(draft, options) else 0, draft.shots, blobs[id(pub.circuit)].size)
        for draft, pub in zip(drafts, pubs, strict=True)
    ]
    seed = options.get("seed_simulator")
    batches = plan(sizes, target.limits, backend_max_circuits=target.max_circuits, seed=seed)
    circuits = {blob.hash: blob.data for blob in blobs.values()}
    return JobDraft(
        job_id, None, "sampler", target.name, options, circuits, drafts, batches, options.get("run_options") or {}
    )


def _is_run(draft: PubDraft, options: dict[str, Any]) -> bool:
    """Return whether a backend is needed: what is never measured is 0.

    With a seed it is run all the same, because the place of a circuit in a run decides what the others draw.
    """
    seeded = options.get("seed_simulator") is not None
    return bool(draft.readout["measures"] or (seeded and draft.readout["num_clbits"]))


def check_options(options: dict[str, Any], own: set[str]) -> None:
    """Raise unless the options of a job can be stored.

    Args:
        options: ``run_options`` and others.
        own: Options of ``backend.run`` that the primitive sets itself.

    Raises:
        QiskitError: ``meas_level`` is neither 1 nor 2.
        TypeError: ``run_options`` has one of its own.
        SubmissionError: They are not JSON values.
    """
    run_options = options.get("run_options") or {}
    level = run_options.get("meas_level")
    if level not in (None, 1, 2):
        raise QiskitError(f"Unsupported meas_level: {level}")
    if taken := own & set(run_options):
        raise TypeError(f"run_options sets {', '.join(sorted(taken))}, which pubworks sets itself; leave it out.")
    seed = options.get("seed_simulator")
    if seed is not None and not 0 <= seed < 2**63:
        raise SubmissionError(f"seed_simulator is {seed}; it must be a number from 0 to 2**63 - 1.")
    try:
        json.dumps(options, allow_nan=False)  # PostgreSQL keeps no NaN in JSON
    except (TypeError, ValueError) as error:
        raise SubmissionError(
            f"The options must be JSON values, since workers elsewhere read them: {error}. "
            "Set anything else (a noise model, say) where the backend is made."
        ) from error


def check_target(options: dict[str, Any], target: Target) -> None:
    """Raise ``SubmissionError`` if a job has an option that its backend is known not to take."""
    takes = target.behaviour.options
    unknown = sorted(set(options.get("run_options") or {}) - set(takes)) if takes is not None else []
    if unknown:
        raise SubmissionError(
            f"Backend {target.name} takes no option {', '.join(unknown)}; it takes {', '.join(takes or ()) or 'none'}. "
            "Leave it out of run_options."
        )


def check_runs(position: int, circuit: QuantumCircuit, target: Target) -> None:
    """Raise ``SubmissionError`` if a PUB's circuit is one that its backend is known not to run."""
    whose = f"PUB {position}: circuit {circuit.name!r}"
    if target.num_qubits is not None and circuit.num_qubits > target.num_qubits:
        raise SubmissionError(
            f"{whose} has {circuit.num_qubits} qubits, backend {target.name} "
            f"has {target.num_qubits}. Transpile it for this backend or choose a wider one."
        )
    if target.behaviour.control_flow is False and has_control_flow(circuit):
        raise SubmissionError(f"{whose} has control flow, which backend {target.name} does not run. Choose another.")
    if target.behaviour.mid_circuit is False and measures_early(circuit):
        raise SubmissionError(
            f"{whose} goes on with a qubit that it has measured; backend {target.name} measures at the end only. "
            "Choose another."
        )


def _check_registers(position: int, circuit: QuantumCircuit) -> None:
    if not circuit.cregs:
        warnings.warn(
            f"The {position}-th pub's circuit has no output classical registers and so the result "
            "will be empty. Did you mean to add measurement instructions?",
            UserWarning,
            stacklevel=5,
        )
    # Refuses the names that results cannot have, ``shape`` among them.
    DataBin(shape=(), **dict.fromkeys(register.name for register in circuit.cregs))


def encode_once(circuits: Sequence[QuantumCircuit]) -> dict[int, circuit_codec.CircuitBlob]:
    """Return the stored form of each circuit object, by its ``id``."""
    objects = {id(circuit): circuit for circuit in circuits}
    return {key: circuit_codec.encode(circuit) for key, circuit in objects.items()}


def _draft_pub(pub: SamplerPub, blob: circuit_codec.CircuitBlob) -> PubDraft:
    return PubDraft(
        circuit=blob.hash,
        shape=pub.shape,
        size=pub.size,
        shots=int(pub.shots),
        parameter_values=parameter_values(pub),
        readout=readout.describe(pub.circuit),
        circuit_metadata=pub.circuit.metadata,
    )


def parameter_values(pub: SamplerPub | EstimatorPub) -> bytes | None:
    """Return the stored parameter values of a PUB: one row per element of their shape."""
    if pub.circuit.num_parameters == 0:
        return None
    try:
        values = pub.parameter_values.ravel().as_array(pub.circuit.parameters)
    except ValueError:  # values of other parameters: Qiskit's words when it binds them
        pub.parameter_values.bind_all(pub.circuit)
        raise
    if values.dtype.kind not in "biuf" or not np.isfinite(values).all():
        _bind(pub.circuit, values)
    return pack({}, [values])


def _bind(circuit: QuantumCircuit, values: np.ndarray) -> None:
    """Raise what Qiskit raises for values that cannot be bound, such as NaN.

    Raises:
        SubmissionError: Qiskit would bind them, but they are not numbers that can be stored.
    """
    for row in values:
        circuit.assign_parameters(row)
    if values.dtype.kind not in "biufc":
        raise SubmissionError(f"Circuit {circuit.name!r} is given values that are not numbers. Bind them beforehand.")
