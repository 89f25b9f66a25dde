"""What a run left to do: circuits that failed in it, or shots that it did not bring.

The batch is done with what came, which was paid for; the rest is a batch of its own. Its id is that of the batch with a
part ``.r…``, a hash of what is left; the rest of a rest has another such part in its place.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, select, update

from pubworks.states import BatchState
from pubworks.store.engine import now
from pubworks.store.records import Rest, Run
from pubworks.store.statements import record
from pubworks.store.tables import batches, jobs, pubs


def expect_more(connection: Connection, job_id: str, runs: Sequence[Run]) -> None:
    """Count the circuits that are run once more than planned, for the shots that did not come."""
    more: Counter[int] = Counter()
    for rest in (rest for run in runs for rest in run.rests if rest.more):
        for piece in rest.slices:
            more[piece.pub] += piece.num_circuits
    for pub, count in sorted(more.items()):  # in the order in which all lock them
        same = (pubs.c.job_id == job_id, pubs.c.position == pub)
        connection.execute(update(pubs).where(*same).values(missing=pubs.c.missing + count))


def leave(connection: Connection, job_id: str, runs: Sequence[Run]) -> int:
    """Store what runs left to do, and narrow their batches to what came. Returns how much of it is given up.

    Args:
        connection: An open transaction, in which the batches became DONE.
        job_id: Their job.
        runs: Those that left something.
    """
    rests: list[Rest] = []
    for run in runs:
        row = connection.execute(select(batches).where(batches.c.id == run.claim.batch_id)).one()
        came = {"slices": run.claim.slices, "num_circuits": run.claim.num_circuits, "shots": run.claim.shots}
        connection.execute(update(batches).where(batches.c.id == row.id).values(**came))
        for rest in run.rests:
            _insert(connection, row, rest)
        rests += run.rests
    if rests:
        more = {"num_batches": jobs.c.num_batches + len(rests), "batches_left": jobs.c.batches_left + len(rests)}
        connection.execute(update(jobs).where(jobs.c.id == job_id).values(**more))
    return sum(rest.given_up for rest in rests)


def _seed(row: Row[Any], rest: Rest) -> int | None:
    """Return the seed of a rest; further shots with the same one would be the same samples again."""
    if row.seed is None or not rest.more:
        return row.seed  # type: ignore[no-any-return]
    return zlib.crc32(f"{row.seed}/{row.position}/{rest.slices}".encode()) >> 1  # fits into a signed C int


def _insert(connection: Connection, row: Row[Any], rest: Rest) -> None:
    since = (now() if row.failing_since is None else row.failing_since) if rest.attempts else None
    over = {"state": BatchState.FAILED, "finished_at": now(), "due_at": None}
    open_ = {"state": BatchState.PENDING, "finished_at": None, "due_at": now() + rest.wait_s}
    batch_id = f"{row.id.partition('.r')[0]}.r{zlib.crc32(f'{rest.slices}/{rest.shots}'.encode()):08x}"
    connection.execute(batches.insert().values(
        id=batch_id, job_id=row.job_id, position=row.position, backend=row.backend, session=row.session,
        run_options=row.run_options,
        slices=rest.slices, num_circuits=rest.num_circuits, shots=rest.shots, seed=_seed(row, rest), reason=rest.reason,
        fence=0, attempts=rest.attempts, failing_since=since, **(over if rest.given_up else open_),
    ))  # fmt: skip
    record(connection, row.job_id, "rest", batch_id, of=row.id, reason=rest.reason)
    if rest.given_up:
        record(connection, row.job_id, "failed", batch_id, error=rest.reason)
