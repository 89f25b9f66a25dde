"""Queries about whole jobs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Row,
    and_,
    bindparam,
    case,
    cast,
    exists,
    func,
    or_,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from pubworks.errors import JobNotFound, SubmissionError
from pubworks.states import BatchState, JobState
from pubworks.store import forecast, sessions
from pubworks.store.engine import now
from pubworks.store.records import JobDraft, JobRecord, Progress, StoredPub
from pubworks.store.statements import in_order, insert_new, one_of, record, tell
from pubworks.store.tables import batches, circuits, job_tags, jobs, provider_jobs, pubs

#: The columns of a ``JobRecord``.
RECORD = [jobs.c[name] for name in JobRecord.__dataclass_fields__]
_PUB = [pubs.c[name] for name in StoredPub.__dataclass_fields__]
_OPEN = one_of(jobs.c.state, (JobState.QUEUED, JobState.RUNNING))

_INSERT_JOB = jobs.insert().values(created_at=now())
_INSERT_PUBS = pubs.insert()
_INSERT_BATCHES = batches.insert().values(due_at=now())
_GET = select(*RECORD).where(jobs.c.id == bindparam("p_job"))
_STATE = select(jobs.c.state).where(jobs.c.id == bindparam("p_job"))
_OTHERS = "`pubworks list` shows those there are; for one of elsewhere, set PUBWORKS_DATABASE or PUBWORKS_URL."
_LOAD_PUBS = select(*_PUB).where(
    pubs.c.job_id == bindparam("p_job"), pubs.c.position.in_(bindparam("p_pubs", expanding=True))
)
_LOAD_CIRCUITS = select(circuits.c.hash, circuits.c.qpy).where(
    circuits.c.hash.in_(bindparam("p_hashes", expanding=True))
)


def submit(connection: Connection, draft: JobDraft) -> str:
    """Store a job with its PUBs, circuits and batches, unless its idempotency key has one already.

    A PUB without anything to run is left to the keeper to merge; a job without PUBs is DONE at once.

    Returns:
        The id of the job: the draft's, or that of the job with the same key.

    Raises:
        SubmissionError: The job with the same key is another one.
        SessionClosed: Its session takes no more jobs.
        SessionNotFound: It has none.
    """
    if draft.idempotency_key is None:
        connection.execute(_INSERT_JOB, _job_row(draft))
    elif not _insert_once(connection, draft):
        return _same(connection, draft)
    if draft.session is not None:
        sessions.admit(connection, draft.session, draft.id)
    insert_new(connection, circuits, [{"hash": key, "qpy": qpy} for key, qpy in draft.circuits.items()])
    insert_new(connection, job_tags, [{"job_id": draft.id, "tag": tag} for tag in draft.tags])
    if draft.pubs:
        connection.execute(_INSERT_PUBS, _pub_rows(draft))
    if draft.batches:
        connection.execute(_INSERT_BATCHES, _batch_rows(draft))
    record(connection, draft.id, "submitted", batches=len(draft.batches))
    if not draft.pubs:
        settle(connection, draft.id)
    return draft.id


def _insert_once(connection: Connection, draft: JobDraft) -> bool:
    """Insert a job's row, or wait for whoever is inserting one with the same key. Returns whether it was inserted."""
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    row = insert(jobs).values(created_at=now(), **_job_row(draft))
    once = row.on_conflict_do_nothing(index_elements=[jobs.c.owner, jobs.c.idempotency_key])
    return connection.execute(once.returning(jobs.c.id)).one_or_none() is not None


def _same(connection: Connection, draft: JobDraft) -> str:
    """Return the id of the job that has a draft's key."""
    same = (jobs.c.owner == draft.owner, jobs.c.idempotency_key == draft.idempotency_key)
    found = connection.execute(select(jobs.c.id, jobs.c.content).where(*same)).one()
    if found.content != draft.content:
        raise SubmissionError(
            f"The idempotency key {draft.idempotency_key!r} is that of job {found.id}, which has other PUBs, options "
            "or another backend. Choose a new key for a new job, or submit exactly the same again."
        )
    return str(found.id)


