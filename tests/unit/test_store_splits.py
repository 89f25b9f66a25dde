"""Refused batches are halved until what is bad stands alone; nothing is lost or run twice on the way."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, select, update

from pubworks.policy import Policy
from pubworks.states import BatchState, JobState
from pubworks.store import batches, claiming, flights, jobs, splits
from pubworks.store.engine import now
from pubworks.store.records import Claim, JobDraft, Slice
from pubworks.store.store import Store
from pubworks.store.tables import batches as batch_table
from pubworks.store.tables import events as event_table
from pubworks.store.tables import jobs as job_table
from pubworks.testing.store import Calls, check, draft
from pubworks.testing.store.calls import LEASE_S, result

#: Examples of a property; each is dozens of queries.
FEW = settings(max_examples=25)

slices = st.lists(
    st.builds(
        lambda pub, first, size, shot: Slice(pub, first, first + size, shot),
        st.integers(0, 3), st.integers(0, 5), st.integers(1, 6), st.sampled_from([0, 10]),
    ),
    max_size=6,
)  # fmt: skip


@pytest.fixture
def calls(store: Store) -> Calls:
    return Calls(store)


@pytest.fixture(autouse=True)
def _by_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have nothing become due by the time that a test takes."""
    monkeypatch.setattr(batches.random, "uniform", lambda *_: 1e6)


def circuits_of(pieces: Iterable[Slice]) -> list[tuple[int, int, int]]:
    """Return the circuits of slices in order, with their first shots."""
    return [(piece.pub, circuit, piece.first_shot) for piece in pieces for circuit in range(piece.first, piece.end)]


@given(slices, st.data())
def test_a_cut_loses_nothing_and_keeps_the_order(pieces: list[Slice], data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(circuits_of(pieces))))
    first, second = splits.cut(pieces, at)
    assert len(circuits_of(first)) == at
    assert circuits_of(first) + circuits_of(second) == circuits_of(pieces)
    assert all(piece.num_circuits for piece in first + second)


@st.composite
def jobs_of_one_batch(draw: st.DrawFn) -> list[Slice]:
    """Return the slices of a batch of whole PUBs."""
    sizes = draw(st.lists(st.integers(1, 6), min_size=1, max_size=4))
    return [Slice(pub, 0, size, 0) for pub, size in enumerate(sizes)]


def fresh(store: Store, job: JobDraft) -> Calls:
    """Return calls on a store with this job only."""
    calls = Calls(store)
    with store.write(durable=False) as connection:
        connection.execute(job_table.delete())
        connection.execute(event_table.delete())
    calls.submit(job)
    return calls


@FEW
@given(
    pieces=jobs_of_one_batch(),
    shots=st.integers(1, 9),
    ways=st.lists(st.sampled_from(["c", "s", "b", "done"]), max_size=12),
)
def test_however_it_is_halved_every_shot_is_run_once(
    store: Store, pieces: list[Slice], shots: int, ways: list[str]
) -> None:
    calls = fresh(store, draft("j1", pieces, shots=shots))
    for way in ways:
        claim = calls.claim()
        if claim is None:
            break
        if way == "s" and claim.shots > 1:
            assert calls.split(claim, by_shots=True)
        elif way in "cb" and claim.num_circuits > 1:
            assert calls.split(claim, one_is_bad=way == "b")
        else:
            calls.complete(claim, merge=False)
        check(store)
    while claim := calls.claim():
        calls.complete(claim, merge=False)
    snapshot = check(store)
    assert snapshot.jobs[0].batches_left == 0
    assert all(pub.missing == 0 for pub in snapshot.pubs_of("j1"))
    done = [row.shots * row.num_circuits for row in snapshot.batches.values() if row.state == "DONE"]
    assert sum(done) == shots * sum(piece.end for piece in pieces)


def test_halves_of_circuits_are_as_equal_as_can_be(calls: Calls) -> None:
    calls.submit(draft("j1", [Slice(0, 0, 2, 0), Slice(1, 0, 3, 0)]))
    assert calls.split(calls.take(), reason="too many")
    first, second = calls.batch("j1-0.0"), calls.batch("j1-0.1")
    assert (first.slices, first.num_circuits) == ([[0, 0, 2, 0]], 2)
    assert (second.slices, second.num_circuits) == ([[1, 0, 3, 0]], 3)
    assert first.seed == 7
    assert second.seed not in (7, None)
    assert (first.shots, first.run_options, first.position, first.reason) == (10, {"method": "x"}, 0, "too many")
    assert (calls.job().num_batches, calls.job().batches_left) == (2, 2)
    assert calls.runs() == [(1, "FAILED", None)]
    with calls.store.read() as connection:
        progress = jobs.progress(connection, "j1")
    assert (progress.num_batches, progress.batches) == (2, {"PENDING": 2})


