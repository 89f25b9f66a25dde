"""What is true of a store at every moment, whatever workers, providers and people did to it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

from sqlalchemy import Connection, select

from pubworks.states import AT_PROVIDER, FINAL_BATCHES, BatchState, JobState, RunState
from pubworks.store import tables
from pubworks.store.store import Store

#: One shot of one circuit: its PUB, the circuit's number in it, the shot's number.
Cell = tuple[int, int, int]

#: Batches that may live at the provider by ``backend.run``.
CALLED = (BatchState.SUBMITTING, BatchState.IN_FLIGHT, BatchState.UNCERTAIN, BatchState.HELD)

_TABLES = (tables.jobs, tables.pubs, tables.batches, tables.provider_jobs, tables.chunks, tables.events)


class Snapshot:
    """All rows at one moment.

    Args:
        connection: An open connection.
    """

    def __init__(self, connection: Connection) -> None:
        rows = {table.name: connection.execute(select(table)).all() for table in _TABLES}
        self.jobs: list[Any] = list(rows["jobs"])
        self.batches: dict[str, Any] = {row.id: row for row in rows["batches"]}
        self.chunks: list[Any] = list(rows["chunks"])
        self.events: list[Any] = list(rows["events"])
        self._batches = _group(rows["batches"], "job_id")
        self._pubs = _group(rows["pubs"], "job_id")
        self._chunks = _group(rows["chunks"], "job_id")
        self._runs = _group(rows["provider_jobs"], "batch_id")

    def batches_of(self, job_id: str) -> list[Any]:
        """Return the batches of a job, without those that their halves stand for."""
        return [row for row in self._batches[job_id] if row.state != BatchState.SPLIT]

    def pubs_of(self, job_id: str) -> list[Any]:
        """Return the PUBs of a job."""
        return self._pubs[job_id]

    def chunks_of(self, job_id: str) -> list[Any]:
        """Return the chunks of a job."""
        return self._chunks[job_id]

    def runs_of(self, batch_id: str) -> list[Any]:
        """Return the runs of a batch."""
        return self._runs[batch_id]

    def at_provider(self, backend: str) -> set[str]:
        """Return the batches that occupy, or may occupy, a place at the provider of a backend."""
        return {row.id for row in self.batches.values() if row.backend == backend and row.state in AT_PROVIDER}


def _group(rows: Iterable[Any], name: str) -> defaultdict[str, list[Any]]:
    groups: defaultdict[str, list[Any]] = defaultdict(list)
    for row in rows:
        groups[getattr(row, name)].append(row)
    return groups


def check(store: Store) -> Snapshot:
    """Read a store, while nobody writes to it, and see that it keeps every promise.

    Raises:
        AssertionError: It does not.
    """
    with store.read() as connection:
        snapshot = Snapshot(connection)
    for promise in PROMISES:
        promise(snapshot)
    return snapshot


def _cells(slices: Iterable[Iterable[int]], shots: int) -> Iterator[Cell]:
    for pub, first, end, first_shot in slices:
        for circuit in range(first, end):
            for shot in range(first_shot, first_shot + shots):
                yield pub, circuit, shot


def _once(cells: Iterable[Cell]) -> set[Cell]:
    counts = Counter(cells)
    assert all(count == 1 for count in counts.values()), f"covered twice: {counts.most_common(3)}"
    return set(counts)


def a_batch_is_held_due_or_over(snapshot: Snapshot) -> None:
    """Somebody holds a batch, or it is due for somebody, or a person decides, or nothing is left to do."""
    for row in snapshot.batches.values():
        leased, due, over = row.lease_owner is not None, row.due_at is not None, row.finished_at is not None
        assert leased == (row.lease_until is not None), row
        match row.state:
            case BatchState.CLAIMED | BatchState.SUBMITTING:
                expected = [(True, False, False)]
            case BatchState.IN_FLIGHT:
                expected = [(True, False, False), (False, True, False)]
            case BatchState.UNCERTAIN:
                expected = [(False, True, False)]
            case BatchState.HELD:
                expected = [(False, False, False)]
            case BatchState.PENDING:
                expected = [(False, not _waits_for_its_twin(snapshot, row), False)]
            case _:
                expected = [(False, False, True)]
        assert (leased, due, over) in expected, row


def _waits_for_its_twin(snapshot: Snapshot, row: Any) -> bool:
    """Whether a batch waits for the judgement of its other half, which must be to come."""
    if row.due_at is not None:
        return False
    assert row.id.endswith(".1"), row
    whole = row.id.removesuffix(".1")
    twin = snapshot.batches[f"{whole}.0"]
    assert twin.state not in FINAL_BATCHES, f"{row.id} waits for ever: {twin.id} is {twin.state}"
    if twin.state == BatchState.IN_FLIGHT:  # taken; what that says is known only where runs are refused before
        parts = whole.split(".")
        runs = [run for count in range(len(parts)) for run in snapshot.runs_of(".".join(parts[: count + 1]))]
        assert any(run.accepted_at is not None for run in runs), f"{row.id} waits for {twin.id}"
    return True


def a_run_in_flight_is_known_by_its_id(snapshot: Snapshot) -> None:
    """The provider's id is there while, and only while, it is needed."""
    for row in snapshot.batches.values():
        if row.state != BatchState.DONE and not BatchState(row.state).is_final:
            assert (row.provider_job_id is not None) == (row.state == BatchState.IN_FLIGHT), row


