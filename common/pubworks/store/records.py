"""What goes into the store and comes out of it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from pubworks.states import BatchState, JobState, Mode, SessionState


class Slice(NamedTuple):
    """A run of circuits of one PUB, for some of its shots."""

    #: Position of the PUB in its job.
    pub: int
    #: First of the PUB's flattened circuits, and the one behind the last.
    first: int
    end: int
    #: Shots of these circuits that other slices cover before this one's.
    first_shot: int

    @property
    def num_circuits(self) -> int:
        """Circuits in this slice."""
        return self.end - self.first


@dataclass(frozen=True)
class BatchDraft:
    """One batch to be stored."""

    shots: int
    seed: int | None
    slices: tuple[Slice, ...]
    #: Bytes of QPY of its circuits, as limits count them; not stored.
    payload_bytes: int = 0

    @property
    def num_circuits(self) -> int:
        """Circuits in one run of this batch."""
        return sum(piece.num_circuits for piece in self.slices)


@dataclass(frozen=True)
class PubDraft:
    """One PUB to be stored."""

    circuit: str
    shape: tuple[int, ...]
    size: int
    shots: int
    parameter_values: bytes | None
    readout: dict[str, Any]
    circuit_metadata: Any
    #: Estimator only: what is measured, as ``Measurement.to_bytes`` gives it.
    measurement: bytes | None = None


@dataclass(frozen=True)
class JobDraft:
    """One job to be stored, whole or not at all."""

    id: str
    name: str | None
    primitive: str
    backend: str
    options: dict[str, Any]
    #: Content hash -> compressed QPY.
    circuits: dict[str, bytes]
    pubs: tuple[PubDraft, ...]
    batches: tuple[BatchDraft, ...]
    #: Options of ``backend.run`` for all batches.
    run_options: dict[str, Any] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    #: Two drafts with one key are one job, if their content (a hash) is the same.
    idempotency_key: str | None = None
    content: str | None = None
    #: Id of the session, or batch, that it is submitted to.
    session: str | None = None
    #: Who submits it through the server, and whether its other users may see it.
    owner: str = ""
    shared: bool = False


@dataclass(frozen=True)
class Claim:
    """A batch that a worker holds, and the proof that it does."""

    batch_id: str
    job_id: str
    backend: str
    shots: int
    seed: int | None
    slices: tuple[Slice, ...]
    run_options: dict[str, Any]
    #: Grows with every claim; every later write names it.
    fence: int
    #: Key of the provider job in hand; older than the fence when its result is fetched.
    attempt: int
    #: Failures so far that count, and seconds since the first trouble.
    attempts: int = 0
    failing_s: float = 0.0
    #: The provider's id of the run, once it is in flight, and whether a person gave it.
    provider_job_id: str | None = None
    by_hand: bool = False
    #: Seconds since its job was submitted, where this is the first claim of the batch.
    waited_s: float | None = None
    #: Whether its run is to show that a backend works again that failed.
    probes: bool = False

    @property
    def num_circuits(self) -> int:
        """Circuits of one run."""
        return sum(piece.num_circuits for piece in self.slices)


@dataclass(frozen=True)
class Taken:
    """What a claim gave: batches, and where limits kept it from more, when to come again."""

    claims: list[Claim]
    #: Seconds until more may be claimed; None: nothing else is due.
    wait_s: float | None = None
    why: str | None = None
    #: Whether the backend was in trouble lately, so that a success is worth noting.
    troubled: bool = False


@dataclass(frozen=True)
class Rest:
    """What a run left to do of its batch, as a batch of its own."""

    slices: tuple[Slice, ...]
    shots: int
    reason: str
    #: Whether these are further shots of circuits that the run has; else circuits that failed.
    more: bool = False
    #: Failures that count, with this one, and seconds until it is due.
    attempts: int = 0
    wait_s: float = 0.0
    #: Whether it is not tried any more.
    given_up: bool = False

    @property
    def num_circuits(self) -> int:
        """Circuits of one run."""
        return sum(piece.num_circuits for piece in self.slices)


@dataclass(frozen=True)
class Run:
    """A run that came back, ready to be stored."""

    #: Its slices and shots are those that came.
    claim: Claim
    #: One stored chunk per slice, in order.
    chunks: list[bytes]
    #: Results of the PUBs that this batch covers alone.
    merged: dict[int, bytes]
    provider_job_id: str | None
    #: What did not come; its shots start where those of the claim end.
    rests: tuple[Rest, ...] = ()
    #: When it was over, or was seen to be, by the monotonic clock.
    over_at: float = field(default_factory=time.monotonic)


@dataclass(frozen=True)
class Look:
    """A batch that the provider is to be asked about: one in flight, or one in doubt."""

    batch_id: str
    job_id: str
    fence: int
    provider_job_id: str | None
    #: Seconds since it was accepted, or came into doubt.
    age_s: float
    #: Seconds until it is due again, if nothing happens.
    due_in_s: float
    #: Failures so far that count.
    attempts: int = 0
    #: Seconds since the provider gave no answer about it any more.
    failing_s: float = 0.0
    #: Whether its job was cancelled, and the provider was not asked yet to cancel the run.
    cancel: bool = False


@dataclass(frozen=True)
class StoredPub:
    """What is needed to bind and to merge a PUB."""

    position: int
    circuit: str
    shape: tuple[int, ...]
    size: int
    shots: int
    parameter_values: bytes | None
    readout: dict[str, Any]
    circuit_metadata: Any
    #: Estimator only: what is measured, as ``Measurement.to_bytes`` gives it.
    measurement: bytes | None = None


@dataclass(frozen=True)
class StoredChunk:
    """The outcomes of one slice."""

    first: int
    end: int
    first_shot: int
    shots: int
    outcomes: bytes


@dataclass(frozen=True)
class JobRecord:
    """A job as it stands."""

    id: str
    name: str | None
    primitive: str
    backend: str
    state: JobState
    num_pubs: int
    num_batches: int
    batches_left: int
    created_at: float
    started_at: float | None
    finished_at: float | None
    #: Id of the session, or batch, that it was submitted to.
    session: str | None = None
    #: Who submitted it through the server, and whether its other users may see it.
    owner: str = ""
    shared: bool = False


@dataclass(frozen=True)
class SessionRecord:
    """A session, or a batch of jobs, as it stands; see ``pubworks.store.sessions``. Times are seconds since 1970."""

    id: str
    mode: Mode
    backend: str
    max_time_s: float | None
    idle_s: float
    created_at: float
    started_at: float | None
    ends_at: float | None
    active_since: float | None
    closed_at: float | None
    ended_at: float | None
    #: The database's time, and how its jobs stand then.
    now: float
    has_open_jobs: bool
    last_job_started_at: float | None
    last_job_ended_at: float | None
    #: Who opened it through the server.
    owner: str = ""

    @property
    def takes_jobs(self) -> bool:
        """Whether more jobs may be submitted to it."""
        return self.closed_at is None and self._in_time

    @property
    def state(self) -> SessionState:
        """What it does now."""
        if self.ended_at is not None or not self._in_time or (self.closed_at is not None and not self.has_open_jobs):
            return SessionState.CLOSED
        if self.started_at is None:
            return SessionState.OPEN
        waits = self.mode == Mode.SESSION and self.active_since is None
        return SessionState.INACTIVE if waits or self._is_idle(self.started_at) else SessionState.ACTIVE

    @property
    def status(self) -> str:
        """Its state in the words of IBM's runtime."""
        if self.state == SessionState.CLOSED:
            return "Closed"
        if not self.takes_jobs:
            return "In progress, not accepting new jobs"
        return "In progress, accepting new jobs" if self.state == SessionState.ACTIVE else "Pending"

    @property
    def _in_time(self) -> bool:
        return self.ends_at is None or self.ends_at > self.now

    def _is_idle(self, started_at: float) -> bool:
        busy_until = max(self.last_job_ended_at or 0.0, self.active_since or started_at)
        return not self.has_open_jobs and busy_until + self.idle_s <= self.now