def test_halves_of_shots_follow_each_other(calls: Calls) -> None:
    calls.submit(draft("j1", [Slice(0, 0, 2, 0)], [Slice(0, 0, 2, 5)], shots=5))
    calls.take()
    assert calls.split(calls.take(), by_shots=True)
    first, second = calls.batch("j1-1.0"), calls.batch("j1-1.1")
    assert (first.slices, first.shots) == ([[0, 0, 2, 5]], 2)
    assert (second.slices, second.shots) == ([[0, 0, 2, 7]], 3)
    assert calls.job().num_batches == 3
    check(calls.store)


def test_halves_come_before_what_was_submitted_later(calls: Calls) -> None:
    calls.submit(draft("j1", [Slice(0, 0, 4, 0)], [Slice(0, 4, 5, 0)]))
    calls.wait(1)
    calls.submit(draft("j2", [Slice(0, 0, 1, 0)]))
    calls.split(calls.take())
    calls.split(calls.take())
    assert [claim.batch_id for claim in calls.taken(most=9).claims] == [
        "j1-0.0.0",
        "j1-0.0.1",
        "j1-0.1",
        "j1-1",
        "j2-0",
    ]


class Refusing:
    """A provider that refuses every batch with a bad circuit of PUB 0, and takes the others."""

    def __init__(self, connection: Connection, bad: dict[str, set[int]], reason: str = "bad circuit {}") -> None:
        self.connection, self.bad, self.reason = connection, bad, reason
        #: Calls by job, and the circuits that were accepted.
        self.runs: Counter[str] = Counter()
        self.accepted: Counter[tuple[str, int]] = Counter()
        #: Brings what runs at the same time into the order in which it ends.
        self.order: Callable[[list[Claim]], object] = lambda _: None

    def work(self, at_once: int = 1000) -> None:
        """Run everything, so many batches at once; what waits for a while is run when nothing else is due."""
        while self._run_due(at_once) or self._wait():
            pass

    def _run_due(self, at_once: int) -> bool:
        claims = claiming.claim(self.connection, "aer", "w/1", LEASE_S, most=at_once).claims
        self.order(claims)
        taken = [claim for claim in claims if not self._refuses(claim)]
        batches.complete(self.connection, [result(claim) for claim in taken])
        for claim in taken:
            self.accepted.update((claim.job_id, circuit) for _, circuit, _ in circuits_of(claim.slices))
        return bool(claims)

    def _wait(self) -> bool:
        later = select(batch_table.c.id).where(batch_table.c.state == "PENDING", batch_table.c.due_at > now())
        first = self.connection.execute(later.order_by(batch_table.c.due_at).limit(1)).scalar()
        due = update(batch_table).where(batch_table.c.id == first).values(due_at=now())
        return bool(self.connection.execute(due).rowcount)

    def _refuses(self, claim: Claim) -> bool:
        self.runs[claim.job_id] += 1
        circuits = {circuit for _, circuit, _ in circuits_of(claim.slices)}
        bad = sorted(circuits & self.bad[claim.job_id])
        if bad and claim.num_circuits > 1:
            assert batches.split(self.connection, claim, self.reason.format(bad[0]), one_is_bad=True)
        elif bad:
            assert batches.fail(self.connection, claim, self.reason.format(bad[0]))
        return bool(bad)


def refuse(
    store: Store,
    cases: list[tuple[int, set[int]]],
    reason: str = "bad circuit {}",
    at_once: int = 1000,
    kind: type[Refusing] = Refusing,
    order: Callable[[list[Claim]], object] = lambda _: None,
) -> Refusing:
    """Return what happened to jobs of so many circuits of which some are bad."""
    bad = {f"j{number}": which for number, (_, which) in enumerate(cases)}
    with store.write(durable=False) as connection:
        for job_id, (count, _) in zip(bad, cases, strict=True):
            jobs.submit(connection, draft(job_id, [Slice(0, 0, count, 0)]))
        provider = kind(connection, bad, reason)
        provider.order = order
        provider.work(at_once)
    check(store)
    return provider


