"""The overview: what is counted once for all who ask, and what is told as it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pubworks.settings import load_settings
from pubworks.store.store import Store
from pubworks.store.tables import jobs
from pubworks.testing.store.calls import Calls, draft, one_each
from pubworks.views import counting
from pubworks.views.counting import Counting
from pubworks.views.overview import Overviews, Span
from pubworks.views.session import Session


def test_long_spans_are_counted_rarely_and_what_is_open_is_told_at_once(store: Store, tmp_path: Path) -> None:
    overviews = Overviews(Session(load_settings(database=store.url, data_dir=tmp_path), store))
    calls = Calls(store)
    calls.submit(draft("j1", *one_each(2)))
    first = overviews.document(Span.WEEK, None)
    calls.submit(draft("j2", *one_each(1)))
    calls.complete(calls.take())
    second = overviews.document(Span.WEEK, None)
    assert sum(first["jobs"]["submitted"]) == sum(second["jobs"]["submitted"]) == 1
    assert (first["counts"]["jobs_queued"], second["counts"]["jobs_queued"]) == (1, 1)
    assert (first["counts"]["batches_waiting"], second["counts"]["batches_waiting"]) == (2, 2)
    assert second["counts"]["jobs_running"] == 1
    assert sum(overviews.document(Span.HOUR, None)["jobs"]["submitted"]) == 2
    assert sum(overviews.document(Span.WEEK, "nobody")["jobs"]["submitted"]) == 0


def counted(store: Store, counting: Counting) -> Any:
    with store.read() as connection:
        _, jobs, runs = counting.look(connection)
    return sorted(jobs, key=str), sorted(runs, key=str)


def test_what_is_kept_is_what_a_new_counting_finds(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counting, "_LATE", 0)
    calls, kept = Calls(store), Counting(10.0, 60, None)
    assert counted(store, kept) == ([], [])
    for act in (
        lambda: (calls.submit(draft("j1", *one_each(2))), move(store, "j1", -100.0)),
        lambda: calls.submit(draft("j2", *one_each(2))),
        lambda: calls.complete(calls.take()),
        lambda: calls.complete(calls.take()),
        lambda: calls.fail(calls.take()),
        lambda: calls.fly(calls.take()),
        lambda: calls.cancel("j2"),
        lambda: calls.retry("j2"),
    ):
        act()
        assert counted(store, kept) == counted(store, Counting(10.0, 60, None))


def test_steps_whose_jobs_did_not_change_are_not_counted_again(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counting, "_LATE", 0)
    calls, kept = Calls(store), Counting(10.0, 60, None)
    calls.submit(draft("j1", *one_each(1)))
    move(store, "j1", -100.0)
    before = counted(store, kept)
    with store.write() as connection:
        connection.execute(jobs.update().values(state="DONE"))  # as nothing does without an event
    assert counted(store, kept) == before
    monkeypatch.setattr(counting, "_MANY", -1)
    assert [job[2] for job in counted(store, kept)[0]] == ["DONE"]


def move(store: Store, job_id: str, by_s: float) -> None:
    """Have a job be submitted at another time."""
    with store.write() as connection:
        connection.execute(jobs.update().where(jobs.c.id == job_id).values(created_at=jobs.c.created_at + by_s))
