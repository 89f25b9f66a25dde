"""What clients, handles and commands ask of the place where jobs are kept."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

if TYPE_CHECKING:
    from qiskit.primitives.containers.estimator_pub import EstimatorPub
    from qiskit.primitives.containers.sampler_pub import SamplerPub
    from qiskit.providers import BackendV2

    from pubworks.planning.quote import Plan
    from pubworks.planning.target import Target
    from pubworks.primitives.timeline import Event
    from pubworks.states import BatchState, JobState, Mode, Scope
    from pubworks.store.records import (
        BackendFacts,
        JobDraft,
        JobRecord,
        Progress,
        Resumed,
        Retried,
        SessionRecord,
        StoredChunk,
        StoredPub,
        Wanted,
    )
    from pubworks.views.held import Decision, HeldBatch
    from pubworks.views.limits import Limits
    from pubworks.views.session import JobView
    from pubworks.views.sessions import SessionView

    Pubs: TypeAlias = Sequence[SamplerPub | EstimatorPub]


class Pauses(Protocol):
    """Somebody who waits."""

    def pause(self, most_s: float | None) -> None:
        """Return when it is worth looking again, or after so many seconds; None: however long that is."""


class Watch(Pauses, Protocol):
    """Somebody who waits for a job."""

    def look(self) -> JobState:
        """Return its state as it is now."""

    async def alook(self) -> JobState:
        """Return as :meth:`look` does."""

    async def apause(self, most_s: float | None) -> None:
        """Wait as :meth:`pause` does; no thread waits."""


class Ledger(Protocol):
    """Where jobs are kept: a database that this process opens, or a server that has one.

    There is one ``Client``, one ``Job`` and one command line, and they do the same with either. Ids are whole, as
    :meth:`find` and :meth:`find_session` give them. What every method may raise is said here once: ``StoreUnreachable``
    and ``ServerUnreachable``, ``AccessError`` of a server, and ``JobNotFound`` or ``SessionNotFound`` for an id of
    nothing.
    """

    @property
    def place(self) -> str:
        """Its URL, without secrets: two ledgers of one place keep the same jobs."""

    @property
    def needs_secret(self) -> bool:
        """Whether somebody needs more than the place to open it."""

    @property
    def embedded(self) -> bool:
        """Whether jobs run in the processes that use it, as long as there is one."""

    def close(self) -> None:
        """Close its connections."""

    # Submitting

    def enter(self, backend: BackendV2 | str) -> str:
        """Return the name of a backend; an object becomes known to this process.

        Raises:
            TypeError: It is neither a backend nor a name.
            ConfigError: No backend has this name, or the jobs run where the object is not.
        """

    def target(self, name: str) -> Target:
        """Return what planning needs to know about a backend.

        Raises:
            SubmissionError: No worker has built the backend yet, or it cannot be built.
        """

    def submit(self, draft: JobDraft, pubs: Pubs) -> str:
        """Store a job, whole or not at all, and ring for it. Returns its id, or that of the job with its key.

        Args:
            draft: The job, planned.
            pubs: The coerced PUBs that it was made from.

        Raises:
            SubmissionError: The job with its idempotency key is another one, or it cannot be stored.
        """

    def quote(self, draft: JobDraft, pubs: Pubs) -> Plan:
        """Return what a job would take and cost; nothing is stored.

        Raises:
            ConfigError: The backend's price model fails.
        """

    # Jobs

    def find(self, part: str) -> str:
        """Return the whole id of the job whose id starts, or ends, so."""

    def record(self, job_id: str) -> JobRecord:
        """Return a job's row."""

    def view(self, job_id: str) -> JobView:
        """Return a job as it stands, with what it waits for."""

    def jobs(self, wanted: Wanted) -> list[tuple[JobRecord, list[str]]]:
        """Return the jobs that are wanted, each with its tags."""

    def state(self, job_id: str) -> JobState:
        """Return a job's state."""

    def watch(self, job_id: str) -> AbstractContextManager[Watch]:
        """Give somebody who waits for a job."""

    def watch_all(self) -> AbstractContextManager[Pauses]:
        """Give somebody who waits for anything to happen to any job."""

    def progress(self, job_id: str) -> Progress:
        """Return how far a job is."""

    def options(self, job_id: str) -> dict[str, Any]:
        """Return the options that a job was submitted with."""

    def inputs(self, job_id: str, *, circuits: bool) -> tuple[list[StoredPub], dict[str, bytes]]:
        """Return the PUBs of a job, and if asked for their circuits: compressed QPY by content hash."""

    def tags(self, job_id: str) -> list[str]:
        """Return a job's tags, sorted."""

    def set_tags(self, job_id: str, tags: Sequence[str]) -> None:
        """Give a job these tags and no others."""

    def set_shared(self, job_id: str, shared: bool) -> None:
        """Let every user of the server see a job, or its owner and operators only."""

    def usage(self, job_id: str) -> dict[str, Any]:
        """Return what a job used; see ``Job.usage``."""

    def metrics(self, job_id: str) -> dict[str, Any]:
        """Return how long a job took; see ``Job.metrics``."""

    def error(self, job_id: str) -> str | None:
        """Return what is wrong with a job and what to do."""

    def timeline(self, job_id: str) -> list[Event]:
        """Return what happened to a job, in order."""

    def runs(self, job_id: str) -> list[dict[str, Any]]:
        """Return every run of a job's batches; see ``Job.provider_jobs``."""

    def now(self) -> float:
        """Return the time of the clock that its times are of, in seconds since 1970."""

    def finished(self, job_id: str) -> list[int]:
        """Return the PUBs that have a result, in the order in which they got it."""

    def missing(self, job_id: str) -> dict[int, str]:
        """Return the PUBs without a result, and why."""

    def parts(self, job_id: str, pub: int) -> list[tuple[BatchState, str | None]]:
        """Return (state, reason) of the batches that cover a PUB."""

    def results(self, job_id: str, pubs: Sequence[int] | None = None) -> Iterator[tuple[int, bytes]]:
        """Yield the PUBs that have a result with what is stored of it, in order; of all PUBs, or of some."""

    def chunks(self, job_id: str, pub: int) -> AbstractContextManager[Iterator[StoredChunk]]:
        """Give the chunks of a PUB, in the order of shots, then circuits; a few at a time are in memory."""

    def cancel(self, job_id: str) -> bool:
        """Cancel a job. Returns whether it was still open."""

    def retry(self, job_id: str) -> Retried:
        """Run what is missing of a job again.

        Raises:
            NothingToRetry: It has not ended, or has all of its results.
        """

    def cancel_jobs(self, tags: Iterable[str], session: str | None) -> int:
        """Cancel the open jobs with all of these tags, of this session. Returns how many were cancelled."""

    # Sessions, and batches of jobs

    def open_session(
        self, session_id: str, *, mode: Mode, backend: str, max_time_s: float | None, idle_s: float
    ) -> None:
        """Store a session that takes jobs from now on."""

    def find_session(self, part: str) -> str:
        """Return the whole id of the session whose id starts, or ends, so."""

    def session(self, session_id: str) -> SessionRecord:
        """Return a session as it stands."""

    def session_view(self, session_id: str) -> SessionView:
        """Return a session as it stands, with how far its jobs are."""

    def sessions(
        self, limit: int | None, skip: int = 0, *, mode: Mode | None = None, backend: str | None = None
    ) -> list[SessionRecord]:
        """Return sessions, newest first."""

    def close_session(self, session_id: str) -> bool:
        """Have a session take no more jobs. Returns whether it took jobs until now."""

    def cancel_session(self, session_id: str) -> int:
        """Close a session and cancel its open jobs. Returns how many were cancelled."""

    # The fleet

    def facts(self) -> list[BackendFacts]:
        """Return what workers found out about each backend that they built."""

    def backends(self) -> list[dict[str, Any]]:
        """Return the registered backends and those that have waiting batches, as ``backends --json`` shows them."""

    def backend(self, name: str) -> dict[str, Any]:
        """Return a registered backend with its settings, as ``backends show --json`` shows it.

        Raises:
            ConfigError: No backend has this name.
        """

    def workers(self) -> list[dict[str, Any]]:
        """Return the workers that are alive, as ``workers --json`` shows them."""

    def drain(self, worker: str) -> dict[str, Any]:
        """Have the worker whose id starts, or ends, so take nothing more and end. Returns it as :meth:`workers` does.

        Raises:
            WorkerNotFound: No live worker, or several, have such an id, or it lives inside another program.
        """

    def limits(self, backend: str) -> Limits:
        """Return how much of a backend the fleet may use, and how that stands.

        Raises:
            ConfigError: No backend has this name.
        """

    def forget(self, backend: str) -> bool:
        """Forget the limits that a backend's provider taught. Returns whether there were any."""

    def resume(self, backend: str) -> Resumed:
        """Close a backend's breaker, end the pause that its provider asked for, and ring for what waits.

        Raises:
            ConfigError: No backend has this name.
        """

    def set_limits(self, backend: str, changes: dict[str, Any]) -> None:
        """Change limits of a backend, by the names of ``Quota``, for the whole fleet; None lifts one."""

    def held(self) -> list[HeldBatch]:
        """Return the batches that wait for a decision, oldest first."""

    def resolve(self, batch: HeldBatch, decision: Decision, provider_id: str | None) -> None:
        """Decide on a held batch.

        Raises:
            BatchNotHeld: It does not wait for a decision any more.
        """

    # Who may use the server, and who did what

    def tokens(self) -> list[dict[str, Any]]:
        """Return all tokens without their secrets, as ``token list --json`` shows them."""

    def create_token(self, owner: str, scopes: Sequence[Scope], lasts_s: float | None) -> dict[str, Any]:
        """Make a token and return it, this once with its secret, as ``token create --json`` shows it."""

    def revoke_token(self, token_id: str) -> bool:
        """Revoke a token at once. Returns whether it was not revoked before.

        Raises:
            TokenNotFound: There is none with this id.
        """

    def audit(self, limit: int) -> list[dict[str, Any]]:
        """Return what was changed, newest first, as ``audit --json`` shows it."""
