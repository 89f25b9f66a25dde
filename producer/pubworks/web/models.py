"""What the API answers, for its description; the values are the documents of ``pubworks.views``."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

_JOB = "01KAV5N3W8J4Z9Q2T7R6X1C0MD"
_AT = "2026-11-23T14:00:00.000Z"


class _Model(BaseModel):
    model_config = ConfigDict(extra="allow")  # a document that grows is no defect of the server


class Problem(_Model):
    """An error; ``code`` names the exit code with which the command line ends for it."""

    type: str = Field(examples=["urn:pubworks:error:JobNotFound"])
    title: str = Field(examples=["No such job"])
    status: int = Field(examples=[404])
    detail: str = Field(examples=["No job '01KA' in this database. `pubworks list` shows those there are."])
    code: str = Field(examples=["NOT_FOUND"])


class JobDocument(_Model):
    """A job without its progress. Times are ISO 8601 in UTC."""

    id: str = Field(examples=[_JOB])
    name: str | None = Field(examples=["vqe scan"])
    tags: list[str] = Field(examples=[["vqe"]])
    primitive: str = Field(examples=["sampler"])
    backend: str = Field(examples=["aer"])
    session: str | None = Field(description="Of this session, or batch of jobs.", examples=[None])
    owner: str | None = Field(description="Who submitted it; null: straight to the database.", examples=["ann"])
    shared: bool = Field(examples=[False])
    status: str = Field(examples=["RUNNING"])
    num_pubs: int = Field(examples=[3])
    num_batches: int = Field(examples=[12])
    batches_left: int = Field(examples=[5])
    created_at: str = Field(examples=[_AT])
    started_at: str | None = Field(examples=[_AT])
    finished_at: str | None = Field(examples=[None])


class JobPage(_Model):
    """Some of the jobs that were asked for."""

    jobs: list[JobDocument]
    next: str | None = Field(description="Pass it as `cursor` for the jobs behind these; null: there are none.")


class Wait(_Model):
    """What batches wait for that nobody works on."""

    status: str = Field(examples=["PENDING"])
    batches: int = Field(examples=[4])
    reason: str | None = Field(examples=["no more than 5/min submissions"])
    due_in_s: float | None = Field(examples=[12.5])


class JobStatus(JobDocument):
    """A job with its progress."""

    pubs_done: int = Field(examples=[1])
    batches: dict[str, int] = Field(description="Batches by state.", examples=[{"DONE": 7, "PENDING": 5}])
    shots: dict[str, int] = Field(description="Shots by state of their batch.", examples=[{"DONE": 7000}])
    backends: dict[str, Any] = Field(description="The same by backend.", examples=[{"aer": {"batches": {"DONE": 7}}}])
    estimated_s_left: float | None = Field(description="Seconds, from the past of its backend.", examples=[12.5])
    reasons: list[str] = Field(examples=[[]])
    workers: int = Field(description="Workers that are alive and serve its backend.", examples=[2])
    waits: list[Wait]


class Waited(_Model):
    """What was waited for happened, or the time was over."""

    id: str | None = Field(examples=[_JOB])
    status: str | None = Field(description="Of the job, if one was named.", examples=["RUNNING"])
    after: int = Field(description="Pass it next time: nothing is missed between two requests.", examples=[4711])


class Pubs(_Model):
    """Which PUBs of a job have a result, and why the others have none."""

    id: str = Field(examples=[_JOB])
    finished: list[int] = Field(description="In the order in which they got it.", examples=[[1, 0]])
    missing: dict[int, str] = Field(examples=[{2: "not run"}])


class PubPart(_Model):
    """A batch that covers a PUB."""

    status: str = Field(examples=["PENDING"])
    reason: str | None = Field(examples=[None])


class PubParts(_Model):
    """How the batches stand that cover a PUB."""

    pub: int = Field(examples=[2])
    parts: list[PubPart]


class CancelledJobs(_Model):
    """How many jobs were cancelled."""

    cancelled: int = Field(examples=[3])


class Forgotten(_Model):
    """Whether limits that a provider taught were forgotten."""

    forgotten: bool = Field(description="Whether there were any.", examples=[True])


class Resumed(_Model):
    """What kept a backend from work until it was resumed."""

    breaker_closed: bool = Field(description="Whether its breaker was open.", examples=[True])
    pause_ended: bool = Field(description="Whether its provider had asked to be left alone.", examples=[False])
    waiting_batches: int = Field(examples=[12])


class Session(_Model):
    """A session, or a batch of jobs, that belong together. Times are ISO 8601 in UTC."""

    id: str = Field(examples=[_JOB])
    mode: str = Field(examples=["session"])
    backend: str = Field(examples=["aer"])
    status: str = Field(description="In the words of IBM's runtime.", examples=["Pending"])
    accepting_jobs: bool = Field(examples=[True])
    max_time_s: float | None = Field(examples=[28800.0])
    interactive_timeout_s: float = Field(examples=[60.0])
    owner: str = Field(description="Who opened it; empty: straight in the database.", examples=["ann"])
    created_at: str = Field(examples=[_AT])
    started_at: str | None = Field(examples=[None])
    ends_at: str | None = Field(examples=[None])
    closed_at: str | None = Field(examples=[None])


class Sessions(_Model):
    """Sessions and batches of jobs, newest first."""

    sessions: list[Session]


class SessionProgress(Session):
    """A session with its jobs."""

    usage_s: float = Field(examples=[12.5])
    jobs: dict[str, int] = Field(description="Jobs by state.", examples=[{"DONE": 2}])
    batches: dict[str, int] = Field(description="Batches by state.", examples=[{"DONE": 7}])


class ClosedSession(SessionProgress):
    """A session that takes no more jobs."""

    closed: bool = Field(description="Whether it took jobs until now.", examples=[True])


class CancelledSession(SessionProgress):
    """A session that was closed, and its jobs cancelled."""

    cancelled: int = Field(description="Jobs that were still open.", examples=[2])


class Submitted(JobStatus):
    """A job that was stored, or the one that has its idempotency key."""

    warnings: list[str] = Field(examples=[[]])


class Plan(_Model):
    """What a submission would run; seconds and cost are estimates."""

    backend: str = Field(examples=["aer"])
    primitive: str = Field(examples=["sampler"])
    num_pubs: int = Field(examples=[3])
    num_batches: int = Field(examples=[12])
    circuits: int = Field(examples=[300])
    shots: int = Field(examples=[300000])
    payload_bytes: int = Field(examples=[40960])
    estimated_seconds: float | None = Field(examples=[12.5])
    known_from_runs: int = Field(examples=[20])
    runs_ahead: int = Field(examples=[0])
    estimated_cost: dict[str, Any] | None = Field(examples=[None])
    splits: list[dict[str, Any]]
    batches: list[dict[str, Any]]


class Event(_Model):
    """One thing that happened to a job, or to one of its batches."""

    at: str = Field(examples=[_AT])
    what: str = Field(examples=["claimed"])
    batch: str | None = Field(examples=["0"])
    detail: dict[str, Any] = Field(examples=[{"worker": "lab/7"}])
    text: str = Field(examples=["batch 0: taken by worker lab/7"])


class Timeline(_Model):
    """What happened to a job, in order."""

    id: str = Field(examples=[_JOB])
    events: list[Event]


class ProviderJob(_Model):
    """One run of a batch. Times are seconds since 1970."""

    batch_id: str = Field(examples=[f"{_JOB}-0"])
    backend: str = Field(examples=["aria"])
    num_circuits: int = Field(examples=[20])
    shots: int = Field(examples=[1000])
    attempt: int = Field(examples=[1])
    state: str = Field(examples=["DONE"])
    provider_job_id: str | None = Field(examples=["ionq-7f3a"])
    by_hand: bool = Field(examples=[False])
    error: str | None = Field(examples=[None])
    worker: str = Field(examples=["lab/7"])
    claimed_at: float = Field(examples=[1795442400.0])
    accepted_at: float | None = Field(examples=[1795442401.2])
    finished_at: float | None = Field(examples=[1795442460.9])


class ProviderJobs(_Model):
    """Every run of a job's batches."""

    id: str = Field(examples=[_JOB])
    provider_jobs: list[ProviderJob]


