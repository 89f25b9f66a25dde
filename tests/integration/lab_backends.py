"""Backends of these tests, built inside worker processes; files in ``folder`` say what they did and may do."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import time
import uuid
from pathlib import Path

from qiskit.providers import JobStatus, JobV1
from qiskit.providers.basic_provider import BasicSimulator
from qiskit.result import Result
from qiskit_aer import AerSimulator

#: Seconds of a run of ``Gripping``: more than two leases.
GRIP_S = 7


class Gated(BasicSimulator):
    """Its runs of N shots go on until the file ``open-N`` is there; ``run`` adds a line to the file ``calls-N``."""

    def __init__(self, folder: str, max_circuits: int | None = None) -> None:
        super().__init__()
        self.folder, self._most = Path(folder), max_circuits

    @property
    def max_circuits(self) -> int | None:
        return self._most

    def run(self, run_input, **options):
        with (self.folder / f"calls-{options['shots']}").open("a") as ledger:
            ledger.write(f"{os.getpid()}\n")
        return GatedJob(self, uuid.uuid4().hex, super().run(run_input, **options).result())


class GatedJob(JobV1):
    """A job that is over when the gate is open."""

    def __init__(self, backend, job_id, result) -> None:
        super().__init__(backend, job_id)
        self._result = result

    def submit(self) -> None:
        raise NotImplementedError

    def status(self):
        gate = self._backend.folder / f"open-{self._result.results[0].shots}"
        return JobStatus.DONE if gate.exists() else JobStatus.RUNNING

    def result(self):
        return self._result


class Gripping(Gated):
    """Keeps the interpreter for itself while it runs, as Aer does: no other thread of its process moves meanwhile."""

    def run(self, run_input, **options):
        job = super().run(run_input, **options)
        ctypes.PyDLL(None).sleep(GRIP_S)
        return job


class Remote(Gated):
    """A provider whose jobs outlive the process that submitted them: one file ``<id>.job`` each."""

    def run(self, run_input, **options):
        job = super().run(run_input, **options)
        (self.folder / f"{job.job_id()}.job").write_text(json.dumps(job.result().to_dict(), default=int))
        return job

    def retrieve_job(self, job_id):
        result = Result.from_dict(json.loads((self.folder / f"{job_id}.job").read_text()))
        return GatedJob(self, job_id, result)


class SlowToAccept(Remote):
    """Takes a job, and answers only when the file ``answer`` is there."""

    def run(self, run_input, **options):
        job = super().run(run_input, **options)
        while not (self.folder / "answer").exists():
            time.sleep(0.01)
        return job


class Mortal(BasicSimulator):
    """Ends its process at a circuit of N qubits, once, by the signal that the file ``die-N`` names."""

    max_circuits = 1

    def __init__(self, folder: str) -> None:
        super().__init__()
        self.folder = Path(folder)

    def run(self, run_input, **options):
        order = self.folder / f"die-{run_input.num_qubits}"
        if order.exists():
            name = order.read_text()
            order.unlink()
            if name == "SIGSEGV":
                ctypes.string_at(0)  # a real one
            os.kill(os.getpid(), signal.Signals[name])  # as the kernel does to who takes all memory
        return super().run(run_input, **options)


def fragile(folder: str) -> BasicSimulator:
    """Fail while the file ``broken`` is there, as a provider whose credentials are wrong."""
    if (Path(folder) / "broken").exists():
        raise PermissionError("token expired")
    return BasicSimulator()


class InThrees(AerSimulator):
    """Takes three circuits a run."""

    @property
    def max_circuits(self) -> int:
        return 3