@dataclass(frozen=True)
class SessionProgress:
    """How far the jobs of a session, or of a batch of jobs, are."""

    #: Jobs by state, and batches of circuits by state; final ones too.
    jobs: dict[str, int]
    batches: dict[str, int]

    @property
    def num_jobs(self) -> int:
        """Jobs that were submitted to it."""
        return sum(self.jobs.values())

    @property
    def jobs_ended(self) -> int:
        """Jobs that have ended, in whichever way."""
        return sum(count for state, count in self.jobs.items() if JobState(state).is_final)

    @property
    def num_batches(self) -> int:
        """Batches of circuits of all its jobs."""
        return sum(self.batches.values())

    @property
    def batches_done(self) -> int:
        """Batches whose chunks are stored."""
        return self.batches.get("DONE", 0)


@dataclass(frozen=True)
class Wanted:
    """Which jobs a listing shows; None leaves a filter out, and all that are given must hold."""

    #: Most jobs to show, and how many to leave out before them.
    limit: int | None = 10
    skip: int = 0
    backend: str | None = None
    #: Any of these states.
    states: tuple[JobState, ...] | None = None
    #: All of these tags.
    tags: tuple[str, ...] = ()
    name: str | None = None
    primitive: str | None = None
    #: Seconds since 1970: not before the first, and before the second.
    created_after: float | None = None
    created_before: float | None = None
    #: Whether the newest come first.
    descending: bool = True
    #: Of this session, or batch.
    session: str | None = None
    #: Only what this user of the server may see.
    viewer: str | None = None
    #: Only what comes behind the job with this time of submission and id.
    behind: tuple[float, str] | None = None


