"""One PUB of a job: how it stands, why, and its result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import index
from typing import TYPE_CHECKING

from pubworks.codec.results import decode
from pubworks.states import BatchState, JobState

if TYPE_CHECKING:
    from qiskit.primitives import PubResult

    from pubworks.ledger.contract import Ledger


@dataclass(frozen=True)
class PubView:
    """One PUB of a job at one moment."""

    position: int
    #: As of a job of this PUB alone.
    state: JobState
    #: Why it failed, or what it waits for; None: for its turn, or it is done.
    reason: str | None = None
    #: Its result, if there is one.
    result: PubResult | None = field(default=None, repr=False)


def view_of(ledger: Ledger, job_id: str, position: int) -> PubView:
    """Return how a PUB stands.

    Raises:
        IndexError: The job has no such PUB.
        JobNotFound: The database has no such job.
    """
    position = _position(job_id, position, ledger.record(job_id).num_pubs)
    found = dict(ledger.results(job_id, [position]))
    if found:
        return PubView(position, JobState.DONE, None, decode(found[position]))
    parts = ledger.parts(job_id, position)
    return PubView(position, _state({state for state, _ in parts}), _reason(parts))


def _position(job_id: str, position: int, total: int) -> int:
    try:
        return range(total)[index(position)]
    except IndexError:
        there = f"PUBs 0 to {total - 1}" if total else "no PUBs"
        raise IndexError(f"Job {job_id} has {there}, and no PUB {position}.") from None


def _state(states: set[BatchState]) -> JobState:
    if states == {BatchState.PENDING}:
        return JobState.QUEUED
    if states <= {BatchState.DONE} or not all(state.is_final for state in states):
        return JobState.RUNNING  # if only to be merged
    return JobState.FAILED if BatchState.FAILED in states else JobState.CANCELLED


def _reason(parts: Sequence[tuple[BatchState, str | None]]) -> str | None:
    """Return the reason of the part that is worst off."""
    worst = (BatchState.FAILED, BatchState.CANCELLED, BatchState.HELD)
    told = [(worst.index(state) if state in worst else len(worst), reason) for state, reason in parts if reason]
    return min(told)[1] if told else None
