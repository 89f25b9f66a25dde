"""What the worker that stored the last chunk of a PUB did not come to, or what needed no chunk."""

from __future__ import annotations

import logging

from pubworks.collector.collect import collect
from pubworks.errors import StoreError
from pubworks.store import jobs, results
from pubworks.store.store import Store

#: PUBs, and jobs, that are seen to at once.
_AT_ONCE = 100


def merge_left_over(store: Store, grace_s: float) -> None:
    """Merge PUBs that are complete, and end jobs of which nothing is left to run.

    Args:
        store: The database.
        grace_s: Seconds that a PUB must have been complete for: somebody may be merging it.

    Raises:
        StoreError: The database is away.
    """
    with store.read() as connection:
        unmerged = results.unmerged(connection, grace_s, _AT_ONCE)
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
