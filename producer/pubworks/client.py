"""The public face of pubworks: ``from pubworks.client import Batch, Client, Estimator, Sampler, Session``."""

from __future__ import annotations

import copyreg
import threading
from collections.abc import Iterable
from functools import cached_property
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from pubworks.errors import ConfigError
from pubworks.primitives import estimator as _estimator
from pubworks.primitives import sampler as _sampler
from pubworks.primitives import session as _session
from pubworks.primitives.filters import StatusLike, TimeLike, wanted
from pubworks.primitives.job import Job
from pubworks.states import Mode

if TYPE_CHECKING:
    from celery import Celery
    from qiskit.providers import BackendV2

    from pubworks.ledger.contract import Ledger, Pubs
    from pubworks.planning.quote import Plan
    from pubworks.planning.target import Target
    from pubworks.settings import Settings
    from pubworks.store.records import BackendFacts, JobDraft, JobRecord, Resumed
    from pubworks.store.store import Store
    from pubworks.worker.embedded import EmbeddedWorker
    from pubworks.worker.local import LocalWorker

__all__ = ["Batch", "Client", "Estimator", "Job", "Sampler", "Session"]


class Client:
    """Where jobs are kept and found.

    With the default settings everything is inside this process: a SQLite file under the user's data directory, the
    broker, and a worker thread that starts with the first job. With ``database`` and ``broker`` set, the jobs run
    wherever workers do; with a URL, a server keeps them::

        client = Client("https://pubworks.lab", token="pw_…")

    Args:
        place: The URL of a server, which keeps and runs the jobs; or settings. Settings are read from environment and
            file if not given.
        token: The token for the server at a URL.
        works: Whether this process runs the jobs where the broker is embedded; without, they wait for one that does.
        flags: Single settings that win over every other source, such as ``database="sqlite:///jobs.db"``; with
            ``url="local"`` everything is as :meth:`local` has it.

    Raises:
        ConfigError: A setting is wrong.
    """

    def __init__(
        self, place: Settings | str | None = None, *, token: str | None = None, works: bool = True, **flags: Any
    ) -> None:
        from pubworks.settings import Settings, load_settings

        if isinstance(place, str):
            flags |= {"url": place, "token": _token_for(place, token)}
        self.settings = place if isinstance(place, Settings) else load_settings(**{"token": token, **flags})
        self._works_here = works and self.settings.embedded
        self._starting = threading.Lock()
        self._worker: EmbeddedWorker | LocalWorker | None = None

    def __repr__(self) -> str:
        from pubworks.telemetry import masked

        return f"<Client of {masked(self.settings.url or self.settings.database_url)}>"

    @classmethod
    def local(cls, **flags: Any) -> Client:
        """Return a client for tests: all in the memory of this process, nothing on the disk, no broker.

        Each is independent of every other. When it is closed, its jobs are gone and no thread is left.

        Args:
            flags: Settings, as for the class; ``backends`` are these and no others.

        Raises:
            TypeError: A database or a broker is given.
            ConfigError: A setting is wrong.
        """
        from pubworks.settings import load_settings, with_backends

        if taken := {"database", "broker"} & flags.keys():
            raise TypeError(f"A local client has a {' and '.join(sorted(taken))} of its own; leave that out.")
        backends = flags.pop("backends", None)
        settings = load_settings(**flags | {"url": "local"})
        return cls(settings if backends is None else with_backends(settings, backends))

    @cached_property
    def ledger(self) -> Ledger:
        """Where jobs are kept, opened at its first use.

        Raises:
            SchemaOutOfDate: The database has another schema; the message names the command.
            StoreUnreachable: The database does not answer.
        """
        ledger = self._reached() if self.settings.is_remote else self._opened()
        _open.setdefault(ledger.place, self)
        return ledger

    def _reached(self) -> Ledger:
        from pubworks.ledger.remote import RemoteLedger

        return RemoteLedger(self.settings)

    def _opened(self) -> Ledger:
        from pubworks.ledger.stored import StoredLedger
        from pubworks.store.store import Store
        from pubworks.views.session import Session as View

        store = Store.open(self.settings.database_url)
        return StoredLedger(View(self.settings, store), ring=self._ring, wake=self._start_working)

    @property
    def store(self) -> Store:
        """The database, with its schema checked; an empty SQLite file gets its tables here.

        Raises:
            ConfigError: It is the server's.
        """
        from pubworks.ledger.stored import StoredLedger

        if not isinstance(self.ledger, StoredLedger):
            raise ConfigError(f"This client reaches {self.ledger.place}, whose database is not for clients.")
        return self.ledger.store

    @cached_property
    def app(self) -> Celery:
        """The Celery app that rings for this client's jobs."""
        from pubworks.queue import make_app

        return make_app(self.settings)

    def job(self, job_id: str) -> Job:
        """Return the handle of a job, from whichever process it was submitted.

        Args:
            job_id: Its id, or enough of its beginning or end to be the only one.

        Raises:
            TypeError: It is no text.
            JobNotFound: No job, or several, have such an id.
        """
        if not isinstance(job_id, str):
            raise TypeError(f"A job's id is a text, not {type(job_id).__name__}.")
        job = self._handle(self.ledger.record(self.ledger.find(job_id)))
        self._go_on(job)
        return job

    def jobs(
        self, limit: int | None = 10, skip: int = 0, *,
        backend: str | None = None, status: StatusLike | None = None, tags: Iterable[str] | None = None,
        session: Session | str | None = None, name: str | None = None, primitive: str | None = None,
        created_after: TimeLike | None = None, created_before: TimeLike | None = None, descending: bool = True,
    ) -> list[Job]:  # fmt: skip
        """Return handles of the jobs for which all that is given holds, newest first.

        Args:
            limit: How many at most; None for all.
            skip: How many to leave out before them.
            backend: The name of their backend.
            status: Their state, as ``JobState``, ``JobStatus`` or its name, or a list: any of them.
            tags: All of these tags.
            session: The session or batch that they were submitted to, or its id.
            name: Exactly this name.
            primitive: ``sampler`` or ``estimator``.
            created_after: Submitted then or later: a ``datetime`` (local time without a zone) or seconds since 1970.
            created_before: Submitted before.
            descending: Whether the newest come first.

        Raises:
            TypeError: A filter is of the wrong type.
            ValueError: There is no such state or primitive, or a number is negative.
        """
        from pubworks.primitives.display import Jobs

        asked = wanted(
            limit, skip, backend=backend, status=status, tags=tags, name=name, primitive=primitive,
            created_after=created_after, created_before=created_before, descending=descending,
            session=_id_of(session),
        )  # fmt: skip
        return Jobs(self._handle(record) for record, _ in self.ledger.jobs(asked))

    def cancel(self, *, tags: Iterable[str] | None = None, session: Session | str | None = None) -> int:
        """Cancel the open jobs with all of these tags, of this session or batch. Returns how many were cancelled.

        Raises:
            TypeError: Neither is given, or a tag is of the wrong type.
            SessionNotFound: There is no such session.
        """
        from pubworks.primitives.labels import check_tags

        checked = check_tags(tags)
        if not checked and session is None:
            raise TypeError("Say which jobs to cancel: cancel(tags=['scan']), or cancel(session=…).")
        if isinstance(session, str):
            session = self.ledger.find_session(session)
        return self.ledger.cancel_jobs(checked, _id_of(session))

    def sessions(
        self, limit: int | None = 10, skip: int = 0, *, mode: str | None = None, backend: str | None = None
    ) -> list[Session]:
        """Return handles of sessions and batches, newest first.

        Args:
            limit: How many at most; None for all.
            skip: How many to leave out before them.
            mode: Only each ``"session"``, or only each ``"batch"``.
            backend: The name of their backend.

        Raises:
            ValueError: There is no such mode.
        """
        of_mode = None if mode is None else Mode(mode)
        found = self.ledger.sessions(limit, skip, mode=of_mode, backend=backend)
        return [(Batch if record.mode == Mode.BATCH else Session)._of(record, self) for record in found]

    def backends(self) -> list[BackendFacts]:
        """Return what workers found out about each backend that they built."""
        return self.ledger.facts()

    def resume(self, backend: str) -> Resumed:
        """Have a backend's work go on at once, since you know that it is back: for operators.

        Its breaker is closed, and the pause that its provider asked for is over, for the whole fleet. If it is not
        back, failures open the breaker again, and the provider asks for another pause.

        Returns:
            Whether the ``breaker`` was open, whether there was a ``pause``, and how many batches are ``waiting``.

        Raises:
            ConfigError: No backend has this name.
            AccessError: The token does not reach so far.
        """
        return self.ledger.resume(backend)

    def enter(self, backend: BackendV2 | str) -> str:
        """Return the name of a backend; an object becomes known to this process.

        Raises:
            TypeError: It is neither a backend nor a name.
            ConfigError: No backend has this name, or workers elsewhere could not have the object.
        """
        return self.ledger.enter(backend)

    def target(self, name: str) -> Target:
        """Return what planning needs to know about a backend.

        Raises:
            SubmissionError: No worker has built the backend yet, or it cannot be built.
        """
        return self.ledger.target(name)

    def quote(self, draft: JobDraft, pubs: Pubs) -> Plan:
        """Return what a job would take and cost; nothing is stored.

        Args:
            draft: The job, planned.
            pubs: The coerced PUBs that it was made from.

        Raises:
            ConfigError: The backend's price model fails.
        """
        return self.ledger.quote(draft, pubs)

    def submit(self, draft: JobDraft, pubs: Pubs) -> Job:
        """Store a job, whole or not at all, and ring for it; or return the job that has its idempotency key.

        Args:
            draft: The job, planned.
            pubs: The coerced PUBs that it was made from.

        Raises:
            SubmissionError: The job with its idempotency key is another one.
        """
        stored = self.ledger.submit(draft, pubs)
        return Job(stored, self.ledger) if stored == draft.id else self.job(stored)

    @staticmethod
    def new_id() -> str:
        """Return a new job id: unique, and in order of time."""
        from ulid import ULID

        return str(ULID())

    def start_embedded(self, backend: str | None = None) -> EmbeddedWorker | LocalWorker:
        """Start the worker inside this process, once, and have it serve a backend."""
        with self._starting:
            if self._worker is None:
                self._worker = self._make_worker()
                self._worker.start()
        if backend is not None:
            self._worker.serve(backend)
        return self._worker

    def _make_worker(self) -> EmbeddedWorker | LocalWorker:
        if self.settings.is_local:
            from pubworks.worker.local import LocalWorker

            return LocalWorker(self.store, self.settings)
        from pubworks.worker.embedded import EmbeddedWorker

        return EmbeddedWorker(self.app, self.store, self.settings)

    def close(self) -> None:
        """Stop the embedded worker, if there is one, and close the database; jobs go on when it is opened again."""
        if self._worker is not None:
            self._worker.stop()
            self._worker = None
        if "ledger" in self.__dict__:
            for place in [place for place, client in _open.items() if client is self]:
                del _open[place]
            self.ledger.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ring(self, backend: str, times: int = 1) -> None:
        """Tell the workers of a backend that there is something to do: where the broker is embedded, the one here."""
        from pubworks.backends import live
        from pubworks.errors import BrokerUnreachable
        from pubworks.telemetry import log

        if self.settings.embedded and not self._works_here:
            return  # the broker reaches this process only
        if live.is_live(backend) and backend not in live.names():
            return  # an object of another process, which works on it
        try:
            if self._works_here:
                self.start_embedded(backend).ring(backend, times)
                return
            from pubworks.queue import ring

            ring(self.app, backend, times)
        except BrokerUnreachable as error:  # what is to be done is stored; the keeper of any worker rings for it
            log("keeper.error", error=error)

    def _handle(self, record: JobRecord) -> Job:
        return Job(record.id, self.ledger, record=record)

    def _go_on(self, job: Job) -> None:
        """In embedded mode, whoever holds the handle of an unfinished job also works on it."""
        if not job.in_final_state():
            self._start_working()

    def _start_working(self) -> None:
        if self._works_here:
            self.start_embedded()


