"""What happened to a job, in words."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from pubworks.clock import utc

if TYPE_CHECKING:
    from sqlalchemy import Row

    from pubworks.store.store import Store

#: Texts by event; what an event says of itself is put in.
_TEXTS = {
    "submitted": "submitted; batches: {batches}",
    "claimed": "taken by worker {worker}",
    "accepted": "accepted by the provider as {provider_job_id}",
    "adopted": "found at the provider as {provider_job_id}",
    "done": "its results are stored",
    "put back": "to be run again: {reason}",
    "released": "given back: {reason}",
    "in doubt": "perhaps the provider took it: {reason}",
    "held": "held for a decision: {reason}",
    "fetch failed": "its result could not be fetched: {reason}",
    "split": "halved: {reason}",
    "rest": "what its run left to do: {reason}",
    "failed": "failed: {error}",
    "cancelled": "cancelled; batches that were never run: {batches}",
    "asked to cancel": "the provider was asked to cancel {provider_job_id}",
    "cancel refused": "the provider does not cancel {provider_job_id}: {reason}",
    "run cancelled": "{provider_job_id} was cancelled at the provider",
    "shared": "shared with all users",
    "unshared": "not shared with all users any more",
    "finished": "ended as {state}",
    "retried": "retried; batches to be run again: {batches}, held for a decision: {held}",
}


@dataclass(frozen=True)
class Event:
    """One thing that happened to a job, or to one of its batches."""

    at: datetime
    what: str
    #: Which batch, as at the end of its id: its position, and ``.0`` and ``.1`` for halves; None for the whole job.
    batch: str | None = None
    detail: dict[str, Any] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """What happened, for people.

        >>> Event(datetime(2026, 1, 1), "claimed", "3.0", {"worker": "lab/7"}).text
        'batch 3.0: taken by worker lab/7'
        """
        subject = "" if self.batch is None else f"batch {self.batch}: "
        try:
            return subject + _TEXTS[self.what].format(**self.detail)
        except KeyError:  # an event of another version
            return subject + ", ".join([self.what, *(f"{key} {value}" for key, value in self.detail.items())])

    def __str__(self) -> str:
        return f"{self.at:%Y-%m-%d %H:%M:%S} {self.text}"


def timeline(store: Store, job_id: str, newest: int | None = None) -> list[Event]:
    """Return what happened to a job, in order: all of it, or the newest events only."""
    from pubworks.store import account

    with store.read() as connection:
        rows = account.happened(connection, job_id, newest)
    return [event_of(row) for row in rows]


def event_of(row: Row[Any]) -> Event:
    """Return what a row of the events tells."""
    return Event(utc(row.at), row.what, _of_job(row.batch_id), dict(row.detail or {}))


def _of_job(batch_id: str | None) -> str | None:
    return None if batch_id is None else batch_id.rpartition("-")[2]
