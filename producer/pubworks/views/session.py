"""What people see of jobs and of the fleet, from one database; without Qiskit, which takes a second to import."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pubworks.errors import BrokerUnreachable
from pubworks.telemetry import log

if TYPE_CHECKING:
    from pubworks.policy import Policy
    from pubworks.settings import Settings
    from pubworks.store.records import JobRecord, Progress, Wait
    from pubworks.store.store import Store


@dataclass(frozen=True)
class JobView:
    """A job as it stands, and who could work on it."""

    record: JobRecord
    progress: Progress
    #: Live workers that serve its backend.
    num_workers: int
    #: Whether the broker, and so a worker, lives inside each process.
    embedded: bool
    #: What its batches wait for that nobody works on.
    waits: tuple[Wait, ...] = ()
    tags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Session:
    """The settings and the database of one command."""

    settings: Settings
    store: Store

    def find(self, job_id: str, viewer: str | None = None) -> str:
        """Return the whole id of a job, among those that ``viewer`` may see.

        Raises:
            JobNotFound: No job, or several, have such an id.
        """
        from pubworks.store import jobs

        with self.store.read() as connection:
            return jobs.find(connection, job_id, viewer)

    def view(self, job_id: str) -> JobView:
        """Return a job as it stands."""
        from pubworks.store import fleet, jobs, listing, waiting

        with self.store.read() as connection:
            record, progress = jobs.get(connection, job_id), jobs.progress(connection, job_id)
            workers = fleet.list_workers(connection, self.settings.lease_s)
            tags = listing.tags_of(connection, [job_id])[job_id]
            waits = waiting.waits(connection, job_id, self.policy(record.backend)) if record.batches_left else ()
        serving = sum(record.backend in worker.backends for worker in workers)
        return JobView(record, progress, serving, self.settings.embedded, tuple(waits), tuple(tags))

    def policy(self, backend: str) -> Policy:
        """Return how a backend's failures are judged; the default for one that has no table."""
        from pubworks.policy import Policy

        entry = self.settings.backends.get(backend)
        return entry.policy if entry else Policy()

    def ring(self, backend: str, times: int = 1) -> None:
        """Tell the workers of a backend that batches are due; without a broker, their keeper finds it out."""
        from pubworks.queue import make_app, ring

        if self.settings.embedded or backend.startswith("live."):
            return  # the broker reaches its own process only
        try:
            ring(make_app(self.settings), backend, times)
        except BrokerUnreachable as error:
            log("keeper.error", logging.WARNING, error=error)