_default: Client | None = None
_default_lock = threading.Lock()


def default_client() -> Client:
    """Return this process's default client, made from the settings at its first use."""
    global _default  # noqa: PLW0603
    with _default_lock:
        if _default is None:
            _default = Client()
        return _default


#: Clients of this process with an open database, by its place; and those that were made for unpickled handles.
_open: WeakValueDictionary[str, Client] = WeakValueDictionary()
_reopened: dict[str, Client] = {}


def reattach(job_id: str, place: str, needs_secret: bool) -> Job:
    """Return the handle of a job that was pickled, perhaps in another process.

    Args:
        job_id: Its id.
        place: Its database, without secrets.
        needs_secret: Whether it was opened with a secret, which only the settings of this process can give.

    Raises:
        ConfigError: This process's settings lead to another database, and a secret is needed; or its file is not here.
        JobNotFound: The database has no such job.
    """
    client = _open.get(place) or _reopened.get(place)
    if client is None:
        client = _reopened[place] = _client_of(place, needs_secret, job_id)
    return client.job(job_id)


def _client_of(place: str, needs_secret: bool, job_id: str) -> Client:
    from pubworks.settings import load_settings
    from pubworks.store.memory import is_memory
    from pubworks.store.place import missing_file, place_of

    if place.startswith("http"):
        return _client_at(place, needs_secret, job_id)
    if is_memory(place):
        raise ConfigError(
            f"Job {job_id} was in the memory of a local client, which is closed or in another process. Run it again, "
            "or keep jobs in a database: without PUBWORKS_URL=local."
        )
    settings = load_settings()
    if place_of(settings.database_url) == place:
        return default_client() if _default is None or _default.settings == settings else Client(settings)
    if needs_secret:
        raise ConfigError(
            f"Job {job_id} is in the database {place}, which needs a password that the handle does not hold, and this "
            f"process uses {place_of(settings.database_url)}. Set PUBWORKS_DATABASE to the first, with its password."
        )
    if missing := missing_file(place):
        raise ConfigError(f"Job {job_id} is in the file {missing}, which is not there. Unpickle it where the file is.")
    return Client(load_settings(database=place))


