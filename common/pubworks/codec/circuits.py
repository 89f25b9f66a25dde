"""Circuits as compressed QPY, addressed by the hash of their content.

QPY below version 13 can run code while it is loaded (CVE-2025-2000), so the version is read before Qiskit sees them.
Circuits are written in version 15, which every supported Qiskit reads (2.1 reads up to 15), and in Qiskit's newest only
when a circuit needs it.
"""

from __future__ import annotations

import hashlib
import io
import json
import struct
import warnings
from dataclasses import dataclass

from qiskit import QuantumCircuit, qasm3, qpy
from qiskit.exceptions import MissingOptionalLibraryError
from qiskit.qpy import QpyError
from qiskit.qpy.exceptions import UnsupportedFeatureForVersion

from pubworks.codec.arrays import compress, decompress
from pubworks.errors import SubmissionError

OLDEST_QPY = 13
WRITTEN_QPY = 15

#: Largest circuit that is read, in bytes of QPY.
MAX_QPY_BYTES = 256 << 20

#: Most qubits, and most classical bits, of a circuit that is read: a few bytes can claim billions, and the reader makes
#: room for them before it looks further.
MAX_BITS = 100_000

_MAGIC = b"QISKIT"

#: What follows the header of a file: encoding and kind of its programs. From version 16 on, a table of their offsets.
_HEADER = struct.Struct("!6sBBBBQcc")
_OFFSET_BYTES, _FIRST_WITH_OFFSETS = 8, 16

#: How a circuit starts: sizes of its name and phase, then its qubits and classical bits.
_CIRCUIT = struct.Struct("!HcHII")


@dataclass(frozen=True)
class CircuitBlob:
    """A circuit as it is stored."""

    #: SHA-256 of the QPY, in hex.
    hash: str
    #: Compressed QPY.
    data: bytes
    #: Bytes of QPY before compression.
    size: int


def encode(circuit: QuantumCircuit) -> CircuitBlob:
    """Return a circuit as compressed QPY with its content hash.

    Raises:
        SubmissionError: QPY cannot express the circuit, or its metadata is not JSON.
    """
    try:
        json.dumps(circuit.metadata, allow_nan=False)  # PostgreSQL keeps no NaN in JSON
        raw = _dump(circuit)
    except (QpyError, TypeError, ValueError) as error:
        raise SubmissionError(
            f"Circuit {circuit.name!r} cannot be stored as QPY: {error}. "
            "Use instructions that QPY knows and JSON values in circuit.metadata."
        ) from error
    return CircuitBlob(hashlib.sha256(raw).hexdigest(), compress(raw), len(raw))


def decode(data: bytes) -> QuantumCircuit:
    """Return the circuit of :func:`encode`."""
    return load_qpy(decompress(data, MAX_QPY_BYTES))[0]


def load_qpy(raw: bytes) -> list[QuantumCircuit]:
    """Return the circuits of a QPY file that may come from anyone.

    Raises:
        SubmissionError: It is not QPY, is too large, is of a version that could run code, or is damaged.
    """
    check_qpy(raw)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # "written by a newer Qiskit": loading tells whether that matters
            circuits = qpy.load(io.BytesIO(raw))
    except BaseException as error:  # damaged bytes raise anything, even pyo3's PanicException, which is no Exception
        if isinstance(error, (KeyboardInterrupt, SystemExit)):
            raise
        told = (str(error).splitlines() or [""])[0]  # the rest is a backtrace of the reader
        raise SubmissionError(f"The QPY data is damaged: {type(error).__name__}: {told}. Write it again.") from error
    if not circuits or not all(isinstance(circuit, QuantumCircuit) for circuit in circuits):
        raise SubmissionError("The QPY data holds no circuit, or something other than circuits. Write circuits only.")
    return list(circuits)


def load_qasm3(text: str) -> QuantumCircuit:
    """Return the circuit of an OpenQASM 3 program that may come from anyone.

    Raises:
        SubmissionError: It is no such program, or the package that reads it is not installed.
    """
    try:
        return qasm3.loads(text)
    except MissingOptionalLibraryError as error:
        raise SubmissionError("Reading OpenQASM 3 needs one more package: pip install 'pubworks[qasm3]'.") from error
    except Exception as error:  # its parsers raise anything from QASM3ImporterError to RecursionError
        why = str(error) or type(error).__name__
        raise SubmissionError(
            f"This is not OpenQASM 3 that Qiskit can read: {why}. Mend it, or export as QPY."
        ) from error


def check_qpy(raw: bytes) -> None:
    """Refuse bytes that are not QPY of a version without known code execution.

    Raises:
        SubmissionError: Says which version was found and what to do.
    """
    if len(raw) > MAX_QPY_BYTES:
        raise SubmissionError(f"QPY data of {len(raw)} bytes is over the limit of {MAX_QPY_BYTES}. Split the file.")
    if len(raw) < len(_MAGIC) + 1 or not raw.startswith(_MAGIC):
        raise SubmissionError("This is not QPY data. Write it with qiskit.qpy.dump(circuits, file).")
    version = raw[len(_MAGIC)]
    if version < OLDEST_QPY:
        raise SubmissionError(
            f"QPY version {version} is refused: versions below {OLDEST_QPY} can run code when loaded (CVE-2025-2000). "
            f"Write it again with qiskit.qpy.dump(circuits, file, version={WRITTEN_QPY})."
        )
    _check_claims(raw, version)


def _check_claims(raw: bytes, version: int) -> None:
    """Refuse a first circuit that claims more bits than any machine has."""
    try:
        programs = _HEADER.unpack_from(raw)[5]
        table = programs * _OFFSET_BYTES if version >= _FIRST_WITH_OFFSETS else 0
        qubits, clbits = _CIRCUIT.unpack_from(raw, _HEADER.size + table)[3:]
    except struct.error as error:
        raise SubmissionError("The QPY data ends too early. Write it again.") from error
    if max(qubits, clbits) > MAX_BITS:
        raise SubmissionError(
            f"The QPY data claims {qubits} qubits and {clbits} classical bits; {MAX_BITS} are allowed. Write it again."
        )


def _dump(circuit: QuantumCircuit) -> bytes:
    buffer = io.BytesIO()
    try:
        qpy.dump(circuit, buffer, version=WRITTEN_QPY)
    except UnsupportedFeatureForVersion:
        buffer = io.BytesIO()
        qpy.dump(circuit, buffer)
    return buffer.getvalue()
