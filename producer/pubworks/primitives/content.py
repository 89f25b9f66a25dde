"""A hash of what a user submits: the same in every process, for circuits that are built again too.

QPY is not: it holds the names that Qiskit counts up (``circuit-163``) and the random ids of parameters.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from qiskit import QuantumCircuit
from qiskit.primitives.containers.estimator_pub import EstimatorPub
from qiskit.primitives.containers.sampler_pub import SamplerPub

from pubworks.store.records import JobDraft

#: What differs between two objects that are built alike: counted names, random ids, addresses.
_BY_CHANCE = re.compile(r"circuit-\d+|UUID\('[^']*'\)|0x[0-9a-f]+")

_STANDARD = "qiskit.circuit.library.standard_gates"


def content_of(draft: JobDraft, pubs: Sequence[SamplerPub | EstimatorPub]) -> str:
    """Return a hash of primitive, backend, options and PUBs; names and metadata of circuits do not count.

    Args:
        draft: The job.
        pubs: The coerced PUBs that it was made from.
    """
    known: dict[int, Any] = {}
    for pub in pubs:
        if id(pub.circuit) not in known:
            known[id(pub.circuit)] = _hash(_circuit(pub.circuit))
    options = json.dumps(draft.options, sort_keys=True)
    return _hash([draft.primitive, draft.backend, options, [[known[id(pub.circuit)], *_rest(pub)] for pub in pubs]])


def _hash(description: Any) -> str:
    return hashlib.sha256(repr(description).encode()).hexdigest()


def _rest(pub: SamplerPub | EstimatorPub) -> list[Any]:
    values = pub.parameter_values.as_array(pub.circuit.parameters) if pub.circuit.num_parameters else np.zeros(0)
    if isinstance(pub, SamplerPub):
        return [pub.shape, _value(values), int(pub.shots)]
    observables = json.dumps(pub.observables.tolist(), sort_keys=True)
    return [pub.shape, _value(values), observables, float(pub.precision)]


def _circuit(circuit: QuantumCircuit) -> list[Any]:
    places: dict[Any, int] = {bit: place for bits in (circuit.qubits, circuit.clbits) for place, bit in enumerate(bits)}
    registers = [(register.name, [places[bit] for bit in register]) for register in circuit.cregs]
    steps = [
        [*_operation(item.operation), [places[bit] for bit in (*item.qubits, *item.clbits)]] for item in circuit.data
    ]
    return [circuit.num_qubits, circuit.num_clbits, registers, _value(circuit.global_phase), steps]


def _operation(operation: Any) -> list[Any]:
    """Return what an operation does: its name and parameters, and those of what it is made of."""
    parameters = [_value(value) for value in getattr(operation, "params", ())]
    control = [_value(getattr(operation, name, None)) for name in ("condition", "target", "ctrl_state", "duration")]
    described = [_BY_CHANCE.sub("", operation.name), parameters, control]
    kind = getattr(operation, "base_class", type(operation))
    is_known = kind.__module__.startswith(_STANDARD) or operation.name == "unitary"
    made_of = None if is_known else getattr(operation, "definition", None)
    return [*described, None if made_of is None else _circuit(made_of)]


def _value(value: Any) -> Any:
    if isinstance(value, QuantumCircuit):
        return _circuit(value)
    if isinstance(value, np.ndarray) and value.dtype != object:
        return [str(value.dtype), value.shape, hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()]
    return _BY_CHANCE.sub("", repr(value))
