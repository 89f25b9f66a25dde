"""Halves of refused batches.

A batch that is refused because one of its circuits is bad is replaced by its halves. The second one waits until the
first was judged: when that is accepted, the bad circuit must be in the second, which is halved without asking, so that
finding one bad circuit among ``n`` takes no more than ``2 log2(n) + 1`` extra runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum, auto
from typing import Any

from sqlalchemy import Connection, Row, and_, func, or_, select, update

from pubworks.states import LEASED, BatchState
from pubworks.store.engine import now
from pubworks.store.records import Claim, Slice
from pubworks.store.statements import in_order, record
from pubworks.store.tables import batches, jobs, provider_jobs, pubs

#: Circuits that are refused alone, for the same reason and none accepted, before all are suspected.
_ENOUGH = 5

#: Of each part that has at least one circuit in so many of the whole, one is tried alone.
_SAMPLED = 16

_WAITS = "waits until its first half was judged"

#: Spreads the seeds of halves; odd, and derived seeds fit into a signed C int.
_SEED_STEP = 0x9E3779B1
_SEEDS = 2**31


def halve(
    connection: Connection, batch_id: str, reason: str, *, one_is_bad: bool, by_shots: bool, sample: bool = False
) -> None:
    """Store the halves of a batch that is SPLIT in this transaction.

    Args:
        connection: An open transaction.
        batch_id: The batch.
        reason: Why it was refused.
        one_is_bad: Whether one of its circuits is to blame, and not their number.
        by_shots: Halve the shots instead of the circuits.
        sample: Cut the last circuit off, instead of half of them.
    """
    row = connection.execute(select(batches).where(batches.c.id == batch_id)).one()
    place = _place(row.job_id)
    halves = _halve_shots(row) if by_shots else _sample(row) if sample else _halve_circuits(row)
    for number, half in enumerate(halves):
        waits = one_is_bad and number == 1
        connection.execute(batches.insert().values(
            id=f"{batch_id}.{number}", job_id=row.job_id, position=row.position, backend=row.backend,
            session=row.session, state=BatchState.PENDING, run_options=row.run_options, fence=0, attempts=0,
            seed=_derive(row.seed, number, row.num_circuits), reason=_WAITS if waits else reason,
            due_at=None if waits else place, **half,
        ))  # fmt: skip
    if by_shots:
        _expect_more(connection, row)  # PUBs, then the job: the order in which a result locks them
    more = {"num_batches": jobs.c.num_batches + 1, "batches_left": jobs.c.batches_left + 1}
    connection.execute(update(jobs).where(jobs.c.id == row.job_id).values(**more))
    record(connection, row.job_id, "split", batch_id, reason=reason)


def _place(job_id: str) -> Any:
    """Return the time by which halves queue: before what came later, and the first half's halves before the second."""
    return select(jobs.c.created_at).where(jobs.c.id == job_id).scalar_subquery()