def _job_row(draft: JobDraft) -> dict[str, Any]:
    names = (
        "id",
        "name",
        "primitive",
        "backend",
        "options",
        "idempotency_key",
        "content",
        "session",
        "owner",
        "shared",
    )
    counts = {"num_pubs": len(draft.pubs), "num_batches": len(draft.batches), "batches_left": len(draft.batches)}
    return {"state": JobState.QUEUED, **{name: getattr(draft, name) for name in names}, **counts}


def _pub_rows(draft: JobDraft) -> list[dict[str, Any]]:
    missing = [0] * len(draft.pubs)
    for batch in draft.batches:
        for piece in batch.slices:
            missing[piece.pub] += piece.num_circuits
    return [
        {
            "job_id": draft.id,
            "position": position,
            "missing": missing[position],
            "ready_at": None if missing[position] else 0.0,
            **vars(pub),
        }
        for position, pub in enumerate(draft.pubs)
    ]


def _batch_rows(draft: JobDraft) -> list[dict[str, Any]]:
    return [
        {
            "id": f"{draft.id}-{position}",
            "job_id": draft.id,
            "position": position,
            "backend": draft.backend,
            "session": draft.session,
            "state": BatchState.PENDING,
            "shots": batch.shots,
            "seed": batch.seed,
            "slices": batch.slices,
            "num_circuits": batch.num_circuits,
            "run_options": draft.run_options,
            "fence": 0,
        }
        for position, batch in enumerate(draft.batches)
    ]


def settle(connection: Connection, job_id: str, *, batches_ended: int = 0) -> None:
    """End a job of which nothing is left to run or to merge: DONE, PARTIAL or FAILED.

    Args:
        connection: An open transaction.
        job_id: The job.
        batches_ended: Batches that ended in this transaction.
    """
    if connection.dialect.name == "postgresql":  # else the UPDATE could wait for another and then decide by old counts
        connection.execute(_LOCK, {"p_job": job_id})
    row = connection.execute(_SETTLE, {"p_job": job_id, "p_ended": batches_ended}).one_or_none()
    if row and JobState(row.state).is_final and row.state != JobState.CANCELLED:  # a late batch ends no job again
        record(connection, job_id, "finished", state=row.state)
        tell(connection, job_id, row.state)


_LOCK = select(jobs.c.id).where(jobs.c.id == bindparam("p_job")).with_for_update(key_share=True)
_OF_JOB = pubs.c.job_id == bindparam("p_job")
_MERGED = select(func.count()).where(_OF_JOB, pubs.c.collected_at.is_not(None)).scalar_subquery()
_UNMERGED = exists().where(_OF_JOB, pubs.c.missing == 0, pubs.c.collected_at.is_(None))
_GOES_ON = or_(jobs.c.batches_left != bindparam("p_ended"), ~_OPEN, _UNMERGED)
_SETTLE = (
    update(jobs)
    .where(jobs.c.id == bindparam("p_job"), or_(_OPEN, bindparam("p_ended") != 0))
    .values(
        batches_left=jobs.c.batches_left - bindparam("p_ended"),
        finished_at=case((_GOES_ON, jobs.c.finished_at), else_=now()),
        state=case(
            (_GOES_ON, jobs.c.state),
            (jobs.c.num_pubs == _MERGED, JobState.DONE),
            (_MERGED > 0, JobState.PARTIAL),
            else_=JobState.FAILED,
        ),
    )
    .returning(jobs.c.state)
)


def cancel(connection: Connection, job_id: str) -> bool:
    """Cancel a job: what waits is never run, and who looks next at what is in flight has its provider cancel it.

    Returns:
        Whether the job was still open.
    """
    connection.execute(_LOOK_NOW, {"p_job": job_id})
    waiting = _end_waiting(connection, job_id)  # batches, then the job: the order in which a claim locks them
    cancelled = connection.execute(
        update(jobs).where(jobs.c.id == job_id, _OPEN).values(state=JobState.CANCELLED, finished_at=now())
    ).rowcount
    if cancelled:
        waiting += cancel_given_back(connection, job_id)  # by those who saw the job still open
        record(connection, job_id, "cancelled", batches=waiting)
        tell(connection, job_id, JobState.CANCELLED)
    return bool(cancelled)


_FLYING = select(batches.c.id).where(
    batches.c.job_id == bindparam("p_job"), batches.c.state == BatchState.IN_FLIGHT, batches.c.lease_owner.is_(None)
)
_LOOK_NOW = (
    update(batches).where(batches.c.id.in_(_FLYING.with_for_update(skip_locked=True))).values(due_at=now())
)  # who holds one of them looks at it now