def every_shot_has_its_place(snapshot: Snapshot) -> None:
    """The batches of a job cover each shot of each circuit once, however they were split."""
    for job in snapshot.jobs:
        expected = {
            (pub.position, circuit, shot)
            for pub in snapshot.pubs_of(job.id)
            for circuit in range(pub.size)
            for shot in range(pub.shots)
        }
        mine = snapshot.batches_of(job.id)
        assert _once(cell for row in mine for cell in _cells(row.slices, row.shots)) == expected
        for row in mine:
            assert row.num_circuits == sum(end - first for _, first, end, _ in row.slices) > 0, row


def halves_stand_for_what_was_split(snapshot: Snapshot) -> None:
    """A split batch has two halves, which cover it but for what they left to rests, and draw other samples."""
    ids = snapshot.batches.keys()
    for row in snapshot.batches.values():
        halves = [snapshot.batches.get(f"{row.id}.{number}") for number in (0, 1)]
        if row.state != BatchState.SPLIT:
            assert halves == [None, None]
            continue
        first, second = halves
        assert first is not None
        assert second is not None
        both = _once(cell for half in (first, second) for cell in _cells(half.slices, half.shots))
        whole, root = _once(_cells(row.slices, row.shots)), row.id.partition(".")[0]
        assert both == whole or (both < whole and any(other.startswith(f"{root}.") and ".r" in other for other in ids))
        for half in (first, second):
            same = (half.job_id, half.backend, half.position, half.run_options)
            assert same == (row.job_id, row.backend, row.position, row.run_options)
        assert first.seed is None or first.seed != second.seed


def a_batch_is_of_the_session_of_its_job(snapshot: Snapshot) -> None:
    """Whatever a batch was made from, it goes before others or not as its job does."""
    session = {job.id: job.session for job in snapshot.jobs}
    for row in snapshot.batches.values():
        assert row.session == session[row.job_id], row


def chunks_are_of_batches_that_are_done(snapshot: Snapshot) -> None:
    """A DONE batch has one chunk for each slice, and no other batch has any."""
    found = _group(sorted(snapshot.chunks, key=lambda row: row.position), "batch_id")
    for row in snapshot.batches.values():
        of_batch = [[c.pub, c.first, c.end, c.first_shot, c.shots] for c in found.pop(row.id, [])]
        assert of_batch == ([[*piece, row.shots] for piece in row.slices] if row.state == BatchState.DONE else []), row
    assert not found


def a_done_job_has_every_shot(snapshot: Snapshot) -> None:
    """The chunks of a DONE job hold each shot of each circuit, and of any job none twice."""
    for job in snapshot.jobs:
        mine = snapshot.chunks_of(job.id)
        stored = _once(cell for c in mine for cell in _cells([[c.pub, c.first, c.end, c.first_shot]], c.shots))
        if job.state == JobState.DONE:
            assert len(stored) == sum(pub.size * pub.shots for pub in snapshot.pubs_of(job.id)), job


