"""Retrying jobs from the command line, and looking at what there is of them."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest


@pytest.fixture
def partial(place: Any) -> str:
    """A job of which PUB 0 failed, for a reason that is gone when the file ``broken`` is."""
    Path("broken").touch()
    np.save("values.npy", [0.1, 0.2])
    ran = place.run("submit", "mixed.qpy", "-b", "mendable", "--values", "values.npy", "--seed", "7", "--wait")
    job_id = str(ran.out.strip())
    assert (ran.code, f"pubworks retry {job_id}" in ran.err) == (1, True)
    return job_id


def test_retry_runs_what_is_missing(place: Any, partial: str) -> None:
    before = place.run("result", partial, "--json").json
    assert [item["pub"] for item in before["missing"]] == [0]
    Path("broken").unlink()
    ran = place.run("retry", partial[-6:])
    assert (ran.code, ran.out) == (0, "")
    assert "1 batch is run again" in ran.err
    assert f"pubworks watch {partial}" in ran.err
    assert place.status(partial) == "QUEUED"
    assert place.run("watch", partial).code == 0
    after = place.run("result", partial, "--json").json
    assert (after["status"], after["missing"]) == ("DONE", [])
    assert after["pubs"][1] == before["pubs"][0]
    assert [job["status"] for job in place.run("list", "--json").json["jobs"]] == ["DONE"]


def test_what_has_not_ended_or_is_done_is_not_retried(place: Any, partial: str) -> None:
    Path("broken").unlink()
    place.run("retry", partial)
    again = place.run("retry", partial)
    assert (again.code, f"pubworks watch {partial}" in again.err) == (2, True)
    place.run("watch", partial)
    done = place.run("retry", partial)
    assert (done.code, "is DONE" in done.err, "job.inputs" in done.err) == (2, True, True)
    assert place.run("retry", "nope").code == 3


def test_what_there_is_can_be_had_while_the_job_goes_on(place: Any, partial: str) -> None:
    Path("broken").unlink()
    place.run("retry", partial)
    refused = place.run("result", partial)
    assert (refused.code, f"pubworks result {partial} --partial" in refused.err) == (4, True)
    shown = place.run("result", partial, "--partial")
    assert (shown.code, "1 of 2 PUBs have no result yet" in shown.err) == (0, True)
    assert [pub["pub"] for pub in place.run("result", partial, "--partial", "--json").json["pubs"]] == [1]
    assert place.run("result", partial, "--partial", "-o", "some.json").code == 0
    assert [item["pub"] for item in json.loads(Path("some.json").read_text())["missing"]] == [0]


def test_the_timeline_tells_what_happened(place: Any, partial: str) -> None:
    Path("broken").unlink()
    place.run("retry", partial)
    place.run("watch", partial)
    told = place.run("timeline", partial, "--json").json
    assert told["id"] == partial
    what = [event["what"] for event in told["events"]]
    assert (what[0], what[-1], what.count("retried"), what.count("finished")) == ("submitted", "finished", 1, 2)
    times = [datetime.fromisoformat(event["at"]) for event in told["events"]]
    assert times == sorted(times)
    assert {event["batch"] for event in told["events"]} == {None, "0", "1"}
    table = place.run("timeline", partial)
    assert (table.code, len(table.out.splitlines())) == (0, len(what) + 1)
    assert "batch 0: failed: ValueError: one qubit is too few" in table.out
    assert place.run("timeline", "nope").code == 3