class Account(_Model):
    """What a job used, how long it took, and what went wrong."""

    id: str = Field(examples=[_JOB])
    options: dict[str, Any] = Field(examples=[{"seed_simulator": 7}])
    usage: dict[str, Any] = Field(examples=[{"provider_jobs": 1, "circuits": 20, "shots": 20000, "seconds": 61.2}])
    metrics: dict[str, Any] = Field(examples=[{"queue_s": 1.2, "run_s": 61.2, "collect_s": 0.1}])
    error: str | None = Field(examples=[None])


class Cancelled(JobStatus):
    """A job that was to be cancelled."""

    cancelled: bool = Field(description="Whether it was still open.", examples=[True])


class Retried(JobStatus):
    """A job of which what was missing is run again."""

    retried: int = Field(description="Batches that are run again.", examples=[2])
    held: int = Field(description="Batches on which a person decides first.", examples=[0])


class Overview(_Model):
    """The service over some time; each series has a number for each step, and may be older by a sixtieth of one."""

    now: str = Field(examples=[_AT])
    span: str = Field(examples=["1h"])
    step_s: float = Field(description="Seconds of a step.", examples=[60.0])
    at: list[float] = Field(description="When each step begins, in seconds since 1970.", examples=[[1795442400.0]])
    counts: dict[str, int] = Field(description="As it is now.", examples=[{"jobs_running": 3}])
    jobs: dict[str, list[int]] = Field(examples=[{"submitted": [4], "done": [3]}])
    runs: dict[str, list[int]] = Field(examples=[{"done": [12], "failed": [1]}])
    shots: dict[str, list[int]] = Field(examples=[{"done": [12000]}])
    in_flight: dict[str, list[int]] = Field(description="At the end of a step, by backend.", examples=[{"aria": [3]}])