@pytest.mark.parametrize("counts", [range(2, 17), (17, 31, 32), (33, 40)], ids=str)
def test_one_bad_circuit_is_found_in_a_logarithm_of_runs(store: Store, counts: Iterable[int]) -> None:
    assert_found(store, [(count, {bad}) for count in counts for bad in range(count)])


def test_one_bad_circuit_is_found_among_hundreds(store: Store) -> None:
    assert_found(store, [(300, {bad}) for bad in (0, 1, 74, 149, 150, 151, 222, 298, 299)])


def assert_found(store: Store, cases: list[tuple[int, set[int]]], kind: type[Refusing] = Refusing) -> None:
    provider = refuse(store, cases, kind=kind)
    for number, (count, (bad,)) in enumerate(cases):
        assert provider.runs[f"j{number}"] <= 2 * math.log2(count) + 1, (count, bad)
        found = [circuit for job_id, circuit in provider.accepted if job_id == f"j{number}"]
        assert sorted(found) == sorted({*range(count)} - {bad})
    failed = [row for row in Calls(store).rows(batch_table) if row.state == BatchState.FAILED]
    assert {row.job_id: {piece[1] for piece in row.slices} for row in failed} == {
        f"j{number}": bad for number, (_, bad) in enumerate(cases)
    }
    assert all(row.num_circuits == 1 for row in failed)


class RefusingLate(Refusing):
    """A provider that takes every batch, and refuses bad ones when they are run."""

    def _run_due(self, at_once: int) -> bool:
        policy = Policy()
        claims = claiming.claim(self.connection, "aer", "w/1", LEASE_S, most=at_once).claims
        for claim in claims:
            assert batches.begin_call(self.connection, claim)
            assert batches.accept(self.connection, claim, "p", 0.0)
        looks, _ = flights.due(self.connection, "aer", calls=at_once, per_call=1, policy=policy)
        ended, _ = flights.take_up(self.connection, "aer", looks, owner="w/1", lease_s=LEASE_S, policy=policy)
        self.order(ended)
        for claim in ended:
            if not self._refuses(claim):
                batches.complete(self.connection, [result(claim)])
                self.accepted.update((claim.job_id, circuit) for _, circuit, _ in circuits_of(claim.slices))
        return bool(claims)


@pytest.mark.parametrize("count", [2, 3, 8, 17, 31, 40])
def test_one_that_is_refused_when_it_is_run_is_found_as_fast(store: Store, count: int) -> None:
    assert_found(store, [(count, {bad}) for bad in range(count)], RefusingLate)


@FEW
@given(count=st.integers(2, 40), data=st.data())
def test_several_bad_circuits_fail_alone(store: Store, count: int, data: st.DataObject) -> None:
    bad = data.draw(st.sets(st.integers(0, count - 1), min_size=1, max_size=min(count, 6)))
    fresh(store, draft("other", pubs=0))
    provider = refuse(store, [(count, bad)])
    assert {circuit for _, circuit in provider.accepted} == {*range(count)} - bad
    assert set(provider.accepted.values()) <= {1}
    assert provider.runs["j0"] <= len(bad) * (2 * math.log2(count) + 1)
    job = Calls(store).job("j0")
    assert (job.state, job.batches_left) == (JobState.FAILED, 0)  # its only PUB is not whole


@FEW
@given(count=st.integers(2, 120), at_once=st.sampled_from([1, 2, 4, 1000]), late=st.booleans(), data=st.data())
def test_good_circuits_near_many_bad_ones_get_their_results(
    store: Store, count: int, at_once: int, late: bool, data: st.DataObject
) -> None:
    """However many are bad for the same reason: only if none at all was accepted, good ones may be given up."""
    start, size = data.draw(st.integers(0, count - 1)), data.draw(st.integers(1, 20))
    others = data.draw(st.sets(st.integers(0, count - 1), max_size=5))
    bad = {*range(start, min(count, start + size)), *others}
    fresh(store, draft("other", pubs=0))
    kind, chance = RefusingLate if late else Refusing, data.draw(st.randoms(use_true_random=False))
    provider = refuse(store, [(count, bad)], "no such gate", at_once, kind, chance.shuffle)
    good = {circuit for _, circuit in provider.accepted}
    assert good == {*range(count)} - bad or not good
    assert set(provider.accepted.values()) <= {1}
    assert Calls(store).job("j0").batches_left == 0


