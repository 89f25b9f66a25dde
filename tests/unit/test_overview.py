"""The overview: what is counted once for all who ask, and what is told as it is."""

from __future__ import annotations

from pathlib import Path

from pubworks.settings import load_settings
from pubworks.store.store import Store
from pubworks.testing.store.calls import Calls, draft, one_each
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