def _token_for(url: str, token: str | None) -> str | None:
    """Return the token that was given; none in place of that of another server, which the settings may name."""
    from pubworks.settings import load_settings

    if token is not None:
        return token
    known = load_settings().url.rstrip("/")
    return None if known in ("", url.rstrip("/")) else ""


def _client_at(url: str, needs_token: bool, job_id: str) -> Client:
    from pubworks.settings import load_settings

    settings = load_settings()
    if settings.url.rstrip("/") == url:
        return default_client() if _default is None or _default.settings == settings else Client(settings)
    if needs_token:
        raise ConfigError(
            f"Job {job_id} is at {url}, which needs a token that the handle does not hold. Set PUBWORKS_URL={url} and "
            "PUBWORKS_TOKEN, or make a Client for it first."
        )
    return Client(url, token="")  # whoever made the handle had none, and named the place


def _reduce(job: Job) -> tuple[Any, tuple[str, str, bool]]:
    ledger = job._ledger
    return reattach, (job.job_id(), ledger.place, ledger.needs_secret)


copyreg.pickle(Job, _reduce)


def _id_of(session: _session.Session | str | None) -> str | None:
    return session.session_id if isinstance(session, _session.Session) else session


class Session(_session.Session):
    __doc__ = _session.Session.__doc__
    _default_client = staticmethod(default_client)


class Batch(Session):
    """Jobs of one backend that belong together: followed, closed and cancelled as one.

    They wait in the queue like any others. Otherwise it is as a ``Session``, and ends by itself only if it is given a
    ``max_time``.

    Example::

        with Batch("aria") as batch:
            jobs = [Sampler(mode=batch).run(part) for part in parts]
    """

    _mode = Mode.BATCH


class Sampler(_sampler.Sampler):
    __doc__ = _sampler.Sampler.__doc__
    _default_client = staticmethod(default_client)


class Estimator(_estimator.Estimator):
    __doc__ = _estimator.Estimator.__doc__
    _default_client = staticmethod(default_client)