@pytest.mark.parametrize(("kind", "at_once"), [(Refusing, 1), (RefusingLate, 16)])
@pytest.mark.parametrize("bad", [{*range(6)}, {0, 1, 2, 3, 4, 5, 8}, {*range(40)}], ids=len)
def test_a_few_bad_neighbours_do_not_end_the_others(
    store: Store, kind: type[Refusing], at_once: int, bad: set[int]
) -> None:
    provider = refuse(store, [(300, bad)], "no such gate", at_once, kind)
    assert {circuit for _, circuit in provider.accepted} == {*range(300)} - bad


@pytest.mark.parametrize(
    ("kind", "at_once", "most"), [(Refusing, 1, 40), (Refusing, 4, 75), (RefusingLate, 4, 75), (Refusing, 16, 150)]
)
def test_what_is_refused_for_all_circuits_is_given_up_early(
    store: Store, at_once: int, most: int, kind: type[Refusing]
) -> None:
    provider = refuse(store, [(256, {*range(256)})], reason="no such option", at_once=at_once, kind=kind)
    assert provider.runs["j0"] <= most
    calls = Calls(store)
    assert calls.job("j0").state == JobState.FAILED
    reasons = {row.reason for row in calls.rows(batch_table) if row.state == BatchState.FAILED}
    assert "no such option (as circuits of this batch that were tried alone)" in reasons


@pytest.mark.parametrize("good", [{0}, {255}, {128, 7}])
def test_what_is_refused_for_reasons_of_its_own_is_searched_through(store: Store, good: set[int]) -> None:
    provider = refuse(store, [(256, {*range(256)} - good)])
    assert {circuit for _, circuit in provider.accepted} == good


def test_one_that_is_accepted_keeps_up_the_hope(store: Store) -> None:
    provider = refuse(store, [(64, {*range(1, 64)})], reason="no such gate")
    assert {circuit for _, circuit in provider.accepted} == {0}
    assert provider.runs["j0"] > 64


def test_others_of_its_job_do_not_make_a_batch_hopeless(store: Store) -> None:
    calls = Calls(store)
    calls.submit(draft("j1", *[[Slice(0, at, at + 1, 0)] for at in range(6)], [Slice(0, 6, 8, 0)]))
    for _ in range(6):
        calls.fail(calls.take(), "bad")
    assert calls.split(calls.take(), one_is_bad=True, reason="bad")
    assert calls.batch("j1-6").state == BatchState.SPLIT


@pytest.mark.parametrize("judge", ["accept", "complete", "adopt"])
@pytest.mark.parametrize("count", [2, 3, 8])
def test_a_half_that_is_taken_puts_the_blame_on_the_other(calls: Calls, judge: str, count: int) -> None:
    calls.submit(draft("j1", [Slice(0, 0, count, 0)]))
    calls.split(calls.take(), one_is_bad=True)
    first = calls.take()
    assert calls.claim() is None  # the second half waits
    assert calls.batch("j1-0.1").reason == "waits until its first half was judged"
    if judge == "complete":
        calls.complete(first, merge=False)
    else:
        calls.begin_call(first)
        if judge == "accept":
            calls.accept(first)
        else:
            calls.end_leases()
            assert calls.do(splits_adopt, first)
    second = calls.batch("j1-0.1")
    assert second.state == (BatchState.PENDING if count == 2 else BatchState.SPLIT)  # one circuit tells why itself
    assert calls.take().batch_id == ("j1-0.1" if count == 2 else "j1-0.1.0")
    check(calls.store)


def splits_adopt(connection: Connection, claim: Claim) -> bool:
    from pubworks.store import doubts

    return doubts.adopt(connection, claim.batch_id, claim.fence, "p9")


@pytest.mark.parametrize("end", ["fail", "split"])
def test_a_half_that_is_not_taken_says_nothing_about_the_other(calls: Calls, end: str) -> None:
    calls.submit(draft("j1", [Slice(0, 0, 8, 0)]))
    calls.split(calls.take(), one_is_bad=True)
    first = calls.take()
    assert calls.put_back(first)
    assert calls.claim("w/2").batch_id == "j1-0.0"  # type: ignore[union-attr]
    calls.end_leases()
    assert getattr(calls, end)(calls.take())
    assert "j1-0.1" in [claim.batch_id for claim in calls.taken(most=9).claims]
    check(calls.store)


def test_a_late_result_of_what_was_split_is_not_stored(calls: Calls) -> None:
    calls.submit(draft("j1", [Slice(0, 0, 4, 0)]))
    claim = calls.take()
    calls.split(claim)
    assert calls.complete(claim) is None
    assert calls.states() == ["SPLIT", "PENDING", "PENDING"]
