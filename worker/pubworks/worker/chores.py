"""What is left to do in the database, whoever does it: what others forgot, did not come to, or died over."""

from __future__ import annotations

import logging

from pubworks.collector.collect import collect
from pubworks.errors import StoreError
from pubworks.store import batches, ending, jobs, results
from pubworks.store.fleet import Chores
from pubworks.store.store import Store
from pubworks.telemetry import log

#: Seconds that the worker which stored the last chunk of a PUB has to merge it.
MERGE_GRACE_S = 10.0

#: Seconds after which a run that should have been looked at has lost its worker.
LATE_S = 2.0

#: PUBs, and jobs, that are seen to at once.
_AT_ONCE = 100


def see_to(store: Store, chores: Chores) -> None:
    """Free what fell silent, merge what is complete, end what is over; what is due is not rung for.

    Args:
        store: The database.
        chores: What there is to do.

    Raises:
        StoreError: The database is away.
    """
    if chores.leases_ended:
        _free_leases(store)
    if chores.unmerged or chores.unsettled:
        _merge_left_over(store)
    if chores.sessions_over:
        ending.end_sessions(store)


def _free_leases(store: Store) -> None:
    with store.write() as connection:
        freed = batches.expire(connection, batches.SILENT)
    log("batch.released", reason="lease ended", count=freed)


def _merge_left_over(store: Store) -> None:
    """Merge PUBs that are complete, and end jobs of which nothing is left to run."""
    with store.read() as connection:
        unmerged = results.unmerged(connection, MERGE_GRACE_S, _AT_ONCE)
        unsettled = results.unsettled(connection, _AT_ONCE)
    for job_id, pubs in unmerged.items():
        _merge(store, job_id, pubs)
    for job_id in unsettled:
        with store.write() as connection:
            jobs.settle(connection, job_id)


def _merge(store: Store, job_id: str, pubs: list[int]) -> None:
    try:
        collect(store, job_id, pubs)
    except StoreError:
        raise
    except Exception:  # one job that cannot be merged must not hold up the others
        logging.getLogger("pubworks").exception("merge of job %s", job_id)
