"""The process that computes: reads tasks from standard input, writes results to standard output, ends with the input.

One frame is 4 bytes of length and so many bytes. A task is a line of JSON and the circuits as QPY; an answer is a
byte that says whether it went well, and the answer of the HTTP service, or what went wrong.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import sys
import zlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    from qiskit import QuantumCircuit

LENGTH_BYTES = 4
GOOD, BAD = b"+", b"-"


def serve(tasks: BinaryIO, answers: BinaryIO) -> None:
    """Compute until there are no more tasks."""
    backend = simulator()
    while head := tasks.read(LENGTH_BYTES):
        answer = _answer(backend, tasks.read(int.from_bytes(head)))
        answers.write(len(answer).to_bytes(LENGTH_BYTES) + answer)
        answers.flush()


def simulator() -> Any:
    """Return Aer where it is installed, else Qiskit's own simulator."""
    try:
        from qiskit_aer import AerSimulator
    except ImportError:
        from qiskit.providers.basic_provider import BasicSimulator

        return BasicSimulator()
    return AerSimulator()


def content_seed(circuits: Sequence[QuantumCircuit], seed: int) -> int:
    """Return a seed made of the circuits' content, whatever their names, and the server's seed."""
    from qiskit import qpy

    digest = hashlib.sha256(str(seed).encode())
    for circuit in circuits:
        nameless, buffer = circuit.copy(), io.BytesIO()
        nameless.name, nameless.metadata = "", {}
        qpy.dump(nameless, buffer, version=15)
        digest.update(buffer.getvalue())
    return int.from_bytes(digest.digest()[:4]) >> 1  # simulators take 31 bits


def _answer(backend: Any, task: bytes) -> bytes:
    line, _, circuits = task.partition(b"\n")
    try:
        result = _compute(backend, json.loads(line), circuits)
    except Exception as error:  # the job fails, whatever it was
        return BAD + f"{type(error).__name__}: {error}".encode()
    return GOOD + zlib.compress(json.dumps(result, default=str).encode(), 1)


def _compute(backend: Any, task: dict[str, Any], circuits: bytes) -> dict[str, Any]:
    from qiskit import qpy

    loaded = qpy.load(io.BytesIO(circuits))
    seed = task["seed"] if task["seed"] is not None else content_seed(loaded, task["server_seed"])
    result = backend.run(loaded, shots=task["shots"], seed_simulator=seed, memory=task["memory"]).result()
    if not result.success:
        failures = [str(item.status) for item in result.results if not item.success]
        raise RuntimeError("; ".join([str(result.status), *failures[:3]]))
    keys = ("counts", "memory") if task["memory"] else ("counts",)
    return {"status": "done", "results": [_experiment(item.to_dict(), keys) for item in result.results]}


def _experiment(item: dict[str, Any], keys: tuple[str, ...]) -> dict[str, Any]:
    data = {key: item["data"][key] for key in keys if key in item["data"]}
    return {"success": True, "shots": item["shots"], "data": data, "header": item["header"], "meas_level": 2}


if __name__ == "__main__":
    _answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not end up between the answers
    serve(sys.stdin.buffer, _answers)
