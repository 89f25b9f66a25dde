"""Batches and sessions from the command line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Open = Callable[..., str]


@pytest.fixture
def opened(place: Any) -> Open:
    def open_one(mode: str, *options: str) -> str:
        ran = place.run(mode, "open", "--backend", "basic", *options)
        assert ran.code == 0, ran.err
        return str(ran.out.strip())

    return open_one


def refused(ran: Any, code: int, *words: str) -> None:
    err = " ".join(ran.err.split())
    assert (ran.code, ran.out, [word for word in words if word not in err]) == (code, "", []), ran.err


@pytest.mark.parametrize("mode", ["batch", "session"])
def test_jobs_are_held_together(place: Any, opened: Open, mode: str) -> None:
    session_id = opened(mode, "--max-time", "2h", "--interactive-timeout", "90s")
    first = place.submit("bell.qpy", "--session", session_id)
    second = place.submit("ghz.qasm", "--session", session_id[-6:])
    place.submit("bell.qpy", "--backend", "basic")
    listed = place.run("list", "--session", session_id[-6:], "--json").json["jobs"]
    assert [(job["id"], job["session"]) for job in listed] == [(second, session_id), (first, session_id)]
    assert session_id in place.run("status", first).out
    shown = place.run(mode, "show", session_id, "--json").json
    assert {key: shown[key] for key in ("id", "mode", "backend", "status", "accepting_jobs", "jobs", "batches")} == {
        "id": session_id, "mode": mode, "backend": "basic", "status": "Pending", "accepting_jobs": True,
        "jobs": {"QUEUED": 2}, "batches": {"PENDING": 2},
    }  # fmt: skip
    assert (shown["max_time_s"], shown["interactive_timeout_s"]) == (7200, 90)
    table = place.run(mode, "show", session_id).out
    assert all(word in table for word in (session_id, "2 QUEUED", "2 h 0 min", "1 min 30 s"))


def test_each_kind_is_listed_by_itself(place: Any, opened: Open) -> None:
    assert "No batch yet. Open one: pubworks batch open" in place.run("batch", "list").err
    ids = [opened("session"), opened("session")]
    assert [one["id"] for one in place.run("session", "list", "--json").json["sessions"]] == ids[::-1]
    assert ids[1] in place.run("session", "list", "-n", 1, "-b", "basic").out
    assert place.run("session", "list", "-b", "aer").out == ""
    assert place.run("batch", "list", "--json").json == {"sessions": []}
    refused(place.run("batch", "show", ids[0]), 3, f"{ids[0]} is a session, no batch: pubworks session show {ids[0]}")


def test_a_closed_one_takes_no_more_jobs_and_keeps_those_it_has(place: Any, opened: Open) -> None:
    session_id = opened("session")
    job_id = place.submit("bell.qpy", "--session", session_id)
    assert "takes no more jobs; those that it has go on" in place.run("session", "close", session_id).err
    assert "took no jobs already" in place.run("session", "close", session_id).err
    rows = place.rows()
    refused(place.run("submit", "bell.qpy", "--session", session_id), 2, "takes no more jobs: it was closed")
    assert place.rows() == rows
    assert place.status(job_id) == "QUEUED"
    assert place.run("session", "show", session_id, "--json").json["status"] == "In progress, not accepting new jobs"


def test_cancelling_one_ends_its_jobs(place: Any, opened: Open) -> None:
    session_id = opened("batch")
    job_id = place.submit("bell.qpy", "--session", session_id)
    refused(place.run("batch", "cancel", session_id), 2, "needs a yes", "Pass --yes")
    assert place.status(job_id) == "QUEUED"
    assert f"Batch {session_id} is closed; 1 job is cancelled." in place.run("batch", "cancel", session_id, "--yes").err
    assert place.status(job_id) == "CANCELLED"
    assert place.run("batch", "show", session_id, "--json").json["status"] == "Closed"


def test_jobs_are_cancelled_by_tag_and_by_session(place: Any, opened: Open) -> None:
    session_id = opened("batch")
    tagged = [place.submit("bell.qpy", "-b", "basic", "--tag", "scan", *tags) for tags in ([], ["--tag", "h2"])]
    grouped = place.submit("bell.qpy", "--session", session_id)
    refused(place.run("cancel", "--tag", "scan"), 2, "Cancelling 2 open jobs needs a yes")
    assert "1 job is cancelled." in place.run("cancel", "--tag", "scan", "--tag", "h2", "--yes").err
    assert [place.status(job_id) for job_id in (*tagged, grouped)] == ["QUEUED", "CANCELLED", "QUEUED"]
    assert "1 job is cancelled." in place.run("cancel", "--session", session_id[-6:], "--yes").err
    assert place.status(grouped) == "CANCELLED"
    assert "No such job is open." in place.run("cancel", "--session", session_id).err


def test_wrong_words_are_told(place: Any, opened: Open) -> None:
    session_id = opened("session")
    refused(place.run("cancel"), 2, "Give either the ID of a job, or --tag or --session")
    refused(place.run("cancel", "some", "--tag", "x"), 2, "Give either the ID of a job")
    refused(place.run("submit", "bell.qpy"), 2, "Give either --backend or --session")
    refused(place.run("submit", "bell.qpy", "-b", "basic", "--session", session_id), 2, "Give either")
    refused(place.run("submit", "bell.qpy", "--session", "nope"), 3, "No session 'nope'", "pubworks session list")
    refused(place.run("list", "--session", "nope"), 3, "No session 'nope'")
    refused(place.run("session", "open", "-b", "nope"), 2, "Unknown backend 'nope'")
    refused(place.run("session", "open", "-b", "basic", "--max-time", "soon"), 2, "--max-time", "'soon'", "2h 30m")
    for verb in ("show", "close", "cancel"):
        refused(place.run("batch", verb, "nope"), 3, "No session 'nope'")


def test_its_jobs_run_where_they_are_watched(place: Any, opened: Open) -> None:
    session_id = opened("session")
    ran = place.run("submit", "bell.qpy", "--session", session_id, "--wait", "--json")
    assert (ran.code, ran.json["status"], ran.json["session"]) == (0, "DONE", session_id)
    assert place.run("session", "show", session_id, "--json").json["status"] == "In progress, accepting new jobs"
