"""The Qiskit provider of the simulated QPU, written as a third party would: it knows nothing of pubworks.

Example::

    backend = QpuProvider("http://127.0.0.1:8000").get_backend()
    job = backend.run(circuits, shots=1000, job_name="scan")
    job.result().get_counts()
"""

from __future__ import annotations

import io
import json
import time
from collections.abc import Iterable, Sequence
from typing import Any

from qiskit import QuantumCircuit, qpy
from qiskit.circuit.library import get_standard_gate_name_mapping
from qiskit.providers import BackendV2, JobStatus, JobTimeoutError, JobV1, Options
from qiskit.result import Result
from qiskit.transpiler import Target

from pubworks.testing.qpu.client import QpuClient, QpuError

#: The gates of the device, on all qubits; its simulators know them.
GATES = (
    *("h", "x", "y", "z", "s", "sdg", "t", "tdg", "sx", "sxdg", "id", "rx", "ry", "rz", "p", "u"),
    *("cx", "cy", "cz", "cp", "crx", "cry", "crz", "swap", "rxx", "ryy", "rzz", "ecr", "ccx", "cswap"),
    *("measure", "reset", "delay"),
)

#: The version of QPY that the service reads.
QPY_VERSION = 15

#: The HTTP status of a question for the result of a job that is not over.
_NOT_YET = 202

_STATUS = {
    "queued": JobStatus.QUEUED,
    "running": JobStatus.RUNNING,
    "done": JobStatus.DONE,
    "failed": JobStatus.ERROR,
    "cancelled": JobStatus.CANCELLED,
}


class QpuProvider:
    """Gives the backend of one service.

    Args:
        url: Where the service listens.
        token: What it wants to see in every request, if anything.
        timeout_s: Seconds for connecting, and for each wait for an answer.
        poll_s: Seconds between two questions for the result of a job that is not over.
    """

    def __init__(
        self, url: str, token: str = "", timeout_s: tuple[float, float] = (3.0, 10.0), poll_s: float = 0.5
    ) -> None:
        self.client, self.poll_s = QpuClient(url, token, timeout_s), poll_s

    def get_backend(self, name: str = "sim") -> QpuBackend:
        """Return the backend, with one request for its description.

        Raises:
            LookupError: The service's backend has another name.
        """
        description = self.client.ask("GET", "/backend").json()
        if description["name"] != name:
            raise LookupError(f"There is no backend {name!r} here; there is {description['name']!r}.")
        return QpuBackend(self, description)


