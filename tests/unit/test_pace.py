"""How long runs will take, from those that were."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import insert

from pubworks.policy import Quota
from pubworks.states import RunState
from pubworks.store import jobs, limits
from pubworks.store.pace import Pace, pace
from pubworks.store.store import Store
from pubworks.store.tables import provider_jobs
from pubworks.testing.store import draft, one_each

paces = st.builds(
    Pace, run_s=st.floats(0.001, 100), num_runs=st.just(1), at_once=st.floats(1, 50) | st.just(math.inf),
    interval_s=st.floats(0, 10), burst=st.integers(1, 5),
)  # fmt: skip


@given(paces, st.integers(1, 1000))
def test_an_estimate_is_at_least_one_run_and_at_most_all_in_a_row(pace: Pace, runs: int) -> None:
    one_by_one = runs * max(pace.run_s, pace.interval_s) + pace.run_s
    assert pace.run_s <= pace.seconds(runs) <= one_by_one
    assert pace.seconds(runs) <= pace.seconds(runs + 1)
    assert replace(pace, at_once=math.inf, interval_s=0.0).seconds(runs) == pace.run_s


def did(store: Store, spans: list[tuple[float, float]], *, detached: bool, job: str = "j1") -> None:
    """Store a job whose runs took place in these times."""
    with store.write() as connection:
        jobs.submit(connection, draft(job, *one_each(len(spans))))
        rows = [
            {"batch_id": f"{job}-{number}", "attempt": 1, "state": RunState.DONE, "worker": "w",
             "claimed_at": start - detached, "accepted_at": start if detached else None, "finished_at": end}
            for number, (start, end) in enumerate(spans)
        ]  # fmt: skip
        connection.execute(insert(provider_jobs), rows)


def test_without_history_there_is_no_pace(store: Store) -> None:
    with store.write() as connection:
        jobs.submit(connection, draft("j1", *one_each(2)))
        assert pace(connection, "aer") is None


def test_runs_at_a_provider_go_at_once_up_to_the_limits(store: Store) -> None:
    did(store, [(0, 2), (10, 13), (20, 30)], detached=True)
    with store.write() as connection:
        assert pace(connection, "aer") == Pace(3.0, 3)
        configured = Quota(submit="6/min burst 2", in_flight=4)
        wanted = Pace(3.0, 3, at_once=4, interval_s=10.0, burst=2)
        assert pace(connection, "aer", configured) == wanted
        limits.configure(connection, "aer", configured)
        assert pace(connection, "aer") == wanted
        limits.shrink(connection, "aer")
        shrunk = pace(connection, "aer")
    assert shrunk is not None
    assert shrunk.at_once < 4


@pytest.mark.parametrize(
    ("spans", "at_once"),
    [([(0, 2), (2, 4), (9, 11)], 1.0), ([(0, 2), (0, 2), (9, 11), (9, 11)], 2.0), ([(5.0, 5.0)], 1.0)],
)
def test_runs_in_workers_go_at_once_as_they_did(store: Store, spans: list[tuple[float, float]], at_once: float) -> None:
    did(store, spans, detached=False)
    with store.read() as connection:
        found = pace(connection, "aer")
    assert found is not None
    assert found.at_once == at_once
