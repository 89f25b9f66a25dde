"""Storing runs that came back."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import Any

from pubworks.collector.collect import collect, merge_alone
from pubworks.errors import ProviderError, StoreUnreachable, Transient
from pubworks.store import batches, limits
from pubworks.store.records import Run
from pubworks.telemetry import log
from pubworks.worker import trouble
from pubworks.worker.desk import Desk
from pubworks.worker.reading import read
from pubworks.worker.submission import Work


def landed(desk: Desk, work: Work, data: list[Any], provider_job_id: str | None, over_at: float) -> Run | None:
    """Return a run in the form in which it is stored; None: it cannot be understood, and its batch has failed.

    Args:
        desk: The backend.
        work: What was run.
        data: What the provider returned for each circuit.
        provider_job_id: Its id of the run.
        over_at: When it was over, or was seen to be, by the monotonic clock.
    """
    try:
        came = read(desk, work, data)
        chunks = [part.to_bytes() for part in came.outcomes]
    except StoreUnreachable:
        raise
    except Transient as error:  # as one that the provider says failed: asking again would give the same
        trouble.after_result(desk, work.claim, ProviderError(str(error)))
        return None
    except Exception as error:
        trouble.unreadable(desk, work.claim, error)
        return None
    log("run.fetched", logging.DEBUG, batch=work.claim.batch_id, backend=desk.backend)
    merged = {pub: merge_alone(work.pubs[pub], came.outcomes[position]) for position, pub in came.work.covered_alone()}
    return Run(came.work.claim, chunks, merged, provider_job_id, came.rests, over_at)


def store(desk: Desk, runs: Sequence[Run], *, durable: bool = True) -> None:
    """Store runs, all in one transaction, and merge the PUBs that they complete.

    Args:
        desk: The backend.
        runs: The runs.
        durable: Whether they must outlive a power failure; without, they would be run again.
    """
    try:
        ready = _complete(desk, runs, durable=durable)
    except StoreUnreachable:
        raise
    except Exception as error:  # one that cannot be stored must not hold up the others
        if len(runs) == 1:
            trouble.unreadable(desk, runs[0].claim, error)
            return
        for run in runs:
            store(desk, [run], durable=durable)
        return
    for run in runs:
        _tell_done(desk, run)
    for job_id, pubs in ready.items():
        if pubs:
            began = time.monotonic()
            collect(desk.store, job_id, pubs)
            seconds = time.monotonic() - began
            log("job.merged", logging.DEBUG, job=job_id, backend=desk.backend, pubs=len(pubs), seconds=seconds)


def _tell_done(desk: Desk, run: Run) -> None:
    claim = run.claim
    log(
        "batch.done", batch=claim.batch_id, backend=desk.backend, circuits=claim.num_circuits,
        shots=claim.num_circuits * claim.shots, seconds=time.monotonic() - run.over_at,
    )  # fmt: skip
    for rest in run.rests:
        log("batch.left", logging.WARNING, batch=claim.batch_id, backend=desk.backend, reason=rest.reason)
        if not rest.given_up:
            desk.claim_in(rest.wait_s)


def _complete(desk: Desk, runs: Sequence[Run], *, durable: bool) -> dict[str, list[int]]:
    with desk.store.write(durable=durable) as connection:
        if desk.troubled and not desk.adapter.detachable:
            limits.succeeded(connection, desk.backend)
            desk.troubled = False
        return batches.complete(connection, runs)
