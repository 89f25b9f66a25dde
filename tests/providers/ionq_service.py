"""A stand-in for the service of IonQ on 127.0.0.1, for the real code of ``qiskit-ionq`` to talk to.

It computes probabilities exactly, as the ideal simulator there does, and can fail in the ways of a network.
"""

from __future__ import annotations

import json
import re
import threading
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from qiskit import QuantumCircuit
from qiskit.circuit import Gate
from qiskit.circuit import library as gates
from qiskit.quantum_info import Statevector

#: Faults of a submission: refused with a status, or taken, and the connection broken before the answer.
DROP = "drop"

#: Their names of gates without a control, and with none of our names.
_GATES: dict[str, Any] = {
    "not": gates.XGate, "x": gates.XGate, "y": gates.YGate, "z": gates.ZGate, "h": gates.HGate, "s": gates.SGate,
    "si": gates.SdgGate, "t": gates.TGate, "ti": gates.TdgGate, "v": gates.SXGate, "vi": gates.SXdgGate,
    "swap": gates.SwapGate,
}  # fmt: skip
_TURNS = {"x": gates.RXGate, "rx": gates.RXGate, "y": gates.RYGate, "ry": gates.RYGate, "z": gates.RZGate,
          "rz": gates.RZGate}  # fmt: skip


class IonQService:
    """The service, in a thread.

    Attributes:
        faults: What the next submissions run into; an HTTP status, or ``DROP``.
        faults_of_reading: The same of the next questions about jobs and their results.
        taken: Every job that was accepted, as it was sent, in order.
    """

    def __init__(self) -> None:
        self.faults: deque[int | str] = deque()
        self.faults_of_reading: deque[int | str] = deque()
        self.taken: list[dict[str, Any]] = []
        service = self

        class Handler(_Handler):
            pass

        Handler.service = service
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.server_port}/v0.4"

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()

    def describe(self, number: int) -> dict[str, Any]:
        """Return a job as the service shows it: it is over at once."""
        job = self.taken[number]
        many = "circuits" in job["input"]
        return {
            "id": f"job-{number}", "status": "completed", "type": job["type"], "backend": job["backend"],
            "name": job["name"], "metadata": job["metadata"], "execution_duration_ms": 1, "noise": job["noise"],
            "stats": {"qubits": job["input"]["qubits"], "circuits": len(_circuits(job))},
            "child_job_ids": [f"child-{place}" for place in range(len(_circuits(job)))] if many else None,
            "results": {"probabilities": {"url": f"/v0.4/jobs/job-{number}/results/probabilities"}},
        }  # fmt: skip

    def results(self, number: int) -> Any:
        """Return the probabilities of a job's circuits."""
        job = self.taken[number]
        found = [_probabilities(circuit, job["input"]["qubits"]) for circuit in _circuits(job)]
        return {f"child-{place}": of for place, of in enumerate(found)} if "circuits" in job["input"] else found[0]


def _circuits(job: dict[str, Any]) -> list[Any]:
    given = job["input"]
    return [item["circuit"] for item in given["circuits"]] if "circuits" in given else [given["circuit"]]


def _probabilities(operations: list[dict[str, Any]], num_qubits: int) -> dict[str, float]:
    circuit = QuantumCircuit(max(1, num_qubits))
    for one in operations:
        controls = [*one.get("controls", []), *([one["control"]] if "control" in one else [])]
        gate = _gate(one)
        circuit.append(gate.control(len(controls)) if controls else gate, [*controls, *_targets(one)])
    found = Statevector(circuit).probabilities()
    return {str(outcome): float(part) for outcome, part in enumerate(found) if part > 1e-12}


def _targets(one: dict[str, Any]) -> list[int]:
    return list(one["targets"]) if "targets" in one else [one["target"]]


def _gate(one: dict[str, Any]) -> Gate:
    name = one["gate"].removeprefix("c") if one["gate"] == "cnot" else one["gate"]
    return _TURNS[name](one["rotation"]) if "rotation" in one else _GATES[name]()


class _Handler(BaseHTTPRequestHandler):
    service: IonQService

    def do_POST(self) -> None:
        sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        fault = self.service.faults.popleft() if self.service.faults else None
        if not isinstance(fault, int):
            self.service.taken.append(sent)
        if self._fails(fault):
            return
        self._answer({"id": f"job-{len(self.service.taken) - 1}", "status": "submitted"})

    def do_GET(self) -> None:
        if "/backends/" in self.path:
            self._answer({"qubits": 8})
            return
        if self._fails(self.service.faults_of_reading.popleft() if self.service.faults_of_reading else None):
            return
        found = re.search(r"/jobs/job-(\d+)(/results)?", self.path)
        if not found or int(found[1]) >= len(self.service.taken):
            self._answer({"error": {"message": "not found", "type": "not found"}}, 404)
            return
        number = int(found[1])
        self._answer(self.service.results(number) if found[2] else self.service.describe(number))

    def do_PUT(self) -> None:
        self._answer({"id": "job", "status": "canceled"})

    def _fails(self, fault: int | str | None) -> bool:
        """Answer with a fault, if there is one. Returns whether there is."""
        if isinstance(fault, int):
            self._answer({"error": {"message": "scripted", "type": "scripted"}}, fault)
        elif fault == DROP:
            self.close_connection = True
            self.connection.close()
        return fault is not None

    def _answer(self, what: Any, status: int = 200) -> None:
        body = json.dumps(what).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""