def _halve_circuits(row: Row[Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    middle = row.num_circuits // 2  # the smaller half first: where it is bad, that is found in fewer steps
    first, second = cut([Slice(*piece) for piece in row.slices], middle)
    return (
        {"slices": first, "num_circuits": middle, "shots": row.shots},
        {"slices": second, "num_circuits": row.num_circuits - middle, "shots": row.shots},
    )


def _sample(row: Row[Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    rest, last = cut([Slice(*piece) for piece in row.slices], row.num_circuits - 1)
    return (
        {"slices": last, "num_circuits": 1, "shots": row.shots},
        {"slices": rest, "num_circuits": row.num_circuits - 1, "shots": row.shots},
    )


def cut(slices: list[Slice], circuits: int) -> tuple[list[Slice], list[Slice]]:
    """Cut slices after so many circuits.

    >>> cut([Slice(0, 0, 3, 0), Slice(1, 0, 2, 0)], 4)[1]
    [Slice(pub=1, first=1, end=2, first_shot=0)]
    """
    first: list[Slice] = []
    second: list[Slice] = []
    for piece in slices:
        end = min(piece.end, piece.first + circuits)
        circuits -= end - piece.first
        if end > piece.first:
            first.append(piece._replace(end=end))
        if end < piece.end:
            second.append(piece._replace(first=end))
    return first, second


def _halve_shots(row: Row[Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    shots = row.shots // 2
    later = [[pub, first, end, first_shot + shots] for pub, first, end, first_shot in row.slices]
    same = {"num_circuits": row.num_circuits}
    return {"slices": row.slices, "shots": shots, **same}, {"slices": later, "shots": row.shots - shots, **same}


def _derive(seed: int | None, number: int, circuits: int) -> int | None:
    """Return the seed of a half; two runs with the same seed would draw the same samples."""
    return seed if seed is None or number == 0 else (seed + circuits * _SEED_STEP) % _SEEDS


def _expect_more(connection: Connection, row: Row[Any]) -> None:
    """Each circuit is run once more than planned, with fewer shots."""
    for pub, first, end, _ in sorted(row.slices):
        same = (pubs.c.job_id == row.job_id, pubs.c.position == pub)
        connection.execute(update(pubs).where(*same).values(missing=pubs.c.missing + end - first))


class Prospects(Enum):
    """What is to be done with a refused batch of several circuits."""

    #: Halve it: one of its circuits is bad, or nothing is known yet.
    GOOD = auto()
    #: Try one of its circuits alone: those that were tried alone are all bad.
    POOR = auto()
    #: Ask again later, and so what its kin are worth that were not judged yet.
    UNCLEAR = auto()
    #: Halve it no more: it is not a circuit that is bad but an option, or all of them.
    NONE = auto()


def prospects(connection: Connection, batch_id: str, reason: str) -> Prospects:
    """Return what is to be done with a refused batch, by what became of the other parts of the whole.

    One part that was accepted, or may have been, keeps up the hope for all. Without, a few circuits that are refused
    alone, for one reason, are no proof yet: they are neighbours. Then one circuit of each large part is tried
    alone, and no part is given up before all were judged.
    """
    root = batch_id.partition(".")[0]
    family = _kin(batch_id)
    alone = family & (batches.c.state == BatchState.FAILED) & (batches.c.num_circuits == 1)
    late = _was_taken(connection, root)  # then one in flight is not accepted yet
    query = select(
        func.count().filter(alone),
        func.count(batches.c.reason.distinct()).filter(alone),
        func.count().filter(family & batches.c.state.in_(_HOPE if late else (*_HOPE, BatchState.IN_FLIGHT))),
        func.count().filter(family & or_(batches.c.state.in_(LEASED), _PENDING & ~_was_refused(reason))),
    ).where(batches.c.job_id == root.rpartition("-")[0])
    refused, reasons, accepted, unjudged = connection.execute(query).one()
    if refused < _ENOUGH or reasons != 1 or accepted:
        return Prospects.GOOD
    if _needs_sample(connection, batch_id, root):
        return Prospects.POOR
    return Prospects.UNCLEAR if unjudged else Prospects.NONE


_HOPE = (BatchState.DONE, BatchState.UNCERTAIN, BatchState.HELD)
_PENDING = batches.c.state == BatchState.PENDING


def _kin(batch_id: str) -> Any:
    """Return the condition for the other parts of a whole."""
    root = batch_id.partition(".")[0]
    return batches.c.id.startswith(f"{root}.", autoescape=True) & (batches.c.id != batch_id)


def _was_refused(reason: str) -> Any:
    """Return the condition for what is due again after it was refused for this reason."""
    return and_(batches.c.fence > 0, batches.c.reason.is_not_distinct_from(reason))


def give_up_kin(connection: Connection, held: Claim, reason: str, error: str) -> Sequence[str]:
    """End what was refused for the same reason as a batch of which nothing is hoped. Returns their ids."""
    mine = in_order(batches.c.job_id == held.job_id, _kin(held.batch_id), _PENDING, _was_refused(reason))
    over = {"state": BatchState.FAILED, "reason": error, "due_at": None, "finished_at": now()}
    return connection.execute(update(batches).where(*mine).values(**over).returning(batches.c.id)).scalars().all()


def _needs_sample(connection: Connection, batch_id: str, root: str) -> bool:
    """Whether a batch is a large part of the whole, and not what was left when a circuit was cut off to be tried."""
    ids = {"mine": batch_id, "whole": root, "twin": f"{batch_id.removesuffix('.1')}.0"}
    query = select(batches.c.id, batches.c.num_circuits).where(batches.c.id.in_(ids.values()))
    counts = dict(connection.execute(query).all())
    is_large = counts[ids["mine"]] * _SAMPLED >= counts[ids["whole"]]
    return is_large and not (batch_id.endswith(".1") and counts[ids["twin"]] == 1)


def judge_twin(connection: Connection, batch_id: str, *, is_over: bool) -> None:
    """Draw the conclusion from a half that the provider took: the other one holds the bad circuit.

    Args:
        connection: An open transaction.
        batch_id: The half.
        is_over: Whether its result is there; before, it tells nothing where the provider refuses only then.
    """
    twin = _waiting_twin(connection, batch_id)
    if twin is None or (not is_over and _was_taken(connection, batch_id.removesuffix(".0"))):
        return
    if twin.num_circuits == 1:  # only its own refusal says why
        _release(connection, twin)
        return
    reason = "its other half was accepted"
    over = {"state": BatchState.SPLIT, "reason": reason, "finished_at": now()}
    connection.execute(update(batches).where(batches.c.id == twin.id).values(**over))
    halve(connection, twin.id, reason, one_is_bad=True, by_shots=False)


def _was_taken(connection: Connection, batch_id: str) -> bool:
    """Whether the provider took the whole, or what that is a part of, before it refused it."""
    parts = batch_id.split(".")
    wholes = [".".join(parts[:count]) for count in range(1, len(parts) + 1)]  # the last may never have been run
    taken = provider_jobs.c.batch_id.in_(wholes) & provider_jobs.c.accepted_at.is_not(None)
    return connection.execute(select(provider_jobs.c.attempt).where(taken).limit(1)).first() is not None


def release_twin(connection: Connection, batch_id: str) -> None:
    """Let the other half run, since this one tells nothing about it."""
    twin = _waiting_twin(connection, batch_id)
    if twin is not None:
        _release(connection, twin)


def _release(connection: Connection, twin: Row[Any]) -> None:
    values = {"due_at": _place(twin.job_id), "reason": None}
    connection.execute(update(batches).where(batches.c.id == twin.id).values(**values))


def _waiting_twin(connection: Connection, batch_id: str) -> Row[Any] | None:
    if not batch_id.endswith(".0"):
        return None
    return connection.execute(
        select(batches)
        .where(
            batches.c.id == f"{batch_id.removesuffix('.0')}.1",
            batches.c.state == BatchState.PENDING,
            batches.c.due_at.is_(None),
        )
        .with_for_update()
    ).one_or_none()
