"""A job as it is sent to a server: the PUBs of a user, which the server plans itself."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.lib import format as npy

from pubworks.codec.arrays import decompress
from pubworks.codec.circuits import MAX_QPY_BYTES

if TYPE_CHECKING:
    from qiskit.primitives.containers.estimator_pub import EstimatorPub
    from qiskit.primitives.containers.sampler_pub import SamplerPub

    from pubworks.ledger.contract import Pubs
    from pubworks.store.records import JobDraft

#: Most parameter values of a PUB that stand in the text; more are a file.
_MOST_IN_TEXT = 64


def files_of(draft: JobDraft, pubs: Pubs, key: str | None) -> list[tuple[str, tuple[str, bytes]]]:
    """Return the parts of an upload: ``job``, the circuits by their hash, and values.

    Args:
        draft: The job; its circuits are sent, and its plan is not.
        pubs: The coerced PUBs that it was made from.
        key: Makes this upload and a second one of it one job.
    """
    parts = {name: decompress(data, MAX_QPY_BYTES) for name, data in draft.circuits.items()}
    asked = [
        _asked(position, pub, stored.circuit, parts)
        for position, (pub, stored) in enumerate(zip(pubs, draft.pubs, strict=True))
    ]
    job = {
        "primitive": draft.primitive, "backend": draft.backend, "options": draft.options, "name": draft.name,
        "tags": list(draft.tags), "session": draft.session, "idempotency_key": key, "pubs": asked,
    }  # fmt: skip
    parts["job"] = json.dumps(job).encode()
    return [(name, (name, data)) for name, data in parts.items()]


def _asked(position: int, pub: SamplerPub | EstimatorPub, circuit: str, parts: dict[str, bytes]) -> dict[str, Any]:
    bindings = pub.parameter_values
    asked: dict[str, Any] = {"circuit": circuit}
    if pub.circuit.num_parameters:
        asked["values"] = _values(f"values{position}", bindings.as_array(pub.circuit.parameters), parts)
    elif bindings.shape:
        asked["shape"] = list(bindings.shape)
    if hasattr(pub, "observables"):
        return {**asked, "observables": pub.observables.tolist(), "precision": float(pub.precision)}
    return {**asked, "shots": int(pub.shots)}


def _values(name: str, values: np.ndarray, parts: dict[str, bytes]) -> str | list[Any]:
    if 0 < values.size <= _MOST_IN_TEXT:
        listed: list[Any] = values.astype(float).tolist()
        return listed
    file = io.BytesIO()
    npy.write_array(file, np.ascontiguousarray(values, dtype=float), allow_pickle=False)
    parts[name] = file.getvalue()
    return name
