"""The ledger of a database that this process opens."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pubworks.ledger.looks import StoredWatch
from pubworks.states import JobState

if TYPE_CHECKING:
    from qiskit.providers import BackendV2

    from pubworks.ledger.contract import Pauses, Pubs, Watch
    from pubworks.planning.prices import Prices
    from pubworks.planning.quote import Plan
    from pubworks.planning.target import Target
    from pubworks.primitives.timeline import Event
    from pubworks.states import BatchState, Mode, Scope
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
    from pubworks.store.store import Store
    from pubworks.views.held import Decision, HeldBatch
    from pubworks.views.limits import Limits
    from pubworks.views.session import JobView, Session
    from pubworks.views.sessions import SessionView

#: Bytes of a value over which its connection is not used again: libpq keeps the room for the largest one it sent.
_LARGE = 8 << 20


class StoredLedger:
    """The ledger of a database; see :class:`pubworks.ledger.contract.Ledger`.

    Args:
        session: The settings and the database.
        ring: Called with a backend's name and a number of batches, to tell its workers that they have something to do.
        wake: Called when somebody begins to wait for a job: whoever waits in the embedded mode also works.
    """

    def __init__(
        self, session: Session, *, ring: Callable[[str, int], object] | None = None,
        wake: Callable[[], object] | None = None,
    ) -> None:  # fmt: skip
        self._session = session
        self._ring = ring or session.ring
        self._wake = wake
        self._live_targets: dict[str, Target] = {}

    @property
    def store(self) -> Store:
        """The database."""
        return self._session.store

    @property
    def place(self) -> str:
        from pubworks.store.place import place_of

        return place_of(self.store.url)

    @property
    def needs_secret(self) -> bool:
        from pubworks.store.place import has_secrets

        return has_secrets(self.store.url)

    @property
    def embedded(self) -> bool:
        return self._session.settings.embedded

    def close(self) -> None:
        self.store.close()

    @cached_property
    def _prices(self) -> Prices:
        from pubworks.planning.prices import Prices

        return Prices(self._session.settings)

    # Submitting

    def enter(self, backend: BackendV2 | str) -> str:
        if isinstance(backend, str):  # without Qiskit, which takes a second to import
            from pubworks.backends import registry

            return registry.find(self._session.settings, backend).name
        from pubworks.ledger import targets

        return targets.enter(self._session.settings, backend)

    def target(self, name: str) -> Target:
        from pubworks.backends import live
        from pubworks.ledger import targets

        if live.is_live(name):
            if name not in self._live_targets:
                self._live_targets[name] = targets.of_object(name)
            return self._live_targets[name]
        return targets.of_name(self._session.settings, self.store, name)

    def submit(self, draft: JobDraft, pubs: Pubs) -> str:  # noqa: ARG002
        from pubworks.store import jobs
        from pubworks.telemetry import log

        with self.store.write() as connection:
            stored = jobs.submit(connection, draft)
            if connection.dialect.name == "postgresql" and _largest(draft) > _LARGE:
                connection.detach()  # it is closed instead of used again
        if stored == draft.id:
            log("job.submitted", job=draft.id, batches=len(draft.batches))
            self._ring(draft.backend, len(draft.batches))
        return stored

    def quote(self, draft: JobDraft, pubs: Pubs) -> Plan:  # noqa: ARG002
        from pubworks.backends import live, registry
        from pubworks.planning.quote import quote
        from pubworks.store.pace import ahead, pace

        name = draft.backend
        quota = None if live.is_live(name) else registry.find(self._session.settings, name).quota
        with self.store.read() as connection:
            known, before = pace(connection, name, quota), ahead(connection, name)
        price = self._prices.of(name, build=True)
        return quote(draft, self.target(name), pace=known, ahead=before, price=price)

    # Jobs

    def find(self, part: str) -> str:
        return self._session.find(part)

    def record(self, job_id: str) -> JobRecord:
        from pubworks.store import jobs

        with self.store.read() as connection:
            return jobs.get(connection, job_id)

    def view(self, job_id: str) -> JobView:
        return self._session.view(job_id)

    def jobs(self, wanted: Wanted) -> list[tuple[JobRecord, list[str]]]:
        from pubworks.store import listing

        with self.store.read() as connection:
            found = listing.find_jobs(connection, wanted)
            tags = listing.tags_of(connection, [record.id for record in found])
        return [(record, tags[record.id]) for record in found]

    def state(self, job_id: str) -> JobState:
        from pubworks.store import jobs

        if job_id in self.store.done:
            return JobState.DONE
        with self.store.read() as connection:
            return jobs.state(connection, job_id)

    @contextmanager
    def watch(self, job_id: str) -> Iterator[Watch]:
        yield StoredWatch(self, job_id, self._wake)

    @contextmanager
    def watch_all(self) -> Iterator[Pauses]:
        yield StoredWatch(self, "", self._wake)

    def progress(self, job_id: str) -> Progress:
        from pubworks.store import jobs

        with self.store.read() as connection:
            progress = jobs.progress(connection, job_id)
        self._expect(job_id, progress.num_pubs)
        return progress

    def options(self, job_id: str) -> dict[str, Any]:
        from pubworks.store import jobs

        with self.store.read() as connection:
            return jobs.options(connection, job_id)

    def inputs(self, job_id: str, *, circuits: bool) -> tuple[list[StoredPub], dict[str, bytes]]:
        from pubworks.store import jobs

        with self.store.read() as connection:
            total = jobs.get(connection, job_id).num_pubs
            found = jobs.load_pubs(connection, job_id, range(total))
            hashes = list({pub.circuit for pub in found.values()})
            qpy = jobs.load_circuits(connection, hashes) if circuits else {}
        return [found[position] for position in range(total)], qpy

    def tags(self, job_id: str) -> list[str]:
        from pubworks.store import jobs, listing

        with self.store.read() as connection:
            jobs.state(connection, job_id)  # says it if there is no such job
            return listing.tags_of(connection, [job_id])[job_id]

    def set_tags(self, job_id: str, tags: Sequence[str]) -> None:
        from pubworks.store import listing

        with self.store.write() as connection:
            listing.set_tags(connection, job_id, tags)

    def set_shared(self, job_id: str, shared: bool) -> None:
        from pubworks.store import listing

        with self.store.write() as connection:
            listing.set_shared(connection, job_id, shared)

    def usage(self, job_id: str) -> dict[str, Any]:
        from pubworks.primitives.account import usage

        used = usage(self.store, job_id, self._prices.of)
        self._expect(job_id, used["backends"])
        return used

    def metrics(self, job_id: str) -> dict[str, Any]:
        from pubworks.primitives.account import metrics

        return metrics(self.store, job_id)

    def error(self, job_id: str) -> str | None:
        from pubworks.primitives.explain import explain

        return explain(self.store, job_id)

    def timeline(self, job_id: str) -> list[Event]:
        from pubworks.primitives.timeline import timeline

        happened = timeline(self.store, job_id)
        self._expect(job_id, happened)
        return happened

    def runs(self, job_id: str) -> list[dict[str, Any]]:
        from pubworks.store import jobs

        with self.store.read() as connection:
            rows = [dict(row._mapping) for row in jobs.runs(connection, job_id)]
        self._expect(job_id, rows)
        for row in rows:
            row["attempt"] = row.pop("number")
        return rows

    def _expect(self, job_id: str, found: object) -> None:
        """Ask for the job where nothing of it was found: there may be none.

        Raises:
            JobNotFound: There is none.
        """
        if not found:
            self.record(job_id)

    def now(self) -> float:
        from sqlalchemy import select

        from pubworks.store.engine import now

        with self.store.read() as connection:
            return float(connection.execute(select(now())).scalar_one())

    def finished(self, job_id: str) -> list[int]:
        from pubworks.store import results

        with self.store.read() as connection:
            return results.finished_pubs(connection, job_id)

    def missing(self, job_id: str) -> dict[int, str]:
        from pubworks.store import jobs

        with self.store.read() as connection:
            return jobs.failed_pubs(connection, job_id)

    def parts(self, job_id: str, pub: int) -> list[tuple[BatchState, str | None]]:
        from pubworks.store import jobs

        with self.store.read() as connection:
            return jobs.parts_of_pub(connection, job_id, pub)

    def results(self, job_id: str, pubs: Sequence[int] | None = None) -> Iterator[tuple[int, bytes]]:
        from pubworks.store import results

        with self.store.read() as connection:
            found = results.load_results(connection, job_id, None if pubs is None else list(pubs))
        yield from found.items()

    @contextmanager
    def chunks(self, job_id: str, pub: int) -> Iterator[Iterator[StoredChunk]]:
        from pubworks.store import results

        with self.store.read(together=True) as connection:
            yield results.iterate_chunks(connection, job_id, pub)

    def cancel(self, job_id: str) -> bool:
        from pubworks.store import jobs

        with self.store.write() as connection:
            cancelled = jobs.cancel(connection, job_id)
        self._expect(job_id, cancelled)
        if cancelled:
            self._ring(self.record(job_id).backend, 1)
        return cancelled

    def retry(self, job_id: str) -> Retried:
        from pubworks.store.retry import retry

        with self.store.write() as connection:
            again = retry(connection, job_id)
        if again.batches:
            self._ring(self.record(job_id).backend, again.batches)
        return again

    def cancel_jobs(self, tags: Iterable[str], session: str | None) -> int:
        from pubworks.store import ending

        return ending.cancel_jobs(self.store, tags=tags, session=session)

    # Sessions

    def open_session(
        self, session_id: str, *, mode: Mode, backend: str, max_time_s: float | None, idle_s: float
    ) -> None:
        from pubworks.store import sessions

        with self.store.write() as connection:
            sessions.open_session(
                connection, session_id, mode=mode, backend=backend, max_time_s=max_time_s, idle_s=idle_s
            )

    def find_session(self, part: str) -> str:
        from pubworks.store import sessions

        with self.store.read() as connection:
            return sessions.find(connection, part)

    def session(self, session_id: str) -> SessionRecord:
        from pubworks.store import sessions

        with self.store.read() as connection:
            return sessions.get(connection, session_id)

    def session_view(self, session_id: str) -> SessionView:
        from pubworks.views import sessions

        return sessions.look(self._session, session_id)

    def sessions(
        self, limit: int | None, skip: int = 0, *, mode: Mode | None = None, backend: str | None = None
    ) -> list[SessionRecord]:
        from pubworks.store import sessions

        with self.store.read() as connection:
            return sessions.newest(connection, limit, skip, mode=mode, backend=backend)

    def close_session(self, session_id: str) -> bool:
        from pubworks.store import sessions

        with self.store.write() as connection:
            return sessions.close(connection, session_id)

    def cancel_session(self, session_id: str) -> int:
        from pubworks.store import ending

        return ending.cancel_session(self.store, session_id)

    # The fleet

    def facts(self) -> list[BackendFacts]:
        from pubworks.store import fleet

        with self.store.read() as connection:
            return fleet.list_backends(connection)

    def backends(self) -> list[dict[str, Any]]:
        from pubworks.views.fleet import document, look_at_backends

        return [document(view) for view in look_at_backends(self._session)]

    def backend(self, name: str) -> dict[str, Any]:
        from pubworks.views.fleet import in_full, look_at

        return in_full(look_at(self._session, name))

    def workers(self) -> list[dict[str, Any]]:
        from pubworks.store import fleet
        from pubworks.views.fleet import worker_document

        with self.store.read() as connection:
            rows = fleet.list_workers(connection, self._session.settings.lease_s)
        return [worker_document(row) for row in rows]

    def drain(self, worker: str) -> dict[str, Any]:
        from pubworks.store import fleet
        from pubworks.views.fleet import worker_document

        with self.store.write() as connection:
            return worker_document(fleet.drain(connection, worker, self._session.settings.lease_s))

    def limits(self, backend: str) -> Limits:
        from pubworks.views.limits import check_name, look

        check_name(self._session, backend)
        return look(self._session, backend)

    def forget(self, backend: str) -> bool:
        from pubworks.store import fleet
        from pubworks.views.limits import check_name

        check_name(self._session, backend)
        with self.store.write() as connection:
            return fleet.forget(connection, backend)

    def resume(self, backend: str) -> Resumed:
        from pubworks.store import limits
        from pubworks.views.limits import check_name

        check_name(self._session, backend)
        with self.store.write() as connection:
            resumed = limits.resume(connection, backend)
        self._ring(backend, max(1, resumed.waiting))
        return resumed

    def set_limits(self, backend: str, changes: dict[str, Any]) -> None:
        from pubworks.views.limits import change

        change(self._session, backend, changes)

    def held(self) -> list[HeldBatch]:
        from pubworks.views.held import list_held

        with self.store.read() as connection:
            return list_held(connection)

    def resolve(self, batch: HeldBatch, decision: Decision, provider_id: str | None) -> None:
        from pubworks.store import doubts

        with self.store.write() as connection:
            doubts.resolve(connection, batch.id, str(decision), provider_id)
        self._ring(batch.backend, 1)

    # Who may use the server, and who did what

    def tokens(self) -> list[dict[str, Any]]:
        from pubworks.store import tokens
        from pubworks.views.documents import of_token

        with self.store.read() as connection:
            return [of_token(row) for row in tokens.list_tokens(connection)]

    def create_token(self, owner: str, scopes: Sequence[Scope], lasts_s: float | None) -> dict[str, Any]:
        from pubworks.store import tokens

        with self.store.write() as connection:
            token_id, token = tokens.create(connection, owner, scopes, lasts_s)
        return {"id": token_id, "owner": owner, "scopes": sorted(scopes), "token": token}

    def revoke_token(self, token_id: str) -> bool:
        from pubworks.store import tokens

        with self.store.write() as connection:
            return tokens.revoke(connection, token_id)

    def audit(self, limit: int) -> list[dict[str, Any]]:
        from pubworks.store import audit
        from pubworks.views.documents import of_audit

        with self.store.read() as connection:
            return [of_audit(row) for row in audit.entries(connection, limit)]


def _largest(draft: JobDraft) -> int:
    """Return the bytes of the largest value of a job."""
    of_pubs = (blob for pub in draft.pubs for blob in (pub.parameter_values, pub.measurement))
    return max((len(blob) for blob in (*draft.circuits.values(), *of_pubs) if blob is not None), default=0)