class ErrorGroup(_Model):
    """Batches of a backend that failed with the same class and message."""

    backend: str = Field(examples=["aria"])
    kind: str | None = Field(examples=["QpuError"])
    message: str = Field(examples=["calibration lost"])
    batches: int = Field(examples=[2])
    jobs: list[str] = Field(examples=[[_JOB]])
    last_at: str = Field(examples=[_AT])
    retryable_jobs: list[str] = Field(description="Those that have ended.", examples=[[_JOB]])


class Errors(_Model):
    """What failed of jobs that are not complete."""

    errors: list[ErrorGroup]


class RetriedAll(_Model):
    """Jobs of which what was missing is run again."""

    retried: dict[str, int] = Field(description="Batches that are run again, by job.", examples=[{_JOB: 2}])


class Backend(_Model):
    """A backend: what it is made from, and what workers found out."""

    name: str = Field(examples=["aria"])
    status: str = Field(examples=["ready"])
    num_qubits: int | None = Field(examples=[25])
    max_circuits: int | None = Field(examples=[300])
    max_shots: int | None = Field(examples=[10000])
    max_payload_bytes: int | None = Field(examples=[None])
    error: str | None = Field(examples=[None])
    described_at: str | None = Field(examples=[_AT])
    workers: int = Field(examples=[2])
    waiting_batches: int = Field(examples=[4])
    factory: str | None = Field(description="What makes it; for operators.", examples=["our_lab.backends:aria"])
    learned: dict[str, int] = Field(description="Limits that its provider taught by refusals.", examples=[{}])


class BackendInFull(Backend):
    """A registered backend, with its settings."""

    adapter: str | None = Field(description="What speaks with its provider; for operators.", examples=[None])
    policy: dict[str, Any] = Field(description="How runs are watched and tried again.", examples=[{"max_attempts": 5}])
    price: dict[str, Any] | None = Field(description="What runs cost; for operators.", examples=[{"per_shot": 0.01}])


class Backends(_Model):
    """The registered backends, and those that batches wait for."""

    backends: list[Backend]


class Limits(_Model):
    """How much of a backend the fleet may use, and how that stands."""

    name: str = Field(examples=["aria"])
    limits: dict[str, Any] = Field(examples=[{"submit": "5/min", "requests": None, "in_flight": 3}])
    configured: dict[str, Any] = Field(examples=[{"submit": None, "requests": None, "in_flight": None}])
    submissions_left: int | None = Field(examples=[2])
    requests_left: int | None = Field(examples=[None])
    in_flight: int = Field(examples=[1])
    window: int | None = Field(examples=[None])
    snoozed_until: str | None = Field(examples=[None])
    snooze_reason: str | None = Field(examples=[None])
    breaker: str = Field(examples=["closed"])
    failures: int = Field(examples=[0])
    failure_reason: str | None = Field(examples=[None])
    next_probe_at: str | None = Field(examples=[None])


