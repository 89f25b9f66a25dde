"""Finding jobs again from the command line."""

from __future__ import annotations

from typing import Any

import pytest
from rich.console import Console
from sqlalchemy import update

from pubworks.cli.jobs import _table
from pubworks.states import JobState
from pubworks.store.records import JobRecord
from pubworks.store.store import Store
from pubworks.store.tables import jobs

KEYS = {
    "id", "name", "tags", "primitive", "backend", "session", "status", "num_pubs", "num_batches", "batches_left",
    "created_at", "started_at", "finished_at", "owner", "shared",
}  # fmt: skip


@pytest.fixture
def four(place: Any) -> Any:
    """Four jobs named 0 to 3; the first two were submitted in 2020, one of them failed."""
    labels = ([], ["--tag", "vqe"], ["--tag", "vqe", "--tag", "h2"], ["--tag", "h2"])
    ids = [
        place.submit("bell.qpy", "-b", "basic" if number % 2 else "picky", "--name", number, *tags)
        for number, tags in enumerate(labels)
    ]
    store = Store(f"sqlite:///{place.folder / 'pubworks.db'}")
    with store.write() as connection:
        for number in (0, 1):  # noon, UTC
            old = {"created_at": 1_583_064_000 + 86_400 * number, "state": (JobState.FAILED, JobState.DONE)[number]}
            connection.execute(update(jobs).where(jobs.c.id == ids[number]).values(**old))
    store.close()
    return place


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ("", "3 2 1 0"),
        ("--oldest-first", "0 1 2 3"),
        ("--limit 2 --skip 1", "2 1"),
        ("--backend picky", "2 0"),
        ("--status failed", "0"),
        ("--status FAILED --status done", "1 0"),
        ("--tag vqe", "2 1"),
        ("--tag vqe --tag h2", "2"),
        ("--name 3", "3"),
        ("--primitive estimator", ""),
        ("--primitive sampler --skip 3", "0"),
        ("--since 1h", "3 2"),
        ("--before 1h", "1 0"),
        ("--since 2020-03-02T00:00+00:00 --before 2020-03-03T00:00Z", "1"),
        ("--since 1w --status queued --backend basic --tag h2", "3"),
    ],
)
def test_every_filter_has_an_option(four: Any, options: str, found: str) -> None:
    listed = four.run("list", *options.split(), "--json").json["jobs"]
    assert " ".join(job["name"] for job in listed) == found
    assert all(set(job) == KEYS for job in listed)


@pytest.mark.parametrize(("name", "backend"), [(None, "vendor"), ("a rather long name", "vendor"), (None, "v" * 30)])
def test_a_listing_fits_a_terminal_of_eighty_columns(name: str | None, backend: str) -> None:
    job = JobRecord(
        "01M8CAYJD8B1HHCDGKS34MXAQ4", name, "sampler", backend, JobState.CANCELLED, 4, 12, 0, 0.0, None, None
    )
    console = Console(width=80)
    with console.capture() as capture:
        console.print(_table([(job, ["calibration", "july"])]))
    shown = capture.get()
    assert max(map(len, shown.splitlines())) <= 80
    for whole in ("ID", "STATUS", "PUBS", "BATCHES", "AGE", job.id, "CANCELLED", "12/12"):
        assert whole in shown.split()


def test_tags_are_shown_where_there_are_some(four: Any) -> None:
    table = four.run("list").out.splitlines()
    assert table[0].split()[-1] == "TAGS"
    assert table[2].endswith("h2, vqe")
    assert "TAGS" not in four.run("list", "--name", "0").out
    job_id = table[2].split()[0]
    assert four.run("status", job_id, "--json").json["tags"] == ["h2", "vqe"]
    assert "h2, vqe" in four.run("status", job_id).out


def test_nothing_found_is_told_apart_from_nothing_there(place: Any) -> None:
    assert "No jobs yet" in place.run("list", "--oldest-first").err
    ran = place.run("list", "--tag", "unknown")
    assert (ran.code, ran.out, ran.err.strip()) == (0, "", "No such job.")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ("--since yesterday", "'yesterday' is no point in time. Give an age (90s, 15min"),
        ("--before 2020-13-01", "no point in time"),
        ("--status fine", "'fine' is not one of"),
        ("--primitive guess", "'guess' is not one of"),
        ("--skip -1", "Invalid value for '--skip'"),
        ("--limit 0", "greater than or equal to 1"),
    ],
)
def test_wrong_filters_are_usage_errors(place: Any, options: str, told: str) -> None:
    ran = place.run("list", *options.split())
    assert (ran.code, told in " ".join(ran.err.split())) == (2, True), ran.err


def test_a_key_makes_two_submissions_one_job(place: Any) -> None:
    first = place.submit("bell.qpy", "--backend", "basic", "--idempotency-key", "mine")
    rows = place.rows()
    assert place.submit("bell.qpy", "--backend", "basic", "--idempotency-key", "mine") == first
    other = place.run("submit", "ghz.qasm", "--backend", "basic", "--idempotency-key", "mine")
    assert (other.code, f"is that of job {first}" in other.err) == (2, True)
    assert place.rows() == rows