def counters_are_what_they_count(snapshot: Snapshot) -> None:
    """``batches_left``, ``num_batches`` and ``missing`` are the counts of rows that they stand for."""
    for job in snapshot.jobs:
        mine = snapshot.batches_of(job.id)
        assert job.num_batches == len(mine), job
        assert job.batches_left == sum(not BatchState(row.state).is_final for row in mine), job
        open_ = [piece for row in mine if row.state != BatchState.DONE for piece in row.slices]
        for pub in snapshot.pubs_of(job.id):
            assert pub.missing == sum(end - first for where, first, end, _ in open_ if where == pub.position), pub
            assert (pub.missing == 0) == (pub.ready_at is not None), pub
            assert pub.collected_at is None or pub.missing == 0, pub


def a_job_is_final_when_nothing_is_left_and_not_before(snapshot: Snapshot) -> None:
    """A job ends once, and once more for each retry; of a cancelled one nothing waits to be run or decided."""
    ended = Counter(row.job_id for row in snapshot.events if row.what in ("finished", "cancelled"))
    ended.subtract(row.job_id for row in snapshot.events if row.what == "retried")
    for job in snapshot.jobs:
        state = JobState(job.state)
        assert ended[job.id] == state.is_final == (job.finished_at is not None), job
        if state == JobState.CANCELLED:
            waiting = (BatchState.PENDING, BatchState.HELD)
            assert not [row for row in snapshot.batches_of(job.id) if row.state in waiting], job
            continue
        mine = snapshot.pubs_of(job.id)
        merged = sum(pub.collected_at is not None for pub in mine)
        unmerged = any(pub.missing == 0 and pub.collected_at is None for pub in mine)
        assert state.is_final == (job.batches_left == 0 and not unmerged), job
        if state.is_final:
            assert state == ("DONE" if merged == len(mine) else "PARTIAL" if merged else "FAILED"), job


def runs_tell_the_truth(snapshot: Snapshot) -> None:
    """A run that may still come to something is its batch's only one, and in the batch's state."""
    for row in snapshot.batches.values():
        mine = snapshot.runs_of(row.id)
        assert all(run.attempt <= row.fence for run in mine), row
        alive = [run.state for run in mine if run.state not in _OVER]
        assert alive == _ALIVE.get(row.state, []) or (row.state, alive) in _ALSO, (row, mine)
        assert all(run.provider_job_id for run in mine if run.state in (RunState.ACCEPTED, RunState.CANCELLING)), row


_OVER = (RunState.FAILED, RunState.LOST, RunState.CANCELLED)

#: What the run of a batch is; of a batch in other states none is left.
_ALIVE = {
    BatchState.CLAIMED: [RunState.INTENT],
    BatchState.SUBMITTING: [RunState.INTENT],
    BatchState.UNCERTAIN: [RunState.UNCERTAIN],
    BatchState.HELD: [RunState.UNCERTAIN],
    BatchState.IN_FLIGHT: [RunState.ACCEPTED],
    BatchState.DONE: [RunState.DONE],
}
#: Of a batch that was held when its job was cancelled, or given up, it stays unknown what became of the run.
_ALSO = [
    (BatchState.IN_FLIGHT, [RunState.CANCELLING]),
    (BatchState.CANCELLED, [RunState.UNCERTAIN]),
    (BatchState.FAILED, [RunState.UNCERTAIN]),
]

PROMISES = (
    a_batch_is_held_due_or_over,
    a_run_in_flight_is_known_by_its_id,
    every_shot_has_its_place,
    halves_stand_for_what_was_split,
    a_batch_is_of_the_session_of_its_job,
    chunks_are_of_batches_that_are_done,
    a_done_job_has_every_shot,
    counters_are_what_they_count,
    a_job_is_final_when_nothing_is_left_and_not_before,
    runs_tell_the_truth,
)
