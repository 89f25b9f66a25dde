"""Other observables from counts that are stored already: nothing is run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from qiskit.primitives import PrimitiveResult, PubResult
from qiskit.primitives.containers.observables_array import ObservablesArray, ObservablesArrayLike

from pubworks.codec import outcomes, results
from pubworks.errors import NotMeasured
from pubworks.estimation.measurement import from_bytes
from pubworks.estimation.result import evaluate
from pubworks.planning.measurement import cover
from pubworks.store.records import StoredPub

if TYPE_CHECKING:
    from pubworks.ledger.contract import Ledger


def reestimate(ledger: Ledger, job_id: str, observables: Sequence[ObservablesArrayLike]) -> PrimitiveResult[PubResult]:
    """Return the expectation values of other observables from the counts of a job.

    Args:
        ledger: Where the job is kept.
        job_id: An Estimator job.
        observables: For each of its PUBs, as in ``run``.

    Raises:
        NotMeasured: It is no Estimator job, a basis or a count that is needed is missing; the message says which.
        ValueError: There are more or fewer observables than PUBs, or they do not fit the circuit or its values.
    """
    pubs, _ = ledger.inputs(job_id, circuits=False)
    if len(observables) != len(pubs):
        raise ValueError(
            f"Give observables for each PUB of job {job_id}, in a list of length {len(pubs)}, not {len(observables)}."
        )
    arrays = [ObservablesArray.coerce(item) for item in observables]
    again = [_reestimate(ledger, job_id, pub, array) for pub, array in zip(pubs, arrays, strict=True)]
    return PrimitiveResult(again, metadata={"version": 2})


def _reestimate(ledger: Ledger, job_id: str, pub: StoredPub, observables: ObservablesArray) -> PubResult:
    if pub.measurement is None:
        raise NotMeasured(f"Job {job_id} is a Sampler's. Only the jobs of an Estimator can be evaluated again.")
    try:
        covered = cover(from_bytes(pub.measurement), observables)
        with ledger.chunks(job_id, pub.position) as stored:
            parts = ((chunk.first, outcomes.from_bytes(chunk.outcomes)) for chunk in stored)
            data = evaluate(covered, parts, shots=pub.shots, circuit_metadata=pub.circuit_metadata)
    except NotMeasured as error:
        raise NotMeasured(f"PUB {pub.position} of job {job_id}: {error}") from error
    return results.decode(data)