def cancel_given_back(connection: Connection, job_id: str) -> int:
    """End the batches of a job that nobody runs, if it was cancelled. Returns how many there were.

    Whoever makes a batch wait calls this after: of two that give back and cancel at one moment, the later one sees what
    the other did, since both hold the job's row.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(_LOCK, {"p_job": job_id})
    return _end_waiting(connection, job_id, only_if_cancelled=True)


def _end_waiting(connection: Connection, job_id: str, *, only_if_cancelled: bool = False) -> int:
    waits = and_(batches.c.job_id == job_id, batches.c.state.in_((BatchState.PENDING, BatchState.HELD)))
    if only_if_cancelled:  # who holds one of them may wait for the job's row
        waits = and_(waits, exists().where(jobs.c.id == job_id, jobs.c.state == JobState.CANCELLED))
        waits = batches.c.id.in_(select(batches.c.id).where(waits).with_for_update(skip_locked=True, of=batches))
    else:
        waits = and_(*in_order(waits))
    ended = {"state": BatchState.CANCELLED, "due_at": None, "finished_at": now(), "reason": "its job was cancelled"}
    waiting = connection.execute(update(batches).where(waits).values(**ended)).rowcount
    if waiting:
        left = jobs.c.batches_left - waiting
        connection.execute(update(jobs).where(jobs.c.id == job_id).values(batches_left=left))
    return waiting


def get(connection: Connection, job_id: str) -> JobRecord:
    """Return a job as it stands.

    Raises:
        JobNotFound: No job has this id.
    """
    row = connection.execute(_GET, {"p_job": job_id}).one_or_none()
    if row is None:
        raise JobNotFound(f"No job {job_id} in this database. {_OTHERS}")
    return to_record(row)


def state(connection: Connection, job_id: str) -> JobState:
    """Return the state of a job.

    Raises:
        JobNotFound: No job has this id.
    """
    found = connection.execute(_STATE, {"p_job": job_id}).scalar()
    return JobState(found) if found else get(connection, job_id).state


def find(connection: Connection, prefix: str, viewer: str | None = None) -> str:
    """Return the whole id of the job whose id starts, or ends, so; ``viewer`` sees only what it may.

    Raises:
        JobNotFound: No job fits, or several do.
    """
    if not prefix:
        raise JobNotFound("An empty id fits no job. `pubworks list` shows those there are.")
    seen = select(jobs.c.id) if viewer is None else select(jobs.c.id).where(seen_by(viewer))
    if connection.execute(seen.where(jobs.c.id == prefix)).scalar():  # a whole id needs no search
        return prefix
    begins, ends = (look(prefix, autoescape=True) for look in (jobs.c.id.startswith, jobs.c.id.endswith))
    found = list(connection.execute(seen.where(or_(begins, ends)).limit(3)).scalars())
    if len(found) != 1:
        problem = (
            f"Several jobs fit {prefix!r}; give more of the id." if found else f"No job {prefix!r} in this database."
        )
        raise JobNotFound(f"{problem} {_OTHERS}")
    return str(found[0])


def seen_by(viewer: str) -> ColumnElement[bool]:
    """Return the condition for jobs that a user of the server may see: their own, and what is shared."""
    return or_(jobs.c.owner == viewer, jobs.c.shared)


def options(connection: Connection, job_id: str) -> dict[str, Any]:
    """Return the options that a job was submitted with.

    Raises:
        JobNotFound: No job has this id.
    """
    found = connection.execute(select(jobs.c.options).where(jobs.c.id == job_id)).scalar_one_or_none()
    if found is None:
        get(connection, job_id)  # says that it is not there
    return dict(found or {})


def progress(connection: Connection, job_id: str) -> Progress:
    """Return how far a job is, and when it may have ended."""
    of_job = batches.c.job_id == job_id
    of_job = and_(of_job, batches.c.state != BatchState.SPLIT)  # its halves stand for it
    shots = cast(func.sum(batches.c.num_circuits * batches.c.shots), BigInteger)
    by = (batches.c.backend, batches.c.state)
    counts = connection.execute(select(*by, func.count(), shots).where(of_job).group_by(*by).order_by(*by)).all()
    reasons = select(batches.c.reason).where(of_job, batches.c.reason.is_not(None)).distinct().limit(5)
    merged = select(func.count(pubs.c.collected_at), func.count()).where(pubs.c.job_id == job_id)
    pubs_done, num_pubs = connection.execute(merged).one()
    told = list(connection.execute(reasons).scalars())
    left = {backend for backend, state, *_ in counts if not BatchState(state).is_final}
    return Progress(
        pubs_done=pubs_done, num_pubs=num_pubs, reasons=told, **_by_state([row[1:] for row in counts]),
        num_batches=sum(row[2] for row in counts),
        backends={name: _by_state([row[1:] for row in counts if row[0] == name]) for name, *_ in counts},
        estimated_s_left=forecast.seconds_left(connection, job_id, sorted(left)) if left else None,
    )  # fmt: skip


def _by_state(counts: Sequence[Sequence[Any]]) -> dict[str, dict[str, int]]:
    """Return the sums of (state, batches, shots)."""
    found: dict[str, Counter[str]] = {"batches": Counter(), "shots": Counter()}
    for state, number, shots in counts:
        found["batches"][state] += number
        found["shots"][state] += shots
    return {what: dict(numbers) for what, numbers in found.items()}


def failed_pubs(connection: Connection, job_id: str) -> dict[int, str]:
    """Return the PUBs without a result, with the reasons of their failed batches."""
    open_pubs = select(pubs.c.position).where(pubs.c.job_id == job_id, pubs.c.collected_at.is_(None))
    reasons = dict.fromkeys(connection.execute(open_pubs.order_by(pubs.c.position)).scalars(), "not run")
    not_done = select(batches.c.slices, batches.c.reason).where(
        batches.c.job_id == job_id, batches.c.state.not_in((BatchState.DONE, BatchState.SPLIT))
    )
    for slices, reason in connection.execute(not_done.order_by(batches.c.position.desc())):
        reasons.update({pub: reason for pub, *_ in slices if pub in reasons and reason})
    return reasons


def parts_of_pub(connection: Connection, job_id: str, pub: int) -> list[tuple[BatchState, str | None]]:
    """Return (state, reason) of the batches that cover a PUB, in order; halves stand for what was split."""
    query = select(batches.c.state, batches.c.reason, batches.c.slices).where(
        batches.c.job_id == job_id, batches.c.state != BatchState.SPLIT
    ).order_by(batches.c.position, batches.c.id)  # fmt: skip
    found = [row for row in connection.execute(query) if any(piece[0] == pub for piece in row.slices)]
    return [(BatchState(row.state), row.reason) for row in found]


def runs(connection: Connection, job_id: str) -> Sequence[Row[Any]]:
    """Return the provider jobs of a job, oldest first."""
    number = func.row_number().over(  # fences count every claim, also those that only fetch
        partition_by=provider_jobs.c.batch_id, order_by=provider_jobs.c.attempt
    )
    query = (
        select(provider_jobs, batches.c.backend, batches.c.num_circuits, batches.c.shots, number.label("number"))
        .join(batches, batches.c.id == provider_jobs.c.batch_id)
        .where(batches.c.job_id == job_id)
        .order_by(batches.c.position, batches.c.id, provider_jobs.c.attempt)
    )
    return connection.execute(query).all()


def load_pubs(connection: Connection, job_id: str, positions: Sequence[int]) -> dict[int, StoredPub]:
    """Return PUBs of a job by position."""
    found = connection.execute(_LOAD_PUBS, {"p_job": job_id, "p_pubs": positions})
    return {row.position: _pub(row) for row in found}


def load_circuits(connection: Connection, hashes: Sequence[str]) -> dict[str, bytes]:
    """Return compressed QPY by content hash."""
    return {key: qpy for key, qpy in connection.execute(_LOAD_CIRCUITS, {"p_hashes": hashes})}


def to_record(row: Row[Any]) -> JobRecord:
    """Return the record of a row of ``RECORD``."""
    values = row._asdict()
    return JobRecord(**{**values, "state": JobState(values["state"])})


def _pub(row: Row[Any]) -> StoredPub:
    values = row._asdict()
    return StoredPub(**{**values, "shape": tuple(values["shape"])})
