"""Workers that claim, crash, come late and race in any order; after every step the store keeps its promises.

Run it on a database of your own::

    run_state_machine_as_test(lambda: StoreMachine(store))
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from pubworks.errors import JobNotFound, NothingToRetry
from pubworks.policy import Policy
from pubworks.states import BatchState, JobState, Mode
from pubworks.store import batches, cancelling, doubts, flights, jobs, limits, results, sessions, splits
from pubworks.store.records import BatchDraft, Claim, JobDraft, Look, PubDraft, Rest, Run, Slice
from pubworks.store.store import Store
from pubworks.store.tables import audit, metadata
from pubworks.store.tables import batches as batch_table
from pubworks.testing.store.calls import LEASE_S, READOUT, Calls, result
from pubworks.testing.store.promises import Snapshot, check

OWNERS = ("a/1", "a/2", "b/1")

#: What a worker does with a claim before something else happens.
WAYS: tuple[tuple[str, ...], ...] = (
    ("begin_call", "accept"),
    ("begin_call",),
    (),
    ("begin_call", "doubt"),
    ("begin_call", "lose"),
    ("begin_call", "lose", "hold"),
    ("begin_call", "lose", "run_again"),
    ("lose",),
    ("give_back",),
    ("begin_call", "put_back"),
    ("begin_call", "split_bad"),
    ("begin_call", "split_shots"),
    ("begin_call", "accept", "put_back"),
    ("begin_call", "accept", "fail"),
    ("split_bad",),
    ("complete",),
    ("complete_some",),
    ("fail",),
)

#: What it may do at any time.
STEPS = (
    "begin_call", "accept", "confirm_late", "doubt", "complete", "complete_some", "fail", "put_back", "snooze",
    "look_again", "hold_again", "split_bad", "split_circuits", "split_shots", "lose",
)  # fmt: skip

#: What it does with a run whose result it fetches.
_ENDS = st.lists(
    st.sampled_from(
        ["nothing", "complete", "complete_some", "look_again", "hold_again", "put_back", "fail", "split_bad"]
    )
)

#: What is decided about a batch in doubt.
DECISIONS = ("nothing", "adopt", "run_again", "hold")

#: Which of the newest is meant.
_PICK = st.integers(0, 5)

#: Circuits of the PUBs of a job, and shots of a batch.
SIZES: tuple[list[int], ...] = ([2, 2], [3], [1], [])
SHOTS = 3

#: What every third job is submitted to, by turns with the other and with none.
SESSIONS = {"s": Mode.SESSION, "b": Mode.BATCH}
_FOR_EVER_S = 1e9

#: What else happens; Hypothesis likes the first ones best.
EVENTS = (
    "keep", "resolve", "stop", "retry", "fall_silent", "wait", "submit_one", "set_cap", "have_trouble", "cancel",
)  # fmt: skip

#: Seconds that pass at once: less than a lease, a lease, and more than any wait.
WAITS = (1.0, LEASE_S + 1.0, 400.0)

#: More seconds than there are between two look-ups of a batch in doubt.
_LOOK_UP_S = 11.0

#: States of batches without a result.
_MISSING = (BatchState.FAILED, BatchState.CANCELLED)

_POLICY = Policy(breaker_failures=2, breaker_s=10.0)


class StoreMachine(RuleBasedStateMachine):
    """Several workers, their keeper, a provider and a person on one database.

    Args:
        store: A database with the tables, which are emptied first.
    """

    def __init__(self, store: Store) -> None:
        super().__init__()
        self.calls = Calls(store)
        with store.write(durable=False) as connection:
            for table in reversed(metadata.sorted_tables):
                if table is not audit:  # nobody may empty it, and nothing here writes to it
                    connection.execute(table.delete())
        #: What workers hold, or think that they hold, and what they looked up; the newest first.
        self.hands: list[Claim] = []
        self.looks: list[Look] = []
        #: Batch -> fence of the call that may have reached the provider, and of which nobody said that it is over.
        self.called: dict[str, int] = {}
        #: Batch -> fences of its calls that were seen to be over.
        self.over: defaultdict[str, set[int]] = defaultdict(set)
        #: Claims whose runs are on their own at the provider.
        self.let_go: set[tuple[str, int]] = set()
        #: Claims of which nothing comes any more.
        self.given_back: set[tuple[str, int]] = set()
        #: Calls that the provider may confirm late.
        self.confirmable: set[tuple[str, int]] = set()
        self.cap: int | None = None
        #: Runs more than the cap that were there before it was set, or were found at the provider.
        self.surplus = 0
        self.submitted = self.stored = 0
        self.fences: dict[str, int] = {}
        self.final: dict[str, str] = {}
        self.states: Counter[str] = Counter()
        self.chunks: dict[tuple[str, int], bytes] = {}

    @initialize(cap=st.sampled_from([None, 1, 2, 4]))
    def start(self, cap: int | None) -> None:
        if cap:
            self.set_cap(cap)
        for session, mode in SESSIONS.items():
            times = {"max_time_s": _FOR_EVER_S, "idle_s": LEASE_S}
            self.calls.do(sessions.open_session, session, mode=mode, backend="aer", **times)
        self.submit(sizes=[2, 1], blocks=1, together=1)
        self.submit(sizes=[3], blocks=2, together=3)

    def submit_one(self, pick: int) -> None:
        self.submit(sizes=SIZES[pick % 4], blocks=pick % 2 + 1, together=4 - pick % 3)

    def submit(self, sizes: list[int], blocks: int, together: int) -> None:
        """Store a job whose PUBs are cut by circuits and by shots into batches of several PUBs."""
        circuits = [(pub, circuit) for pub, size in enumerate(sizes) for circuit in range(size)]
        drafts = [
            BatchDraft(SHOTS, block, tuple(_slices(circuits[start : start + together], block * SHOTS)))
            for block in range(blocks)
            for start in range(0, len(circuits), together)
        ]
        pubs = [PubDraft("h", (size,), size, SHOTS * blocks, None, READOUT, None) for size in sizes]
        job_id, session = f"j{self.submitted}", [None, *SESSIONS][self.submitted % 3]
        self.submitted += 1
        parts = ({"h": b""}, tuple(pubs), tuple(drafts))
        self.calls.submit(JobDraft(job_id, None, "sampler", "aer", {}, *parts, session=session))

    @rule(owner=st.sampled_from(OWNERS), most=st.integers(1, 3), way=st.sampled_from(WAYS))
    def claim(self, owner: str, most: int, way: tuple[str, ...]) -> None:
        """Take batches and go some way; what was claimed stays in a worker's hands, however old it gets."""
        if not self.has(BatchState.PENDING):
            self.submit_one(most)
        taken = self.calls.taken(owner, most=most, policy=_POLICY)
        if taken.claims and self.cap:
            assert self._at_provider() <= self.cap
        assert len(taken.claims) <= most
        assert not taken.wait_s or taken.why
        for claim in taken.claims:
            assert claim.batch_id not in self.called, "it would be paid twice"
            for step in way:
                getattr(self, step)(claim)
        self.hands = [*taken.claims, *self.hands]

    @precondition(lambda self: self.hands)
    @rule(acts=st.lists(st.tuples(_PICK, st.sampled_from(STEPS)), min_size=1, max_size=3))
    def act(self, acts: list[tuple[int, str]]) -> None:
        """Workers do something about batches that they hold, or think that they hold."""
        for pick, step in acts:
            getattr(self, step)(self.hands[pick % len(self.hands)])

    def begin_call(self, held: Claim) -> None:
        if self.calls.begin_call(held):
            assert held.batch_id not in self.called, "it is paid twice"
            self.called[held.batch_id] = held.fence
            self.confirmable.add((held.batch_id, held.fence))

    def accept(self, held: Claim) -> None:
        """The provider's answer comes, in time or late."""
        if self.calls.accept(held, _provider_id(held.batch_id, held.fence)):
            assert self.called[held.batch_id] == held.fence
            self.let_go.add((held.batch_id, held.fence))

    def confirm_late(self, held: Claim) -> None:
        """A worker tells of a run that it could not store in time, as from its spool."""
        if (held.batch_id, held.fence) in self.confirmable:
            self._adopt(held.batch_id, held.fence)

    def _adopt(self, batch_id: str, fence: int) -> None:
        name = _provider_id(batch_id, fence)
        adopted, row = self.calls.do(doubts.adopt, batch_id, fence, name), self.calls.batch(batch_id)
        if row.state == BatchState.IN_FLIGHT:
            assert adopted == (row.provider_job_id == name), "another's would be cancelled"
        if adopted and row.state == BatchState.IN_FLIGHT:
            self.called[batch_id] = fence  # a paid run of an older claim will do
            self._allow_surplus()

    @precondition(lambda self: self.hands)
    @rule(one=_PICK, other=_PICK, alone=st.booleans())
    def complete_two(self, one: int, other: int, alone: bool) -> None:
        """Store results, in time or late, once or again, together."""
        self.complete_both(self.hands[one % len(self.hands)], self.hands[other % len(self.hands)], alone)

    def complete_both(self, one: Claim, other: Claim, alone: bool) -> None:
        self.stored += 1
        come = [held for held in (one, other) if (held.batch_id, held.fence) not in self.given_back]
        for job_id in self.calls.do(batches.complete, [self._run(held, alone) for held in come]):
            assert job_id in (one.job_id, other.job_id)
        for held in come:
            self._over(held)

    def complete(self, held: Claim) -> None:
        self.complete_both(held, held, False)

    def complete_some(self, held: Claim) -> None:
        """Store a run that lost a shot, and of several circuits the first, for good or not."""
        if held.shots == 1 or (held.batch_id, held.fence) in self.given_back:
            return
        self.stored += 1
        bad, good = splits.cut(list(held.slices), held.num_circuits // 2)
        failed = Rest(tuple(bad), held.shots, "failed", attempts=1, given_up=self.stored % 2 == 0)
        later = tuple(piece._replace(first_shot=piece.first_shot + 1) for piece in good)
        lost = Rest(later, held.shots - 1, "lost", more=True)
        came = result(replace(held, slices=tuple(good), shots=1), f"{self.stored}/", merge=False)
        self.calls.do(batches.complete, [replace(came, rests=(failed, lost) if bad else (lost,))])
        self._over(held)

    def _run(self, held: Claim, alone: bool) -> Run:
        run = result(held, f"{self.stored}/")
        if alone:
            pubs = self.calls.do(jobs.load_pubs, held.job_id, [piece.pub for piece in held.slices])
            for piece in held.slices:
                if (piece.num_circuits, held.shots) == (pubs[piece.pub].size, pubs[piece.pub].shots):
                    run.merged[piece.pub] = b"merged"
        return run

    def fail(self, held: Claim) -> None:
        self._ended(held, self.calls.fail(held))

    def put_back(self, held: Claim) -> None:
        """Its run came to nothing, says the provider."""
        self._ended(held, self.calls.put_back(held))

    def snooze(self, held: Claim) -> None:
        """The provider does not take it now."""
        self._ended(held, self.calls.put_back(held, 30.0, counts=False))

    def give_back(self, held: Claim) -> None:
        """It is not begun, nor will it be."""
        self.calls.give_back(held)
        self.given_back.add((held.batch_id, held.fence))

    def doubt(self, held: Claim) -> None:
        if self.calls.doubt(held):
            assert self.called[held.batch_id] == held.fence

    def split_bad(self, held: Claim) -> None:
        self._split(held, held.num_circuits, one_is_bad=True)

    def split_circuits(self, held: Claim) -> None:
        self._split(held, held.num_circuits)

    def split_shots(self, held: Claim) -> None:
        self._split(held, held.shots, by_shots=True)

    def _split(self, held: Claim, size: int, **how: Any) -> None:
        if size > 1:
            self._ended(held, self.calls.split(held, **how))

    def _ended(self, held: Claim, done: bool) -> None:
        if done:
            assert (held.batch_id, held.fence) not in self.let_go, "its run goes on at the provider"
            self._over(held)

    def _over(self, held: Claim) -> None:
        """A run of a batch is over, so that the batch may be called again, if it is not over too."""
        self.called.pop(held.batch_id, None)
        self.confirmable.discard((held.batch_id, held.attempt))

    @precondition(lambda self: self.has(BatchState.IN_FLIGHT))
    @rule(owner=st.sampled_from(OWNERS), per_call=st.integers(1, 2), ends=_ENDS, cancels=st.integers(0, 2))
    def fetch(self, owner: str, per_call: int, ends: list[str], cancels: int) -> None:
        """Ask about runs in flight, all of which are over, and fetch their results."""
        self.calls.wait(_POLICY.poll_longest_s + 1.0)
        if cancels == 2:
            self.calls.cancel(next(iter(self.called)).rpartition("-")[0])
            self.every_promise_is_kept()
        looks = self.calls.looks(calls=2, per_call=per_call)
        assert all(look.due_in_s > 0 for look in looks)
        looks = self._see_to_cancels(looks, cancels)
        claims = self.calls.take_up(looks, owner)
        assert {claim.batch_id for claim in claims} == {look.batch_id for look in looks}
        for claim in claims:
            self.over[claim.batch_id].add(claim.attempt)
        for claim, end in zip(claims, ends, strict=False):
            assert claim.provider_job_id == _provider_id(claim.batch_id, claim.attempt)
            getattr(self, end)(claim)
        self.hands = [*claims, *self.hands]

    def _see_to_cancels(self, looks: list[Look], cancels: int) -> list[Look]:
        """Ask to cancel the runs of cancelled jobs; some runs are found cancelled. Returns those that are not."""
        for look in looks:
            assert not look.cancel or self.final[look.job_id] == JobState.CANCELLED
            if look.cancel:
                self.calls.do(cancelling.asked, look, None)
        self.calls.do(cancelling.carried_out, looks[:cancels])
        for look in looks[:cancels]:
            del self.called[look.batch_id]
        return looks[cancels:]

    def lose(self, held: Claim) -> None:
        """Its lease ends."""
        self.calls.end_leases(batch_table.c.id == held.batch_id, batch_table.c.fence == held.fence)

    def hold(self, held: Claim) -> None:
        self.decide(held, "hold")

    def run_again(self, held: Claim) -> None:
        self.decide(held, "run_again")

    def nothing(self, held: Claim) -> None:
        """Its worker is slow."""

    def hold_again(self, held: Claim) -> None:
        """The provider has no such job as a person named."""
        if held.by_hand:
            self.calls.do(doubts.hold_again, held, "no such job")

    def look_again(self, held: Claim) -> None:
        self.calls.do(flights.look_again, held, "timed out", 1.0)

    @precondition(lambda self: self.has(BatchState.UNCERTAIN))
    @rule(most=st.integers(1, 3), decision=st.sampled_from(DECISIONS))
    def look_up(self, most: int, decision: str) -> None:
        """Look batches in doubt up; the answer may come late."""
        self.calls.wait(_LOOK_UP_S)
        looks = self.calls.doubts(most)
        for look in looks:
            self.decide(look, decision)
        self.looks = [*looks, *self.looks]

    @precondition(lambda self: self.looks)
    @rule(pick=_PICK, decision=st.sampled_from(DECISIONS))
    def decide_late(self, pick: int, decision: str) -> None:
        self.decide(self.looks[pick % len(self.looks)], decision)

    def decide(self, look: Look | Claim, decision: str) -> None:
        if decision == "adopt":
            self._adopt(look.batch_id, look.fence)
        elif decision == "run_again" and self.calls.do(doubts.run_again, look.batch_id, look.fence, "unknown"):
            assert self.called.pop(look.batch_id) == look.fence
        elif decision == "hold" and self.calls.do(doubts.hold, look.batch_id, look.fence, "unknown"):
            assert self.called[look.batch_id] == look.fence

    def resolve(self, pick: int) -> None:
        """A person decides about the batch that was held longest."""
        found, decision = self.calls.do(doubts.held), ("adopt", "resubmit", "fail")[pick % 3]
        if not found:
            return
        row = found[0]
        name = _provider_id(row.id, self.called[row.id])
        assert self.calls.do(doubts.resolve, row.id, decision, name) == row.id
        if decision == "resubmit":
            del self.called[row.id]
        self._allow_surplus()

    @rule(what=st.sampled_from(EVENTS), pick=st.integers(0, 11))
    def happen(self, what: str, pick: int) -> None:
        """Something else happens than a worker's work."""
        getattr(self, what)(pick)

    def fall_silent(self, pick: int) -> None:
        """Leases end, and their worker comes back later."""
        self.calls.end_leases(batch_table.c.lease_owner == OWNERS[pick % 3])

    def stop(self, pick: int) -> None:
        self.calls.expire(OWNERS[pick % 3])

    def wait(self, pick: int) -> None:
        self.calls.wait(WAITS[pick % 3])

    def set_cap(self, pick: int) -> None:
        self.cap = (None, 1, 2, 4)[pick % 4]
        self.calls.do(limits.set_quota, "aer", in_flight=self.cap)
        self._allow_surplus()

    def have_trouble(self, pick: int) -> None:
        """The backend asks to be left alone, bears no more runs, or fails."""
        match pick:
            case 1 | 2:
                self.calls.do(limits.snooze, "aer", "429", 5.0)
            case 3:
                self.calls.do(limits.shrink, "aer")
            case 4 | 5 | 6:
                self.calls.do(limits.failed, "aer", "503", _POLICY)

    def cancel(self, pick: int) -> None:
        self.calls.cancel(f"j{pick // 2}")

    def retry(self, pick: int) -> None:
        """Its owner wants what is missing of a job, perhaps of one that was just cancelled."""
        job_id = f"j{pick // 2}"
        if pick % 2:
            self.calls.cancel(job_id)
            self.every_promise_is_kept()
        missing = {key for key, state in self.final.items() if key.startswith(f"{job_id}-") and state in _MISSING}
        try:
            again = self.calls.retry(job_id)
        except (NothingToRetry, JobNotFound):
            assert self.final.get(job_id) in (None, JobState.DONE)
            return
        assert sum(again) == len(missing)
        self.final = {key: state for key, state in self.final.items() if key not in {job_id, *missing}}

    def keep(self, _: int) -> None:
        """Take leases back that ended, merge what is ready and settle what is over, as the keeper does."""
        self.calls.expire()
        for job_id, ready in self.calls.do(results.unmerged, 0, 10).items():
            self.calls.do(results.store_results, job_id, dict.fromkeys(ready, b"merged"))
        for job_id in self.calls.do(results.unsettled, 10):
            self.calls.do(jobs.settle, job_id)

    @invariant()
    def every_promise_is_kept(self) -> None:
        self.calls.wait(1.0)  # a step takes a second: what comes next does not depend on how fast this machine is
        snapshot = check(self.calls.store)
        self.states = Counter(row.state for row in snapshot.batches.values())
        self._nothing_final_changes(snapshot)
        late = [held for held in self.hands if snapshot.batches[held.batch_id].finished_at is not None]
        self.hands = [held for held in self.hands if held not in late[2:]]  # a few come late
        for row in snapshot.batches.values():
            alive = row.state in ("SUBMITTING", "IN_FLIGHT", "UNCERTAIN", "HELD")
            free = row.state in ("PENDING", "CLAIMED")
            assert not alive or row.id in self.called, row
            assert not free or row.id not in self.called, f"{row.id} would be paid twice"
            assert row.fence >= self.fences.get(row.id, 0)
            self.fences[row.id] = row.fence
        flying = self._places(snapshot)
        if self.cap is not None:
            assert flying <= self.cap + self.surplus
            self.surplus = min(self.surplus, max(0, flying - self.cap))

    def has(self, state: BatchState) -> bool:
        """Whether there are batches in a state."""
        return self.states[state] > 0

    def _nothing_final_changes(self, snapshot: Snapshot) -> None:
        for row in [*snapshot.jobs, *snapshot.batches.values()]:
            assert self.final.get(row.id, row.state) == row.state
            if row.finished_at is not None:
                self.final[row.id] = row.state
        found = {(row.batch_id, row.position): row.outcomes for row in snapshot.chunks}
        assert all(found[key] == value for key, value in self.chunks.items())
        self.chunks = found

    def _allow_surplus(self) -> None:
        if self.cap is not None:
            self.surplus = max(0, self._at_provider() - self.cap)

    def _at_provider(self) -> int:
        with self.calls.store.read() as connection:
            return self._places(Snapshot(connection))

    def _places(self, snapshot: Snapshot) -> int:
        """Return how many places at the provider are taken: a run whose result can be fetched left its own."""
        return sum(self.called.get(batch_id) not in self.over[batch_id] for batch_id in snapshot.at_provider("aer"))


def _provider_id(batch_id: str, fence: int) -> str:
    return f"provider-{batch_id}-{fence}"


def _slices(circuits: list[tuple[int, int]], first_shot: int) -> Iterator[Slice]:
    """Yield consecutive circuits of the same PUB as one slice."""
    for pub in dict.fromkeys(pub for pub, _ in circuits):
        mine = [circuit for owner, circuit in circuits if owner == pub]
        yield Slice(pub, mine[0], mine[-1] + 1, first_shot)
