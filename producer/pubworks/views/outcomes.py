"""Results of a job, and their JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from qiskit.primitives import BitArray

from pubworks.codec.results import decode

if TYPE_CHECKING:
    from qiskit.primitives import PubResult

    from pubworks.ledger.contract import Ledger
    from pubworks.store.records import JobRecord

ESTIMATOR = "estimator"


@dataclass(frozen=True)
class Outcome:
    """A job with the results there are."""

    record: JobRecord
    results: dict[int, PubResult]
    #: PUB -> why it has no result.
    missing: dict[int, str]


def load(ledger: Ledger, job_id: str) -> Outcome:
    """Return a job with the results there are."""
    record = ledger.record(job_id)
    results = {pub: decode(data) for pub, data in ledger.results(job_id)}
    return Outcome(record, results, ledger.missing(job_id))


def document(outcome: Outcome) -> dict[str, Any]:
    """Return a job's results as JSON values.

    Of a Sampler, ``counts`` holds one entry for each circuit of the PUB, in C order of its ``shape``; of an Estimator,
    ``evs`` and ``stds`` are numbers, or nested lists of the PUB's ``shape``.
    """
    record = outcome.record
    return {
        "id": record.id,
        "name": record.name,
        "backend": record.backend,
        "status": str(record.state),
        "pubs": [
            {
                "pub": pub,
                "shape": list(result.data.shape),
                **(_estimates(result) if record.primitive == ESTIMATOR else _registers(result)),
                "metadata": result.metadata,
            }
            for pub, result in outcome.results.items()
        ],
        "missing": [{"pub": pub, "reason": reason} for pub, reason in outcome.missing.items()],
    }


def _estimates(result: PubResult) -> dict[str, Any]:
    return {name: np.asarray(data).tolist() for name, data in result.data.items()}


def _registers(result: PubResult) -> dict[str, Any]:
    return {"registers": [_register(name, data) for name, data in result.data.items()]}


def _register(name: str, data: Any) -> dict[str, Any]:
    if isinstance(data, BitArray):
        counts = [dict(sorted(data.get_counts(index).items())) for index in np.ndindex(data.shape)]
        return {"name": name, "num_bits": data.num_bits, "shots": data.num_shots, "counts": counts}
    numbers = np.asarray(data)
    parts = [numbers.real.tolist(), numbers.imag.tolist()] if np.iscomplexobj(numbers) else [numbers.tolist(), None]
    return {"name": name, "real": parts[0], "imag": parts[1]}
