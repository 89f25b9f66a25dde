"""Why a job has no result, or not all of it, and what to do."""

from __future__ import annotations

from pubworks.states import BatchState, JobState
from pubworks.store import ending, jobs
from pubworks.store.store import Store

#: Reasons that a text names; the rest are counted.
_NAMED = 3


def explain(store: Store, job_id: str) -> str | None:
    """Return what is wrong with a job and what to do, or None."""
    with store.read() as connection:
        state = jobs.get(connection, job_id).state
        progress = None if state.is_final else jobs.progress(connection, job_id)
    if state == JobState.CANCELLED:
        return _cancelled(store, job_id)
    if state in (JobState.FAILED, JobState.PARTIAL):
        return _failed(store, job_id, state)
    if progress and (held := progress.batches.get(BatchState.HELD)):
        return f"Job {job_id}: whether the provider took {held} of its runs is in doubt. Decide: pubworks held"
    if progress and (lost := progress.batches.get(BatchState.FAILED)):
        reasons = "; ".join(progress.reasons[:_NAMED])
        return f"Job {job_id}: {lost} batches failed so far: {reasons}. The others go on."
    return None


def _cancelled(store: Store, job_id: str) -> str:
    with store.read() as connection:
        late = ending.out_of_time(connection, job_id)
    why = f": {late}" if late else ""
    return f"Job {job_id} was cancelled{why}. result(partial=True) gives what was done, and retry() runs the rest."


def _failed(store: Store, job_id: str, state: JobState) -> str:
    with store.read() as connection:
        lost = jobs.failed_pubs(connection, job_id)
    reasons = "; ".join(f"PUB {pub}: {reason}" for pub, reason in list(lost.items())[:_NAMED])
    more = f" and {len(lost) - _NAMED} more" if len(lost) > _NAMED else ""
    rest = " result(partial=True) gives the other PUBs." if state == JobState.PARTIAL else ""
    mend = " Mend the cause; then job.retry() runs only what is missing."
    count = "1 PUB" if len(lost) == 1 else f"{len(lost)} PUBs"
    return f"Job {job_id}: {count} failed. {reasons}{more}.{rest}{mend}"
