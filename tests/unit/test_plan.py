"""A plan covers everything once, breaks no limit, and splits as Qiskit does where it can."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pubworks.backends.spec import Limits
from pubworks.errors import SubmissionError
from pubworks.planning import plan as planning
from pubworks.planning.plan import DEFAULT_MAX_CIRCUITS, PubSize, plan
from pubworks.store.records import BatchDraft

LARGEST = 40  # bytes of a circuit

pub_sizes = st.builds(PubSize, size=st.integers(0, 12), shots=st.integers(1, 30), circuit_bytes=st.integers(1, LARGEST))
workloads = st.lists(pub_sizes, max_size=6)
limits = st.builds(
    Limits,
    max_circuits=st.none() | st.integers(1, 10),
    max_shots=st.none() | st.integers(1, 12),
    max_payload_bytes=st.none() | st.integers(LARGEST, 200),
)
caps = st.none() | st.integers(1, 10)
seeds = st.none() | st.integers(0, 2**31 - 1)


def covered(batches: tuple[BatchDraft, ...]) -> Counter[tuple[int, int, int]]:
    """Return how often each (PUB, circuit, shot) is run."""
    return Counter(
        (piece.pub, circuit, shot)
        for batch in batches
        for piece in batch.slices
        for circuit in range(piece.first, piece.end)
        for shot in range(piece.first_shot, piece.first_shot + batch.shots)
    )


@given(workloads, limits, caps, seeds)
def test_every_shot_of_every_circuit_is_run_exactly_once(
    pubs: list[PubSize], limits: Limits, cap: int | None, seed: int | None
) -> None:
    asked = Counter(
        (position, circuit, shot)
        for position, pub in enumerate(pubs)
        for circuit in range(pub.size)
        for shot in range(pub.shots)
    )
    assert covered(plan(pubs, limits, backend_max_circuits=cap, seed=seed)) == asked


@given(workloads, limits, caps, seeds)
def test_no_limit_is_broken(pubs: list[PubSize], limits: Limits, cap: int | None, seed: int | None) -> None:
    for batch in plan(pubs, limits, backend_max_circuits=cap, seed=seed):
        assert 0 < batch.num_circuits <= min(limits.max_circuits or 99, cap or 99)
        assert 0 < batch.shots <= (limits.max_shots or 99)
        payload = sum(piece.num_circuits * pubs[piece.pub].circuit_bytes for piece in batch.slices)
        assert payload <= (limits.max_payload_bytes or 9999)
        assert all(piece.num_circuits > 0 for piece in batch.slices)


@given(workloads, limits, caps, seeds)
def test_batches_are_full(pubs: list[PubSize], limits: Limits, cap: int | None, seed: int | None) -> None:
    """Two neighbours of equal shots and part never fit into one run."""
    batches = plan(pubs, limits, backend_max_circuits=cap, seed=seed)
    most = min(limits.max_circuits or DEFAULT_MAX_CIRCUITS, cap or DEFAULT_MAX_CIRCUITS)
    for one, two in zip(batches, batches[1:], strict=False):
        if one.shots != two.shots or one.slices[-1].first_shot != two.slices[0].first_shot:
            continue
        payload = sum(piece.num_circuits * pubs[piece.pub].circuit_bytes for piece in one.slices)
        next_bytes = pubs[two.slices[0].pub].circuit_bytes
        assert one.num_circuits == most or payload + next_bytes > (limits.max_payload_bytes or 9999)


@given(workloads, limits, caps, seeds)
def test_a_plan_is_a_pure_function(pubs: list[PubSize], limits: Limits, cap: int | None, seed: int | None) -> None:
    one = plan(pubs, limits, backend_max_circuits=cap, seed=seed)
    two = plan([replace(pub) for pub in pubs], replace(limits), backend_max_circuits=cap, seed=seed)
    assert one == two


@given(workloads, caps, st.integers(0, 2**31 - 1))
def test_with_the_backends_limit_only_the_split_is_that_of_qiskit(
    pubs: list[PubSize], cap: int | None, seed: int
) -> None:
    groups: dict[int, list[tuple[int, int]]] = {}
    for position, pub in enumerate(pubs):
        runs = [(position, circuit) for circuit in range(pub.size)]
        if runs:
            groups.setdefault(pub.shots, []).extend(runs)
    expected = [
        (shots, runs[start : start + (cap or len(runs))])
        for shots, runs in groups.items()
        for start in range(0, len(runs), cap or len(runs))
    ]
    batches = plan(pubs, Limits(), backend_max_circuits=cap, seed=seed)
    assert [
        (batch.shots, [(p.pub, circuit) for p in batch.slices for circuit in range(p.first, p.end)])
        for batch in batches
    ] == expected
    assert all(batch.seed == seed for batch in batches)


@given(workloads, limits, caps, st.integers(0, 2**31 - 1))
def test_runs_of_other_shots_of_a_circuit_never_share_a_seed(
    pubs: list[PubSize], limits: Limits, cap: int | None, seed: int
) -> None:
    seeds_of: defaultdict[tuple[int, int], list[int | None]] = defaultdict(list)
    for batch in plan(pubs, limits, backend_max_circuits=cap, seed=seed):
        assert batch.seed is not None
        assert 0 <= batch.seed < 2**31
        for piece in batch.slices:
            for circuit in range(piece.first, piece.end):
                seeds_of[piece.pub, circuit].append(batch.seed)
    assert all(len(set(used)) == len(used) for used in seeds_of.values())


@pytest.mark.parametrize("seed", [0, 42, 2**31 - 1, 2**40])
def test_seeds_differ_over_as_many_runs_as_a_plan_may_have(seed: int) -> None:
    batches = plan([PubSize(1, 50_000, 1)], Limits(max_shots=1), seed=seed)
    assert len({batch.seed for batch in batches}) == 50_000
    assert batches[0].seed == seed


def test_without_a_seed_no_run_gets_one() -> None:
    batches = plan([PubSize(5, 10, 1)], Limits(max_circuits=2, max_shots=3))
    assert {batch.seed for batch in batches} == {None}


def test_without_any_limit_a_run_is_still_bounded() -> None:
    batches = plan([PubSize(DEFAULT_MAX_CIRCUITS + 1, 10, 1)], Limits())
    assert [batch.num_circuits for batch in batches] == [DEFAULT_MAX_CIRCUITS, 1]


def test_a_circuit_over_the_payload_is_refused_by_its_pub() -> None:
    with pytest.raises(SubmissionError, match=r"PUB 1 have 101 bytes; max_payload_bytes is 100"):
        plan([PubSize(1, 10, 100), PubSize(1, 10, 101)], Limits(max_payload_bytes=100))


def test_a_pub_without_circuits_needs_no_payload() -> None:
    assert plan([PubSize(0, 10, 101)], Limits(max_payload_bytes=100)) == ()


@pytest.mark.parametrize(
    "pubs",
    [
        pytest.param([PubSize(1, 10**15, 1)], id="shots of one PUB"),
        pytest.param([PubSize(10, 1_000_000, 1)] * 2, id="circuits times shots"),
    ],
)
def test_too_many_batches_are_refused(pubs: list[PubSize], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "MAX_BATCHES", 1000)
    with pytest.raises(SubmissionError, match="1000 runs"):
        plan(pubs, Limits(max_circuits=1, max_shots=1000))


def test_more_shots_than_any_backend_takes_are_refused() -> None:
    with pytest.raises(SubmissionError, match=r"PUB 0 asks for 10{30} shots"):
        plan([PubSize(1, 10**30, 1)], Limits())
