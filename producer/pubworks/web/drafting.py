"""From a submission to a job that can be stored, by the very ``run`` of the primitives; in a confined process."""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.lib import format as npy
from qiskit import QuantumCircuit
from qiskit.exceptions import QiskitError
from qiskit.primitives.containers.bindings_array import BindingsArray

from pubworks.backends.spec import Limits
from pubworks.behaviour import Behaviour
from pubworks.client import Estimator, Sampler
from pubworks.codec.circuits import load_qasm3, load_qpy
from pubworks.errors import PubworksError, SubmissionError
from pubworks.planning.target import Target

if TYPE_CHECKING:
    from pubworks.client import Client
    from pubworks.ledger.contract import Pubs
    from pubworks.store.records import JobDraft

_QPY = b"QISKIT"


@dataclass
class _Desk:
    """Stands for the client: knows one backend, and keeps the job instead of storing it."""

    backend: Target
    job_id: str
    drafts: list[JobDraft] = field(default_factory=list)

    def enter(self, backend: str) -> str:
        """Return the name of the backend."""
        return backend

    def target(self, _name: str) -> Target:
        """Return the backend."""
        return self.backend

    def new_id(self) -> str:
        """Return the id that the server chose."""
        return self.job_id

    def submit(self, draft: JobDraft, _pubs: Pubs) -> None:
        """Keep the job."""
        self.drafts.append(draft)


def draft(asked: dict[str, Any], parts: dict[str, bytes]) -> tuple[JobDraft, list[str]]:
    """Return the job of a submission, planned, and what Qiskit warned of.

    Args:
        asked: A ``JobRequest`` as JSON values, with ``target``, ``job_id`` and ``idempotency_key``.
        parts: The uploads by name.

    Raises:
        SubmissionError: It cannot be submitted; the message says why.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        try:
            found = _draft(asked, parts)
        except PubworksError:
            raise
        except (QiskitError, TypeError, ValueError, ArithmeticError, MemoryError, RecursionError) as error:
            why = str(error) or type(error).__name__
            raise SubmissionError(f"It cannot be submitted: {why}. Mend it and send it again.") from error
    return found, [str(warning.message) for warning in caught if issubclass(warning.category, UserWarning)]


def _draft(asked: dict[str, Any], parts: dict[str, bytes]) -> JobDraft:
    target = asked["target"]
    nested = {"configured": Limits(**target["configured"]), "behaviour": Behaviour(**target["behaviour"])}
    desk = _Desk(Target(**{**target, **nested}), asked["job_id"])
    client = cast("Client", desk)
    readers = _Parts(parts)
    labels = {"name": asked["name"], "tags": asked["tags"], "idempotency_key": asked["idempotency_key"]}
    if asked["primitive"] == "sampler":
        _refuse(asked, "precision", "observables")
        sampler = Sampler(target["name"], options=asked["options"], client=client)
        sampler.run([_sampler_pub(pub, readers) for pub in asked["pubs"]], shots=asked["shots"], **labels)
    else:
        _refuse(asked, "shots")
        estimator = Estimator(target["name"], options=asked["options"], client=client)
        pubs = [_estimator_pub(pub, readers) for pub in asked["pubs"]]
        estimator.run(pubs, precision=asked["precision"], **labels)
    return desk.drafts[0]


def _refuse(asked: dict[str, Any], *names: str) -> None:
    for name in names:
        if asked.get(name) is not None or any(pub.get(name) is not None for pub in asked["pubs"]):
            raise SubmissionError(f"{name} is not for the {asked['primitive']}. Leave it out.")


class _Parts:
    """The uploads; each circuit is read once, so that PUBs with the same circuit share it."""

    def __init__(self, parts: dict[str, bytes]) -> None:
        self._parts = parts
        self._circuits: dict[str, list[QuantumCircuit]] = {}

    def circuit(self, name: str, index: int) -> QuantumCircuit:
        """Return a circuit of a part."""
        if name not in self._circuits:
            self._circuits[name] = self._read(name)
        found = self._circuits[name]
        if index >= len(found):
            raise SubmissionError(f"The part {name!r} holds {len(found)} circuits; index {index} is none of them.")
        return found[index]

    def _read(self, name: str) -> list[QuantumCircuit]:
        raw = self.part(name)
        try:
            return load_qpy(raw) if raw.startswith(_QPY) else [load_qasm3(raw.decode())]
        except (SubmissionError, UnicodeDecodeError) as error:
            raise SubmissionError(
                f"The part {name!r} is neither QPY nor OpenQASM 3 that can be read: {error}"
            ) from error

    def part(self, name: str) -> bytes:
        """Return the bytes of a part."""
        if name not in self._parts:
            raise SubmissionError(
                f"There is no part {name!r} in the upload; it has {', '.join(self._parts) or 'none'}."
            )
        return self._parts[name]

    def numbers(self, values: str | list[Any]) -> np.ndarray:
        """Return parameter values."""
        try:
            found = np.asarray(values if isinstance(values, list) else self._npy(values))
        except (ValueError, EOFError) as error:
            raise SubmissionError(f"The parameter values cannot be read: {error}. Send npy of real numbers.") from error
        if found.dtype.kind not in "biuf" or not np.isfinite(found).all():
            raise SubmissionError("Parameter values must be finite real numbers, in an array or in even nested lists.")
        return found.astype(float)

    def _npy(self, name: str) -> np.ndarray:
        return npy.read_array(io.BytesIO(self.part(name)), allow_pickle=False)


def _sampler_pub(pub: dict[str, Any], parts: _Parts) -> tuple[Any, ...]:
    circuit = parts.circuit(pub["circuit"], pub["index"])
    return circuit, _bindings(pub, circuit, parts), pub["shots"]


def _estimator_pub(pub: dict[str, Any], parts: _Parts) -> tuple[Any, ...]:
    circuit = parts.circuit(pub["circuit"], pub["index"])
    if pub["observables"] is None:
        raise SubmissionError(f"A PUB of the estimator needs observables, and that of {pub['circuit']!r} has none.")
    return circuit, pub["observables"], _bindings(pub, circuit, parts), pub["precision"]


def _bindings(pub: dict[str, Any], circuit: QuantumCircuit, parts: _Parts) -> BindingsArray | None:
    if pub["values"] is None:
        return None if pub["shape"] is None else BindingsArray(shape=tuple(pub["shape"]))
    if pub["shape"] is not None:
        raise SubmissionError("A PUB has either values or a shape: that of values is their own. Leave shape out.")
    values = parts.numbers(pub["values"])
    if not circuit.num_parameters or values.ndim == 0 or values.shape[-1] != circuit.num_parameters:
        raise SubmissionError(
            f"Values of shape {values.shape} do not end with {circuit.num_parameters}, the number of parameters of "
            f"circuit {circuit.name!r}. Send one number for each on the last axis."
        )
    return BindingsArray({tuple(circuit.parameters): values})
