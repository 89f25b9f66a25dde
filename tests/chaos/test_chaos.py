"""Random faults, a few in ``make test`` and fifty in ``make chaos-ci``, the short forms of ``make chaos``."""

from __future__ import annotations

import os

import pytest
from tests.chaos.driver import Driver
from tests.chaos.faults import FAULTS, schedule

pytestmark = pytest.mark.servers

SEED = int(os.environ.get("CHAOS_SEED", "20"))


def test_a_schedule_is_the_same_each_time_and_has_every_kind_of_fault():
    plan = schedule("postgresql-redis", 7, 50, 60.0)
    assert plan == schedule("postgresql-redis", 7, 50, 60.0)
    assert plan != schedule("postgresql-redis", 8, 50, 60.0)
    assert {planned.name for planned in plan} == {
        name for name, fault in FAULTS.items() if fault.needs in "postgresql-redis"
    }
    assert len(plan) == 50


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("kind", "find_by_tag", "faults", "seconds"),
    [
        ("postgresql-redis", True, 10, 12.0),
        pytest.param("postgresql-redis", True, 50, 75.0, marks=pytest.mark.long),
        pytest.param("postgresql-redis", False, 26, 30.0, marks=pytest.mark.long),
        pytest.param("sqlite", True, 20, 25.0, marks=pytest.mark.long),
    ],
    ids=["a few", "look-up", "no look-up", "sqlite"],
)
def test_nothing_is_lost_paid_twice_or_wrong(make_stage, kind, find_by_tag, faults, seconds):
    limits = {"requests": "60/s burst 10", "in_flight": 60}
    stage = make_stage(
        kind, limits=limits, find_by_tag=find_by_tag, listing_delay_s=0.3, slow_s=3.0,
        requests_per_second=150, burst=75, max_jobs=60 if find_by_tag else 120,
    )  # fmt: skip
    driver = Driver(stage, schedule(kind, SEED, faults, seconds), 6 * faults, decides=not find_by_tag)
    outcome = driver.run()
    print(f"seed {SEED}", *driver.log, outcome, sep="\n")
    if outcome.findings.problems:
        print(stage.logs()[-200_000:])
    assert not outcome.findings.problems
    assert not outcome.findings.held
