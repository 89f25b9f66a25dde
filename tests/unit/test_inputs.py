"""What a worker loads: each PUB once for all batches of its job, in bounded memory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pubworks.codec.arrays import pack
from pubworks.store import jobs
from pubworks.store.records import BatchDraft, JobDraft, PubDraft, Slice
from pubworks.store.store import Store
from pubworks.worker.inputs import PubCache, cache_of

#: Bytes of the values of one PUB.
_SIZE = 8 * 1000


def submit(store: Store, job_id: str, count: int, first: float = 0.0) -> None:
    """Store a job of PUBs whose values are all equal: ``first`` for the first PUB, one more for each other one."""
    readout: dict[str, Any] = {"num_clbits": 1, "measures": True, "registers": []}
    drafts = [
        PubDraft("h", (1000,), 1000, 10, pack({}, [np.full((1000, 1), first + position)]), readout, None)
        for position in range(count)
    ]
    batches = tuple(BatchDraft(10, None, (Slice(position, 0, 1000, 0),)) for position in range(count))
    with store.write() as connection:
        jobs.submit(connection, JobDraft(job_id, None, "sampler", "aer", {}, {"h": b"qpy"}, tuple(drafts), batches))


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, list[int]]]:
    """What was loaded from any database."""
    seen: list[tuple[str, list[int]]] = []
    load_pubs = jobs.load_pubs

    def spy(connection: Any, job_id: str, positions: Sequence[int]) -> Any:
        seen.append((job_id, list(positions)))
        return load_pubs(connection, job_id, positions)

    monkeypatch.setattr(jobs, "load_pubs", spy)
    return seen


def test_a_pub_is_loaded_once(store: Store, loads: list[Any]) -> None:
    submit(store, "one", 3)
    cache = PubCache()
    for positions in ([0], [0, 1], [1], [0, 1, 2]):
        found = cache.get(store, "one", positions)
        assert {position: pub.values[0, 0] for position, pub in found.items()} == {p: float(p) for p in positions}
    assert loads == [("one", [0]), ("one", [1]), ("one", [2])]


@pytest.mark.parametrize("bounds", [{"max_bytes": 2 * _SIZE}, {"max_pubs": 2}])
def test_the_least_recently_used_pub_goes_first(store: Store, loads: list[Any], bounds: dict[str, int]) -> None:
    submit(store, "one", 3)
    cache = PubCache(**bounds)
    for position in (0, 1, 0, 2, 0, 1):
        cache.get(store, "one", [position])
        assert cache.nbytes <= 2 * _SIZE
    assert loads == [("one", [0]), ("one", [1]), ("one", [2]), ("one", [1])]


def test_the_newest_batch_is_kept_whatever_its_size(store: Store, loads: list[Any]) -> None:
    submit(store, "one", 3)
    cache = PubCache(max_bytes=1)
    for _ in range(3):
        cache.get(store, "one", [0, 1])
    assert loads == [("one", [0, 1])]
    assert cache.nbytes == 2 * _SIZE
    cache.get(store, "one", [2])
    assert cache.nbytes == _SIZE


def test_equal_ids_in_two_databases_are_two_jobs(store: Store, tmp_path: Path) -> None:
    other = Store(f"sqlite:///{tmp_path / 'other.db'}")
    other.upgrade()
    submit(store, "one", 1)
    submit(other, "one", 1, first=5.0)
    try:
        values = [cache_of(each).get(each, "one", [0])[0].values for each in (store, other)]
    finally:
        other.close()
    assert [value[0, 0] for value in values if value is not None] == [0.0, 5.0]
    assert cache_of(store) is cache_of(store) is not cache_of(other)
