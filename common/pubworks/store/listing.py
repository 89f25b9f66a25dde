"""Finding jobs again: by backend, state, tags, name, primitive and time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import Connection, Select, delete, exists, literal, select, tuple_, update

from pubworks.store.jobs import RECORD, get, seen_by, to_record
from pubworks.store.records import JobRecord, Wanted
from pubworks.store.statements import insert_new, record
from pubworks.store.tables import job_tags, jobs

#: The event of a job that its owner and operators see from now on; all others are told this, and nothing after it.
UNSHARED = "unshared"


def find_jobs(connection: Connection, wanted: Wanted) -> list[JobRecord]:
    """Return the jobs that are wanted, by the time of their submission."""
    return [to_record(row) for row in connection.execute(query_of(wanted))]


def query_of(wanted: Wanted) -> Select[tuple[object, ...]]:
    """Return the query of a listing; each filter, and the order, has an index of its own."""
    query: Select[tuple[object, ...]] = select(*RECORD)
    for column, value in ((jobs.c.backend, wanted.backend), (jobs.c.name, wanted.name),
                          (jobs.c.primitive, wanted.primitive), (jobs.c.session, wanted.session)):  # fmt: skip
        query = query if value is None else query.where(column == value)
    if wanted.states is not None:
        query = query.where(jobs.c.state.in_(wanted.states))
    if wanted.created_after is not None:
        query = query.where(jobs.c.created_at >= wanted.created_after)
    if wanted.created_before is not None:
        query = query.where(jobs.c.created_at < wanted.created_before)
    for tag in dict.fromkeys(wanted.tags):
        query = query.where(exists().where(job_tags.c.job_id == jobs.c.id, job_tags.c.tag == tag))
    if wanted.viewer is not None:
        query = query.where(seen_by(wanted.viewer))
    order = (jobs.c.created_at, jobs.c.id)
    if wanted.behind is not None:
        place = tuple_(*map(literal, wanted.behind))
        query = query.where(tuple_(*order) < place if wanted.descending else tuple_(*order) > place)
    query = query.order_by(*(column.desc() if wanted.descending else column.asc() for column in order))
    return query.limit(wanted.limit).offset(wanted.skip or None)


def tags_of(connection: Connection, job_ids: Sequence[str]) -> dict[str, list[str]]:
    """Return the tags of each job, sorted."""
    found: dict[str, list[str]] = {job_id: [] for job_id in job_ids}
    query = select(job_tags.c.job_id, job_tags.c.tag).where(job_tags.c.job_id.in_(job_ids))
    for job_id, tag in connection.execute(query):
        found[job_id].append(tag)
    return {job_id: sorted(tags) for job_id, tags in found.items()}


def ids_like(
    connection: Connection, beginning: str, most: int, viewer: str | None = None
) -> list[tuple[str, str, str | None]]:
    """Return (id, state, name) of the newest jobs whose ids begin so; of those that a user of the server may see."""
    query = select(jobs.c.id, jobs.c.state, jobs.c.name)
    if beginning:
        query = query.where(jobs.c.id.startswith(beginning, autoescape=True))
    if viewer is not None:
        query = query.where(seen_by(viewer))
    query = query.order_by(jobs.c.created_at.desc(), jobs.c.id.desc()).limit(most)
    return [(row.id, row.state, row.name) for row in connection.execute(query)]


def tags_like(connection: Connection, beginning: str, most: int, viewer: str | None = None) -> list[str]:
    """Return tags that begin so, sorted; of the jobs that a user of the server may see."""
    query = select(job_tags.c.tag).where(job_tags.c.tag.startswith(beginning, autoescape=True)).distinct()
    if viewer is not None:
        query = query.join(jobs, jobs.c.id == job_tags.c.job_id).where(seen_by(viewer))
    return list(connection.execute(query.order_by(job_tags.c.tag).limit(most)).scalars())


def set_tags(connection: Connection, job_id: str, tags: Iterable[str]) -> None:
    """Give a job these tags and no others.

    Raises:
        JobNotFound: No job has this id.
    """
    get(connection, job_id)
    connection.execute(delete(job_tags).where(job_tags.c.job_id == job_id))
    insert_new(connection, job_tags, [{"job_id": job_id, "tag": tag} for tag in tags])


def set_shared(connection: Connection, job_id: str, shared: bool) -> None:
    """Let every user of the server see a job, or its owner and operators only.

    Raises:
        JobNotFound: No job has this id.
    """
    other = update(jobs).where(jobs.c.id == job_id, jobs.c.shared != shared)
    if connection.execute(other.values(shared=shared)).rowcount:
        record(connection, job_id, "shared" if shared else UNSHARED)
    else:
        get(connection, job_id)
