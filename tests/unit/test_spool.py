"""Ids of paid runs that wait on the disk for the database."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from pubworks.store import doubts
from pubworks.store.store import Store
from pubworks.testing.store import Calls, draft, one_each
from pubworks.worker.spool import Spool


def test_an_id_is_stored_once_and_the_note_goes(store: Store, tmp_path: Path) -> None:
    calls, spool = Calls(store), Spool(tmp_path / "spool")
    calls.submit(draft("j1", *one_each(1)))
    claim = calls.take()
    calls.begin_call(claim)
    spool.keep(claim, "p1")
    spool.replay(store)
    spool.replay(store)
    assert calls.runs() == [(1, "ACCEPTED", "p1")]
    assert not list(spool.folder.iterdir())


def test_an_id_that_is_not_needed_is_kept_and_told(
    store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    calls, spool = Calls(store), Spool(tmp_path / "spool")
    calls.submit(draft("j1", *one_each(1)))
    old = calls.take()
    calls.begin_call(old)
    spool.keep(old, "p1")
    calls.doubt(old)
    calls.do(doubts.run_again, "j1-0", old.fence, "the provider does not know it")
    calls.fly(calls.take("w/2"), "p2")
    caplog.clear()
    spool.replay(store)
    assert calls.runs() == [(1, "LOST", "p1"), (2, "ACCEPTED", "p2")]
    assert [(line.levelno, "p1" in line.getMessage()) for line in caplog.records] == [(logging.ERROR, True)]
    assert not list(spool.folder.iterdir())
