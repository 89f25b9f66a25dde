"""One job of the simulated QPU."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class State(StrEnum):
    """Where a job is; the names are those of the HTTP answers."""

    #: Accepted; goes on by itself after its time in the queue.
    QUEUED = "queued"
    #: Computed, for at least its run time.
    RUNNING = "running"
    #: Its result is there, unless it was lost.
    DONE = "done"
    #: It has no result, and says why.
    FAILED = "failed"
    #: Its owner wanted it no more.
    CANCELLED = "cancelled"

    @property
    def is_over(self) -> bool:
        """Whether a job stays so."""
        return self in (State.DONE, State.FAILED, State.CANCELLED)


@dataclass(frozen=True, slots=True)
class Request:
    """What a submission asks for."""

    circuits: tuple[str, ...]
    #: Qubits of the largest circuit.
    num_qubits: int
    shots: int
    seed: int | None
    memory: bool
    tag: str | None


@dataclass(slots=True)
class Job:
    """An accepted submission; times are Unix seconds."""

    id: str
    #: Lets the submitting process ask for it where others cannot find it by its id.
    key: str
    request: Request
    payload_bytes: int
    accepted: float
    queue_s: float
    run_s: float
    delivered_shots: int
    price_per_shot: float
    loses_result: bool
    #: What it fails with; None where it does not.
    error: str | None = None
    state: State = State.QUEUED
    started: float | None = None
    done: float | None = None
    fetched: int = 0
    #: The answer to a question for the result, as zlib-compressed JSON.
    result: bytes = b""

    @property
    def cost(self) -> float:
        """Price of its shots; nothing until it starts."""
        return self.price_per_shot * self.request.shots * len(self.request.circuits) if self.started else 0.0

    def row(self) -> dict[str, Any]:
        """Return its line of the ledger."""
        request = self.request
        return {
            "id": self.id, "tag": request.tag, "circuits": list(request.circuits), "shots": request.shots,
            "seed": request.seed, "memory": request.memory, "payload_bytes": self.payload_bytes,
            "state": self.state, "error": self.error, "delivered_shots": self.delivered_shots,
            "queue_s": self.queue_s, "run_s": self.run_s,
            "accepted": self.accepted, "started": self.started, "done": self.done, "fetched": self.fetched,
            "cost": self.cost,
        }  # fmt: skip

    def summary(self) -> dict[str, Any]:
        """Return what a question for its state is answered with."""
        return {"id": self.id, "status": self.state, "error": self.error if self.state == State.FAILED else None}


@dataclass
class Ledger:
    """All jobs since the last reset, oldest first."""

    jobs: dict[str, Job] = field(default_factory=dict)
    by_tag: dict[str, list[Job]] = field(default_factory=dict)

    def add(self, job: Job) -> None:
        """Enter a job."""
        self.jobs[job.id] = job
        if job.request.tag is not None:
            self.by_tag.setdefault(job.request.tag, []).append(job)

    def shots_of_circuits(self, *states: State) -> dict[str, int]:
        """Return the total shots of every circuit name over the jobs in some states."""
        totals: dict[str, int] = {}
        for job in self.jobs.values():
            if job.state in states:
                for name in job.request.circuits:
                    totals[name] = totals.get(name, 0) + job.delivered_shots
        return totals

    def summary(self) -> dict[str, Any]:
        """Return the whole ledger, for ``GET /control/ledger``."""
        return {
            "jobs": [job.row() for job in self.jobs.values()],
            "accepted_shots": self.shots_of_circuits(*State),
            "done_shots": self.shots_of_circuits(State.DONE),
            "cost": sum(job.cost for job in self.jobs.values()),
        }