class QpuBackend(BackendV2):  # type: ignore[misc]
    """The simulated QPU.

    Args:
        provider: Whose it is.
        description: What the service says of it.
    """

    def __init__(self, provider: QpuProvider, description: dict[str, Any]) -> None:
        super().__init__(provider=provider, name=description["name"], backend_version="1")
        self.client, self.poll_s, self.description = provider.client, provider.poll_s, description
        self._target = _all_to_all(description["num_qubits"])

    @property
    def target(self) -> Target:
        """All qubits, each coupled to each."""
        return self._target

    @property
    def max_circuits(self) -> int | None:
        """Most circuits in one run, as the service says; None where it says nothing."""
        return self.description["max_circuits"]  # type: ignore[no-any-return]

    @property
    def max_shots(self) -> int | None:
        """Most shots in one run, as the service says; None where it says nothing."""
        return self.description["max_shots"]  # type: ignore[no-any-return]

    @classmethod
    def _default_options(cls) -> Options:
        return Options(shots=1024, seed_simulator=None, memory=False, job_name=None)

    def run(
        self, run_input: QuantumCircuit | Sequence[QuantumCircuit], *,
        shots: int | None = None, seed: int | None = None, seed_simulator: int | None = None,
        memory: bool | None = None, job_name: str | None = None,
    ) -> QpuJob:  # fmt: skip
        """Submit a job, with one request.

        Args:
            run_input: Circuits that are bound.
            shots: Runs of each circuit.
            seed: Of the random numbers; the service chooses where there is none.
            seed_simulator: The same.
            memory: Whether to return the outcome of each shot.
            job_name: Kept with the job; :meth:`find_jobs` finds it by this.

        Raises:
            QpuError: The service did not accept it, or says so.
        """
        circuits = [run_input] if isinstance(run_input, QuantumCircuit) else list(run_input)
        options, seed = self.options, seed if seed is not None else seed_simulator
        wanted = {
            "circuits": [circuit.name for circuit in circuits],
            "num_qubits": max(circuit.num_qubits for circuit in circuits),
            "shots": options.shots if shots is None else shots,
            "seed": options.seed_simulator if seed is None else seed,
            "memory": options.memory if memory is None else memory,
            "tag": options.job_name if job_name is None else job_name,
        }
        answer = self.client.ask("POST", "/jobs", data=json.dumps(wanted).encode() + b"\n" + _qpy(circuits)).json()
        return QpuJob(self, answer["id"], answer["key"])

    def retrieve_job(self, job_id: str) -> QpuJob:
        """Return a job by its id, without a request."""
        return QpuJob(self, job_id)

    def find_jobs(self, job_name: str) -> list[str]:
        """Return the ids of the jobs of a name, oldest first, with one request.

        Raises:
            QpuError: The service does not list jobs.
        """
        jobs = self.client.ask("GET", "/jobs", params={"tag": job_name}).json()["jobs"]
        return [job["id"] for job in jobs]

    def statuses(self, job_ids: Iterable[str]) -> dict[str, JobStatus]:
        """Return how jobs stand, with one request; those that the service does not know are left out.

        Raises:
            QpuError: There are more ids than ``description["max_ids"]``, or the service takes only one.
        """
        jobs = self.client.ask("GET", "/jobs", params={"ids": ",".join(job_ids)}).json()["jobs"]
        return {job["id"]: _STATUS[job["status"]] for job in jobs}


class QpuJob(JobV1):  # type: ignore[misc]
    """A job of the simulated QPU.

    Args:
        backend: Where it runs.
        job_id: Its id.
        key: What only the process that submitted it has; some services find no job without.
    """

    _async = True

    def __init__(self, backend: QpuBackend, job_id: str, key: str = "") -> None:
        super().__init__(backend, job_id)
        self._client, self._path, self._poll_s = backend.client, f"/jobs/{job_id}", backend.poll_s
        self._headers = {"X-Job-Key": key} if key else {}

    def submit(self) -> None:
        """Do nothing: ``backend.run`` submits."""

    def status(self) -> JobStatus:
        """Return how it stands, with one request."""
        return _STATUS[self._ask("GET").json()["status"]]

    def result(self, timeout: float | None = None) -> Result:
        """Return the result, with one request where the job is over; else with one each ``poll_s`` seconds.

        Args:
            timeout: Seconds after which to give up; None: never.

        Raises:
            QpuError: The job failed or was cancelled, or its result is not there any more.
            JobTimeoutError: The job was not over in time.
        """
        began = time.monotonic()
        while (response := self._ask("GET", "/result")).status_code == _NOT_YET:
            if timeout is not None and time.monotonic() - began > timeout:
                raise JobTimeoutError(f"Job {self.job_id()} is not over after {timeout} s.")
            time.sleep(self._poll_s)
        answer = response.json()
        if answer["status"] != "done":
            raise QpuError(answer["error"] or f"Job {self.job_id()} was cancelled.", response)
        facts = {"backend_name": self.backend().name, "backend_version": "1", "job_id": self.job_id()}
        return Result.from_dict({**facts, "success": True, "status": "COMPLETED", "results": answer["results"]})

    def cancel(self) -> bool:
        """End it, with one request; return False if it was over."""
        return bool(self._ask("DELETE").json()["cancelled"])

    def _ask(self, method: str, path: str = "") -> Any:
        return self._client.ask(method, self._path + path, headers=self._headers)


def _qpy(circuits: list[QuantumCircuit]) -> bytes:
    buffer = io.BytesIO()
    qpy.dump(circuits, buffer, version=QPY_VERSION)
    return buffer.getvalue()


def _all_to_all(num_qubits: int) -> Target:
    target, gates = Target(num_qubits=num_qubits), get_standard_gate_name_mapping()
    for name in GATES:
        target.add_instruction(gates[name])
    return target
