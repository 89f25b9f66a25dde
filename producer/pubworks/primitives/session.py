"""Session and Batch: jobs that belong together, from whichever process they are submitted."""

from __future__ import annotations

from contextvars import ContextVar, Token
from typing import TYPE_CHECKING, Any, ClassVar, Self

from pubworks.clock import iso
from pubworks.errors import SessionNotFound
from pubworks.spans import seconds_of
from pubworks.states import IDLE_S, LONGEST_S, Mode, SessionState

if TYPE_CHECKING:
    from qiskit.providers import BackendV2

    from pubworks.client import Client
    from pubworks.primitives.job import Job
    from pubworks.store.records import SessionProgress, SessionRecord

_current: ContextVar[Session | None] = ContextVar("pubworks_session", default=None)

#: What IBM's runtime calls the modes.
_MODES = {Mode.SESSION: "dedicated", Mode.BATCH: "batch"}


def current_session() -> Session | None:
    """Return the session of the ``with`` block that surrounds the caller."""
    return _current.get()


class Session:
    """Jobs of one backend that go before those of others, one experiment after the other.

    Its first job waits in the queue like any other. From then on, what it submits is run next, until it had no job for
    ``interactive_timeout``, when it queues again, or until ``max_time`` is over. Then its running jobs go on, and those
    that wait are cancelled. The names are those of IBM's runtime.

    Example::

        with Session("aria", max_time="2h") as session:
            job = Sampler(mode=session).run([circuit])

    Leaving the block closes it: it takes no more jobs, and those that it has go on.

    Args:
        backend: A ``BackendV2`` object (embedded mode only) or the name of a registered backend.
        max_time: Seconds from the start of its first job, or a text such as ``"2h 30m"``; 8 hours if not given.
        interactive_timeout: Seconds, or a text, that it may be without a job before it queues again.
        client: Where its jobs go; the default client if not given.

    Raises:
        TypeError: There is no backend, or a time is of the wrong type.
        ValueError: A time is none.
        ConfigError: No backend has this name.
    """

    _mode: ClassVar[Mode] = Mode.SESSION
    #: Returns where jobs go if nobody says.
    _default_client: ClassVar[staticmethod[[], Client]]

    def __init__(
        self, backend: BackendV2 | str, max_time: float | str | None = None, *,
        interactive_timeout: float | str = IDLE_S, client: Client | None = None,
    ) -> None:  # fmt: skip
        client = client or self._default_client()
        max_time_s = LONGEST_S[self._mode] if max_time is None else seconds_of(max_time, "max_time")
        idle_s = seconds_of(interactive_timeout, "interactive_timeout")
        self._hold(client.new_id(), client.enter(backend), client)
        client.ledger.open_session(
            self._id, mode=self._mode, backend=self._backend, max_time_s=max_time_s, idle_s=idle_s
        )

    def _hold(self, session_id: str, backend: str, client: Client) -> None:
        self._id, self._backend, self._client = session_id, backend, client
        self._entered: list[Token[Session | None]] = []

    @classmethod
    def from_id(cls, session_id: str, client: Client | None = None) -> Self:
        """Return the handle of a session that was opened before, by any process.

        Args:
            session_id: Its id, or enough of its beginning or end to be the only one.
            client: Where it is kept; the default client if not given.

        Raises:
            SessionNotFound: No session, or several, have such an id; or it is one of another kind.
        """
        client = client or cls._default_client()
        record = client.ledger.session(client.ledger.find_session(session_id))
        if record.mode != cls._mode:
            kind = record.mode.title()
            raise SessionNotFound(f"{record.id} is a {record.mode}, no {cls._mode}: {kind}.from_id({record.id!r}).")
        return cls._of(record, client)

    @classmethod
    def _of(cls, record: SessionRecord, client: Client) -> Self:
        handle = cls.__new__(cls)
        handle._hold(record.id, record.backend, client)
        return handle

    @property
    def session_id(self) -> str:
        """The id by which any process finds it."""
        return self._id

    @property
    def service(self) -> Client:
        """The client that its jobs go to."""
        return self._client

    def backend(self) -> str:
        """Return the name of its backend."""
        return self._backend

    def close(self) -> None:
        """Take no more jobs; those that it has go on, in their order."""
        self._client.ledger.close_session(self._id)

    def cancel(self) -> int:
        """Take no more jobs, and cancel those that have not ended. Returns how many were cancelled."""
        return self._client.ledger.cancel_session(self._id)

    def status(self) -> str:
        """Return its state in the words of IBM's runtime.

        ``Pending`` (before its first job starts, and when it has to queue again), ``In progress, accepting new jobs``,
        ``In progress, not accepting new jobs``, ``Closed``.
        """
        return self.record().status

    def details(self) -> dict[str, Any]:
        """Return all about it, under the names of IBM's runtime; times are ISO 8601 in UTC, spans are seconds."""
        view = self._client.ledger.session_view(self._id)
        return details_of(view.record, view.usage_s)

    def usage(self) -> float:
        """Return the seconds that it used.

        Those of a session go from the start of its first job to the end of its last, or to now. Those of a batch are
        the seconds that the runs of its jobs took at the provider, their queue there included.
        """
        return self._client.ledger.session_view(self._id).usage_s

    def progress(self) -> SessionProgress:
        """Return how many of its jobs, and of their batches, are in which state."""
        return self._client.ledger.session_view(self._id).progress

    def jobs(self, limit: int | None = None, **filters: Any) -> list[Job]:
        """Return handles of its jobs, newest first; the filters are those of ``client.jobs``."""
        return self._client.jobs(limit, session=self._id, **filters)

    def record(self) -> SessionRecord:
        """Return its row, as it stands."""
        return self._client.ledger.session(self._id)

    def __enter__(self) -> Self:
        self._entered.append(_current.set(self))
        return self

    def __exit__(self, *_: object) -> None:
        _current.reset(self._entered.pop())
        self.close()

    def __eq__(self, other: object) -> bool:
        return self._id == other._id if isinstance(other, Session) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._id)

    def __repr__(self) -> str:
        return f"<{self._mode.title()} {self._id} {self.status()!r} on {self._backend}>"


def details_of(session: SessionRecord, usage_s: float) -> dict[str, Any]:
    """Return all about a session, under the names of IBM's runtime."""
    reached = {
        SessionState.OPEN: session.created_at, SessionState.ACTIVE: session.started_at,
        SessionState.CLOSED: session.ended_at,
    }  # fmt: skip
    return {
        "id": session.id,
        "backend_name": session.backend,
        "interactive_timeout": session.idle_s,
        "max_time": session.max_time_s,
        "active_timeout": session.max_time_s,
        "state": str(session.state),
        "accepting_jobs": session.takes_jobs,
        "last_job_started": iso(session.last_job_started_at),
        "last_job_completed": iso(session.last_job_ended_at),
        "started_at": iso(session.started_at),
        "closed_at": iso(session.closed_at),
        "activated_at": iso(session.active_since),
        "mode": _MODES[session.mode],
        "usage_time": usage_s,
        "timestamps": [{"status": str(state), "timestamp": iso(at)} for state, at in reached.items() if at],
    }
