"""The store's queries as short calls, each one transaction, and a clock that can be turned."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from sqlalchemy import Row, Table, select, update

from pubworks.policy import Policy
from pubworks.store import batches, claiming, doubts, flights, jobs, retry
from pubworks.store.engine import now
from pubworks.store.records import BatchDraft, Claim, JobDraft, JobRecord, Look, PubDraft, Run, Slice, Taken
from pubworks.store.store import Store
from pubworks.store.tables import batches as batch_table
from pubworks.store.tables import events, limits, provider_jobs, pubs
from pubworks.store.tables import jobs as job_table
from pubworks.store.tables import sessions as session_table

T = TypeVar("T")

LEASE_S = 60.0
READOUT: dict[str, Any] = {"num_clbits": 1, "measures": True, "registers": [["c", [0]]]}

#: What the database's clock is compared with.
_TIMES = {
    batch_table: ("due_at", "lease_until", "failing_since", "accepted_at"),
    limits: ("submit_at", "request_at", "snoozed_until", "probe_at"),
    pubs: ("ready_at", "collected_at"),
    job_table: ("created_at", "started_at", "finished_at"),
    session_table: ("created_at", "started_at", "ends_at", "active_since", "closed_at", "ended_at"),
}


def draft(
    job_id: str, *batch_slices: list[Slice], pubs: int | None = None, backend: str = "aer", shots: int = 10,
    session: str | None = None,
) -> JobDraft:  # fmt: skip
    """Return a job of batches with so many shots each, given by their slices; PUBs as large as the slices make them.

    >>> draft("j", [Slice(0, 0, 2, 0)], [Slice(0, 0, 2, 10)]).pubs[0].shots
    20
    """
    sizes: Counter[int] = Counter()
    last: Counter[int] = Counter()
    for slices in batch_slices:
        for piece in slices:
            sizes[piece.pub] = max(sizes[piece.pub], piece.end)
            last[piece.pub] = max(last[piece.pub], piece.first_shot + shots)
    count = pubs if pubs is not None else len(sizes)
    made = [
        PubDraft("h1", (sizes[pub],), sizes[pub], last[pub] or shots, None, READOUT, {"name": "x"})
        for pub in range(count)
    ]
    drafts = tuple(BatchDraft(shots, 7, tuple(slices)) for slices in batch_slices)
    options = {"method": "x"}
    return JobDraft(job_id, None, "sampler", backend, {}, {"h1": b"qpy"}, tuple(made), drafts, options, session=session)


def one_each(count: int) -> list[list[Slice]]:
    """Return the slices of one batch for each of some PUBs."""
    return [[Slice(position, 0, 1, 0)] for position in range(count)]


class Calls:
    """Short calls of one backend's workers.

    Args:
        store: An open store with the tables.
        backend: The backend that is claimed from.
    """

    def __init__(self, store: Store, backend: str = "aer") -> None:
        self.store, self.backend = store, backend

    def do(self, query: Callable[..., T], *args: Any, **options: Any) -> T:
        """Return what a query gives, in a transaction of its own."""
        with self.store.write(durable=False) as connection:
            return query(connection, *args, **options)

    def submit(self, job: JobDraft) -> None:
        """Store a job."""
        self.do(jobs.submit, job)

    def taken(self, owner: str = "w/1", backend: str | None = None, most: int = 1, **options: Any) -> Taken:
        """Claim batches; say what the limits say."""
        return self.do(claiming.claim, backend or self.backend, owner, LEASE_S, most=most, **options)

    def claim(self, owner: str = "w/1", backend: str | None = None) -> Claim | None:
        """Claim the next batch, if there is one."""
        claims = self.taken(owner, backend).claims
        return claims[0] if claims else None

    def take(self, owner: str = "w/1") -> Claim:
        """Claim the next batch."""
        claim = self.claim(owner)
        assert claim is not None, f"nothing is to be claimed: {self.states()}"
        return claim

    def begin_call(self, claim: Claim) -> bool:
        """Begin a call of the provider."""
        return self.do(batches.begin_call, claim)

    def accept(self, claim: Claim, provider_job_id: str = "p1", first_look_s: float = 0.0) -> bool:
        """Let a run go that the provider took; it is due at once."""
        return self.do(batches.accept, claim, provider_job_id, first_look_s)

    def fly(self, claim: Claim, provider_job_id: str = "p1") -> None:
        """Have the provider take a run."""
        assert self.begin_call(claim)
        assert self.accept(claim, provider_job_id)

    def looks(self, *, calls: int = 10, per_call: int = 1, policy: Policy | None = None) -> list[Look]:
        """Return the runs in flight that are due."""
        return self.do(flights.due, self.backend, calls=calls, per_call=per_call, policy=policy or Policy())[0]

    def take_up(self, looks: Sequence[Look], owner: str = "w/1") -> list[Claim]:
        """Take up runs that are over."""
        return self.do(flights.take_up, self.backend, looks, owner=owner, lease_s=LEASE_S, policy=Policy())[0]

    def doubts(self, most: int = 10) -> list[Look]:
        """Return the batches in doubt that are due."""
        return self.do(doubts.due, self.backend, most, Policy())[0]

    def complete(self, claim: Claim, *, merge: bool = True) -> list[int] | None:
        """Store the result of a batch. Returns the PUBs that are ready; None: it came too late."""
        return self.do(batches.complete, [result(claim, merge=merge)]).get(claim.job_id)

    def fail(self, claim: Claim, error: str = "broken") -> bool:
        """End a batch."""
        return self.do(batches.fail, claim, error)

    def put_back(self, claim: Claim, wait_s: float = 0.0, *, counts: bool = True, reason: str = "later") -> bool:
        """Give a batch back that came to nothing."""
        return self.do(batches.put_back, claim, reason, wait_s, counts=counts)

    def split(self, claim: Claim, *, one_is_bad: bool = False, by_shots: bool = False, reason: str = "bad") -> bool:
        """Halve a batch."""
        return self.do(batches.split, claim, reason, one_is_bad=one_is_bad, by_shots=by_shots)

    def give_back(self, *claims: Claim) -> None:
        """Let others have what was claimed and not begun."""
        self.do(batches.give_back, claims)

    def doubt(self, claim: Claim, reason: str = "reset") -> bool:
        """Call a run into doubt."""
        return self.do(batches.doubt, claim, reason)

    def expire(self, owner: str | None = None) -> int:
        """Do as the keeper does with leases that ended."""
        return self.do(batches.expire, "silent", owner)

    def end_leases(self, *which: Any) -> int:
        """Let leases end, as if their time had passed, and have the keeper see it."""
        leased = select(batch_table.c.id).where(batch_table.c.lease_until.is_not(None), *which)
        with self.store.write(durable=False) as connection:
            ids = (
                connection.execute(leased.order_by(batch_table.c.id).with_for_update(skip_locked=True)).scalars().all()
            )
            over = update(batch_table).where(batch_table.c.id.in_(ids)).values(lease_until=now() - 1)
            connection.execute(over)
        return self.expire()

    def cancel(self, job_id: str = "j1") -> bool:
        """Cancel a job."""
        return self.do(jobs.cancel, job_id)

    def retry(self, job_id: str = "j1") -> tuple[int, int]:
        """Run what is missing of a job again. Returns how many batches are, and how many are held."""
        return self.do(retry.retry, job_id)

    def wait(self, seconds: float) -> None:
        """Let time pass: every time in the database is so much longer ago."""
        with self.store.write(durable=False) as connection:
            for table, names in _TIMES.items():
                earlier = {name: table.c[name] - seconds for name in names}
                connection.execute(update(table).values(**earlier))

    def now(self) -> float:
        """Return the database's time."""
        with self.store.read() as connection:
            return connection.execute(select(now())).scalar_one()

    def rows(self, table: Table) -> list[Any]:
        """Return all rows of a table."""
        with self.store.read() as connection:
            return list(connection.execute(select(table)).all())

    def batch(self, batch_id: str = "j1-0") -> Row[Any]:
        """Return a batch."""
        with self.store.read() as connection:
            return connection.execute(select(batch_table).where(batch_table.c.id == batch_id)).one()

    def states(self) -> list[str]:
        """Return the states of all batches, in order."""
        rows = sorted(self.rows(batch_table), key=lambda row: (row.job_id, row.position, row.id))
        return [row.state for row in rows]

    def runs(self) -> list[tuple[int, str, str | None]]:
        """Return attempt, state and provider's id of all runs."""
        return [(row.attempt, row.state, row.provider_job_id) for row in self.rows(provider_jobs)]

    def job(self, job_id: str = "j1") -> JobRecord:
        """Return a job."""
        with self.store.read() as connection:
            return jobs.get(connection, job_id)

    def happened(self, what: str) -> int:
        """Return how often something was recorded."""
        return sum(row.what == what for row in self.rows(events))


def result(claim: Claim, outcome: str = "", *, merge: bool = False) -> Run:
    """Return a run of a claim that came back."""
    chunks = [f"{outcome}{claim.batch_id}/{position}".encode() for position in range(len(claim.slices))]
    merged = {piece.pub: b"merged" for piece in claim.slices} if merge else {}
    return Run(claim, chunks, merged, claim.provider_job_id or "p1")
