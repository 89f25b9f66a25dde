"""A plan is what run does, and says why and for how much."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from sqlalchemy import select

from pubworks.backends.price import Cost, PricedRun, linear, total
from pubworks.backends.spec import Limits
from pubworks.client import Client, Estimator, Sampler
from pubworks.errors import ConfigError
from pubworks.planning.plan import DEFAULT_MAX_CIRCUITS, PubSize, plan
from pubworks.planning.quote import Plan, quote
from pubworks.planning.target import Target
from pubworks.policy import Price
from pubworks.settings import load_settings, with_backends
from pubworks.store import fleet
from pubworks.store.pace import Pace
from pubworks.store.records import JobDraft, Slice
from pubworks.store.tables import batches as batch_table

LIMITS = {
    "unlimited": {},
    "circuits": {"max_circuits": 3},
    "shots": {"max_shots": 7},
    "payload": {"max_payload_bytes": 5000},
    "all": {"max_circuits": 2, "max_shots": 5, "max_payload_bytes": 4000},
}
SIMULATOR = {"factory": "qiskit.providers.basic_provider:BasicSimulator"}


@pytest.fixture(scope="module")
def planner() -> Iterator[Client]:
    """A client whose jobs are stored, and never run."""
    tables = {name: {**SIMULATOR, **limits} for name, limits in LIMITS.items()}
    with Client(with_backends(load_settings(url="local"), tables), works=False) as client:
        yield client


ANGLE = Parameter("angle")
ROTATION = QuantumCircuit(2)
ROTATION.ry(ANGLE, 0)
MEASURED = ROTATION.measure_all(inplace=False)


def stored(client: Client, job_id: str) -> list[tuple[int, int | None, list[Slice]]]:
    with client.store.read() as connection:
        rows = connection.execute(
            select(batch_table).where(batch_table.c.job_id == job_id).order_by(batch_table.c.position)
        ).all()
    return [(row.shots, row.seed, [Slice(*piece) for piece in row.slices]) for row in rows]


def planned(found: Plan) -> list[tuple[int, int | None, list[Slice]]]:
    return [(batch.shots, batch.seed, list(batch.slices)) for batch in found.batches]


seeds = st.none() | st.integers(0, 2**31 - 1)
rows = st.lists(st.tuples(st.integers(0, 6), st.integers(1, 20)), max_size=4)


@given(rows, st.sampled_from(sorted(LIMITS)), seeds)
def test_a_samplers_plan_is_what_run_submits(
    planner: Client, rows: list[tuple[int, int]], name: str, seed: int | None
) -> None:
    pubs = [(MEASURED, np.linspace(0, 1, size)[:, None], shots) for size, shots in rows]
    sampler = Sampler(name, options={"seed_simulator": seed}, client=planner)
    assert planned(sampler.plan(pubs)) == stored(planner, sampler.run(pubs).job_id())


@given(rows, st.sampled_from(sorted(LIMITS)), seeds)
def test_an_estimators_plan_is_what_run_submits(
    planner: Client, rows: list[tuple[int, int]], name: str, seed: int | None
) -> None:
    pubs = [(ROTATION, ["ZZ"], np.linspace(0, 1, size)[:, None], shots**-0.5) for size, shots in rows if size]
    estimator = Estimator(name, options={"seed_simulator": seed}, client=planner)
    pubs_twice = [(*pub[:1], [["ZZ"], ["XX"]], *pub[2:]) for pub in pubs]
    assert planned(estimator.plan(pubs_twice)) == stored(planner, estimator.run(pubs_twice).job_id())


def test_a_plan_stores_nothing() -> None:
    with Client.local() as client:
        Sampler("basic", client=client).plan([MEASURED.assign_parameters([0.1])], shots=7)
        assert client.jobs() == []


def quoted(
    pubs: list[PubSize],
    target: Target,
    *,
    pace: Pace | None = None,
    price: Price | None = None,
    seed: int | None = None,
) -> Plan:
    batches = plan(pubs, target.limits, backend_max_circuits=target.max_circuits, seed=seed)
    draft = JobDraft("j", None, "sampler", target.name, {}, {}, (), batches)
    return quote(draft, target, pace=pace, ahead=2, price=None if price is None else linear(price))


pub_sizes = st.builds(PubSize, size=st.integers(0, 12), shots=st.integers(1, 30), circuit_bytes=st.integers(1, 40))
targets = st.builds(
    Target,
    st.just("aria"),
    max_circuits=st.none() | st.integers(1, 10),
    configured=st.builds(
        Limits,
        max_circuits=st.none() | st.integers(1, 10),
        max_shots=st.none() | st.integers(1, 12),
        max_payload_bytes=st.none() | st.integers(40, 200),
    ),
    learned=st.dictionaries(st.sampled_from(["max_circuits", "max_shots"]), st.integers(1, 10)),
)


@given(st.lists(pub_sizes, max_size=6), targets)
def test_every_split_has_a_cause(pubs: list[PubSize], target: Target) -> None:
    found = quoted(pubs, target)
    assert sum(split.more_runs for split in found.splits) == max(0, len(found.batches) - 1)
    for split in found.splits:
        if split.limit is None:
            assert split.cause in ("shots", "seeds")
        elif split.source == "where there is no other limit":
            assert split.limit == DEFAULT_MAX_CIRCUITS
        else:
            assert split.limit in (getattr(target.limits, split.cause), target.max_circuits)


@given(st.lists(pub_sizes, max_size=6), targets)
def test_the_cost_is_that_of_all_shots_and_circuits(pubs: list[PubSize], target: Target) -> None:
    found = quoted(pubs, target, price=Price(per_run=3, per_circuit=0.5, per_shot=0.01))
    if not found.batches:
        assert found.cost is None
        return
    shots = sum(pub.size * pub.shots for pub in pubs)
    assert found.shots == shots
    assert found.cost is not None
    assert found.cost.amount == pytest.approx(3 * len(found.batches) + 0.5 * found.circuits + 0.01 * shots)


def test_it_reads_well() -> None:
    target = Target("aria", max_circuits=300, configured=Limits(max_shots=1000), learned={"max_circuits": 20})
    pubs = [PubSize(50, 2500, 900), PubSize(1, 500, 100)]
    found = quoted(pubs, target, pace=Pace(2.0, 40, at_once=3), price=Price(per_shot=0.01), seed=5)
    assert repr(found) == "<Plan 10 runs, 151 circuits, 125500 shots on aria, about 1,255.00 USD>"
    assert str(found).splitlines() == [
        "backend   aria",
        "PUBs      0 of the sampler",
        "runs      10",
        "          6 more, for max_circuits 20 (learned from a refusal)",
        "          2 more, for max_shots 1000 (of the settings): each part has a seed of its own",
        "          1 more, for other parts of the shots: runs with the same seed would draw the same samples",
        "circuits  151",
        "shots     125,500",
        "payload   135,100 bytes",
        "time      about 8 s (from the last 40 runs, 2 runs wait before it)",
        "cost      about 1,255.00 USD",
    ]


def test_without_history_and_price_nothing_is_guessed() -> None:
    found = quoted([PubSize(1, 10, 1)], Target("aria"), price=Price(per_second=1.0))
    assert (found.seconds, found.cost) == (None, None)
    assert "unknown: aria has done no run yet" in str(found)
    assert "unknown: no price is known" in found._repr_html_()
    assert found.document()["estimated_cost"] is None


def test_the_source_of_a_limit_is_named() -> None:
    own = quoted([PubSize(1000, 1, 1)], Target("aria"))
    assert [str(split) for split in own.splits] == [
        f"1 more, for max_circuits {DEFAULT_MAX_CIRCUITS} (where there is no other limit)"
    ]
    parts = quoted([PubSize(1, 5, 1), PubSize(1, 2, 1)], Target("aria", configured=Limits(max_shots=3)), seed=1)
    assert [split.cause for split in parts.splits] == ["max_shots", "seeds"]


def test_what_a_provider_taught_is_planned_for(planner: Client) -> None:
    sampler = Sampler("unlimited", client=planner)
    pub = (MEASURED, np.linspace(0, 1, 8)[:, None])
    assert len(sampler.plan([pub]).batches) == 1
    with planner.store.write() as connection:
        fleet.learn(connection, "unlimited", max_circuits=5)
    (split,) = sampler.plan([pub]).splits
    with planner.store.write() as connection:
        fleet.forget(connection, "unlimited")
    assert (split.cause, split.limit, split.source) == ("max_circuits", 5, "learned from a refusal")


@pytest.fixture
def priced(monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    """A client whose backends have prices from a module."""
    module = ModuleType("lab_prices")
    module.by_size = lambda run: Cost(max(1.0, 0.1 * run.circuits), "EUR")  # type: ignore[attr-defined]
    module.number = lambda _: 5.0  # type: ignore[attr-defined]
    module.broken = lambda run: run.price  # type: ignore[attr-defined]
    module.mixed = lambda run: Cost(1.0, "EUR" if run.shots > 1 else "USD")  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "lab_prices", module)
    names = ("by_size", "number", "broken", "mixed", "missing")
    tables = {name: {**SIMULATOR, "price": f"lab_prices:{name}"} for name in names}
    with Client(with_backends(load_settings(url="local"), tables), works=False) as client:
        yield client


def test_a_price_can_be_any_callable(priced: Client) -> None:
    bound = MEASURED.assign_parameters([0.1])
    assert Sampler("by_size", client=priced).plan([bound, (bound, None, 5)]).cost == Cost(2.0, "EUR")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("number", r"lab_prices:number returned 5\.0\. Return Cost"),
        ("broken", r"lab_prices:broken failed for PricedRun.* with AttributeError"),
        ("mixed", r"different currencies: EUR, USD"),
        ("missing", r"Price of backend 'missing': cannot load lab_prices:missing"),
    ],
)
def test_a_wrong_price_model_says_what_is_wrong(priced: Client, name: str, words: str) -> None:
    bound = MEASURED.assign_parameters([0.1])
    with pytest.raises(ConfigError, match=words):
        Sampler(name, client=priced).plan([bound, (bound, None, 1)])


@pytest.mark.parametrize(
    ("price", "words"),
    [
        ("{ per_shots = 1 }", r"per_shots.*Known here: currency, model, per_circuit"),
        ("{ per_shot = -1 }", r"'backends\.aria\.price\.per_shot'.*greater than or equal to 0"),
        ("3", r"'backends\.aria\.price'.*valid dictionary"),
        ('"a price"', r"'backends\.aria\.price\.model'.*match pattern"),
    ],
)
def test_a_wrong_price_table_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, price: str, words: str
) -> None:
    file = tmp_path / "pubworks.toml"
    file.write_text(f'[backends.aria]\nfactory = "a:b"\nprice = {price}\n')
    monkeypatch.setenv("PUBWORKS_CONFIG", str(file))
    with pytest.raises(ConfigError, match=words):
        load_settings()


def test_time_has_a_price_where_it_is_known() -> None:
    assert total(linear(Price(per_second=2.0)), [(PricedRun(1, 1, 3.0), 4)]) == Cost(24.0, "USD")