@dataclass(frozen=True)
class Progress:
    """How far a job is: counts of its batches, shots and PUBs."""

    #: Batches by state, final ones too.
    batches: dict[str, int]
    num_batches: int
    pubs_done: int
    num_pubs: int
    #: Distinct reasons of batches that wait, failed or are held.
    reasons: list[str] = field(default_factory=list)
    #: Shots, over all circuits, by the state of their batch.
    shots: dict[str, int] = field(default_factory=dict)
    #: Backend -> ``batches`` and ``shots``, each by state.
    backends: dict[str, dict[str, dict[str, int]]] = field(default_factory=dict)
    #: Estimate of the seconds until the last batch has ended, from the runs of late on its backends; None: there were
    #: none, or nothing is left to run.
    estimated_s_left: float | None = None

    @property
    def batches_done(self) -> int:
        """Batches whose chunks are stored."""
        return self.batches.get("DONE", 0)


@dataclass(frozen=True)
class Wait:
    """Open batches of a job that wait for the same."""

    state: BatchState
    num_batches: int
    #: None: for their turn.
    reason: str | None
    #: Seconds until the first of them is due; None: it waits for no time.
    due_in_s: float | None


class Retried(NamedTuple):
    """What became of the missing batches of a job."""

    #: Batches that are run again.
    batches: int
    #: Batches that a person decides on first, since perhaps the provider took them.
    held: int


class Resumed(NamedTuple):
    """What kept a backend from work until somebody had it go on."""

    #: Whether its breaker was open.
    breaker: bool
    #: Whether it was left alone because its provider asked for it.
    pause: bool
    #: Batches that wait for it.
    waiting: int


@dataclass(frozen=True)
class BackendFacts:
    """What a worker found out about a backend."""

    name: str
    spec: str
    num_qubits: int | None
    max_circuits: int | None
    error: str | None
    described_at: float | None = None
    #: Limits that the provider taught by refusing a run: ``max_circuits``, ``max_shots``, ``max_payload_bytes``.
    learned: dict[str, int] | None = None