class Worker(_Model):
    """A worker that is alive."""

    id: str = Field(examples=["lab-7"])
    host: str = Field(examples=["lab"])
    pid: int = Field(examples=[4711])
    backends: list[str] = Field(examples=[["aria"]])
    concurrency: int = Field(examples=[2])
    batches_held: int = Field(examples=[1])
    embedded: bool = Field(description="A part of a client's process; it cannot be drained.", examples=[False])
    draining: bool = Field(description="It was asked to end.", examples=[False])
    started_at: str = Field(examples=[_AT])
    seen_at: str = Field(examples=[_AT])
    silent_s: float = Field(description="Seconds since it was seen.", examples=[1.5])


class Workers(_Model):
    """The workers that are alive."""

    workers: list[Worker]


class HeldBatch(_Model):
    """A batch of which nobody knows whether the provider took it."""

    id: str = Field(examples=[f"{_JOB}-0"])
    job: str = Field(examples=[_JOB])
    backend: str = Field(examples=["aria"])
    circuits: int = Field(examples=[20])
    shots: int = Field(examples=[1000])
    since: str | None = Field(examples=[_AT])
    why: str | None = Field(examples=["perhaps the provider took it"])
    error: str | None = Field(examples=["ReadTimeout"])
    resolve: list[str] = Field(examples=[[f"pubworks resolve {_JOB}-0 adopt PROVIDER_ID"]])


class HeldBatches(_Model):
    """The batches that wait for a decision, oldest first."""

    held: list[HeldBatch]


class Token(_Model):
    """A token, without its secret."""

    id: str = Field(examples=["5f0c9a1b2c3d"])
    owner: str = Field(examples=["ann"])
    scopes: list[str] = Field(examples=[["submit"]])
    valid: bool = Field(examples=[True])
    created_at: str = Field(examples=[_AT])
    expires_at: str | None = Field(examples=[None])
    revoked_at: str | None = Field(examples=[None])


class Tokens(_Model):
    """All tokens, oldest first."""

    tokens: list[Token]


class NewToken(_Model):
    """A token that was made, this once with its secret."""

    id: str = Field(examples=["5f0c9a1b2c3d"])
    owner: str = Field(examples=["ann"])
    scopes: list[str] = Field(examples=[["submit"]])
    token: str = Field(description="Shown once.", examples=["pw_5f0c9a1b2c3d_…"])


class RevokedToken(_Model):
    """A token that is good for nothing."""

    id: str = Field(examples=["5f0c9a1b2c3d"])
    revoked: bool = Field(description="Whether it was not revoked before.", examples=[True])


class Me(_Model):
    """Whose token was sent, and what it is good for."""

    owner: str = Field(examples=["ann"])
    token: str = Field(description="Its id.", examples=["5f0c9a1b2c3d"])
    scopes: list[str] = Field(examples=[["submit"]])


class AuditEntry(_Model):
    """Who changed what, and why."""

    id: int = Field(examples=[12])
    at: str = Field(examples=[_AT])
    who: str = Field(examples=["ann"])
    token: str | None = Field(examples=["5f0c9a1b2c3d"])
    what: str = Field(examples=[f"POST /v1/jobs/{_JOB}/cancel"])
    jobs: list[str] = Field(examples=[[_JOB]])
    why: str | None = Field(description="The header X-Reason.", examples=["wrong backend"])


class Audit(_Model):
    """What was changed, newest first."""

    entries: list[AuditEntry]


class Word(_Model):
    """A word that a shell may complete."""

    word: str = Field(examples=[_JOB])
    about: str = Field(description="What it is, in a few words.", examples=["DONE vqe scan"])


class Words(_Model):
    """Words that begin as it was asked for, 50 at most."""

    words: list[Word]


class Health(_Model):
    """Whether the server and its database answer."""

    status: str = Field(examples=["ok"])
    now: float = Field(description="The database's time, in seconds since 1970.", examples=[1795442400.0])
