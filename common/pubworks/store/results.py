"""Queries about chunks and the results that are merged from them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from sqlalchemy import Connection, bindparam, select, update

from pubworks.store import jobs as job_queries
from pubworks.store.engine import now
from pubworks.store.records import StoredChunk
from pubworks.store.statements import insert_new, tell
from pubworks.store.tables import chunks, jobs, pubs, results


def iterate_chunks(connection: Connection, job_id: str, pub: int) -> Iterator[StoredChunk]:
    """Yield the chunks of a PUB in the order of shots, then circuits; a few at a time are in memory."""
    for row in connection.execute(_CHUNKS, {"p_job": job_id, "p_pub": pub}, execution_options={"yield_per": 8}):
        yield StoredChunk(*row)


_CHUNKS = (
    select(*(chunks.c[name] for name in StoredChunk.__dataclass_fields__))
    .where(chunks.c.job_id == bindparam("p_job"), chunks.c.pub == bindparam("p_pub"))
    .order_by(chunks.c.first_shot, chunks.c.first)
)


def store_results(connection: Connection, job_id: str, merged: Mapping[int, bytes]) -> None:
    """Store the merged results of PUBs, each once; end the job if they were the last."""
    insert_results(connection, job_id, merged)
    connection.execute(_COLLECTED, {"p_job": job_id, "p_pubs": list(merged)})
    job_queries.settle(connection, job_id)


def insert_results(connection: Connection, job_id: str, merged: Mapping[int, bytes]) -> None:
    """Store the merged results of PUBs, each once."""
    insert_new(connection, results, [{"job_id": job_id, "pub": pub, "data": data} for pub, data in merged.items()])
    tell(connection, job_id)


_COLLECTED = (
    update(pubs)
    .where(
        pubs.c.job_id == bindparam("p_job"),
        pubs.c.position.in_(bindparam("p_pubs", expanding=True)),
        pubs.c.collected_at.is_(None),
    )
    .values(collected_at=now())
)


def load_results(connection: Connection, job_id: str, positions: list[int] | None = None) -> dict[int, bytes]:
    """Return the stored results of a job by PUB; all there are, or those asked for."""
    query = _RESULTS if positions is None else _RESULTS.where(results.c.pub.in_(positions))
    return {pub: data for pub, data in connection.execute(query, {"p_job": job_id})}


_RESULTS = select(results.c.pub, results.c.data).where(results.c.job_id == bindparam("p_job")).order_by(results.c.pub)


def finished_pubs(connection: Connection, job_id: str) -> list[int]:
    """Return the PUBs that have a result, in the order in which they got it."""
    query = select(pubs.c.position).where(pubs.c.job_id == job_id, pubs.c.collected_at.is_not(None))
    return list(connection.execute(query.order_by(pubs.c.collected_at, pubs.c.position)).scalars())


def unmerged(connection: Connection, grace_s: float, limit: int) -> dict[str, list[int]]:
    """Return PUBs by job that were ready to be merged ``grace_s`` seconds ago and still are."""
    query = (
        select(pubs.c.job_id, pubs.c.position)
        .where(pubs.c.collected_at.is_(None), pubs.c.missing == 0, pubs.c.ready_at <= now() - grace_s)
        .order_by(pubs.c.ready_at)
        .limit(limit)
    )
    found: dict[str, list[int]] = {}
    for job_id, position in connection.execute(query):
        found.setdefault(job_id, []).append(position)
    return found


def unsettled(connection: Connection, limit: int) -> list[str]:
    """Return open jobs of which nothing is left to run."""
    query = select(jobs.c.id).where(jobs.c.state.in_(("QUEUED", "RUNNING")), jobs.c.batches_left == 0).limit(limit)
    return list(connection.execute(query).scalars())
