"""Workers, backends, settings, the database's schema and the doctor."""

from __future__ import annotations

import os
from typing import Any

import pytest

from pubworks.cli.session import reached
from pubworks.cli.watch import views_of
from pubworks.cli.worker import celery_arguments


def test_a_worker_runs_what_was_submitted_and_ends_when_it_is_drained(place: Any, finish: Any) -> None:
    job_id = place.submit("bell.qpy", "--backend", "basic")
    worker = place.start("worker", "--backend", "basic", "--concurrency", "1")
    try:
        assert _last_state(job_id) == "DONE"
        [listed] = place.run("workers", "--json").json["workers"]
        assert (listed["pid"], listed["backends"], listed["concurrency"]) == (worker.pid, ["basic"], 1)
        assert "basic" in place.run("workers").out
        drained = place.run("workers", "drain", listed["id"], "--why", "new kernel")
        assert (drained.code, "and ends" in drained.err) == (0, True)
        assert place.run("audit", "--json").json["entries"][0]["why"] == "new kernel"
    finally:
        ran = finish(worker)
    assert ran.code == 0, ran.err
    assert place.run("workers", "--json").json == {"workers": []}
    assert place.run("workers", "drain", listed["id"]).code == 3


def _last_state(job_id: str) -> str:
    """Follow a job to its end without working on it, as `watch` would with the embedded broker."""
    with reached() as ledger:
        *_, last = views_of(ledger, job_id, timeout_s=60)
    return str(last.record.state)


def test_the_arguments_of_the_worker_are_those_of_celery() -> None:
    common = ["--hostname", f"pubworks-{os.getpid()}@%h", "--without-gossip", "--without-mingle", "--without-heartbeat"]
    assert celery_arguments([], None) == ["worker", "--loglevel", "INFO", *common]
    named = celery_arguments(["a", "b"], 3, "debug")
    assert named[-4:] == ["--queues", "pubworks.a,pubworks.b", "--concurrency", "3"]
    assert "DEBUG" in named


def test_a_worker_for_an_unknown_backend_does_not_start(place: Any) -> None:
    ran = place.run("worker", "--backend", "basic", "--backend", "nowhere")
    assert (ran.code, "Unknown backend 'nowhere'" in ran.err) == (2, True)


def test_backends_tell_what_is_known_of_each(place: Any) -> None:
    before = {item["name"]: item for item in place.run("backends", "--json").json["backends"]}
    assert {"aer", "basic", "endless", "picky", "narrow"} <= set(before)
    assert before["narrow"]["status"] == "new"
    place.submit("bell.qpy", "--backend", "picky")
    after = {item["name"]: item for item in place.run("backends", "--json").json["backends"]}
    picky = after["picky"]
    assert (picky["status"], picky["max_circuits"], picky["waiting_batches"]) == ("ready", 1, 1)
    assert "cli_backends:Picky" in place.run("backends").out


def test_config_show_tells_origins_and_hides_secrets(place: Any) -> None:
    (place.folder / "pubworks.toml").write_text(
        'broker = "redis://:s3cret@queue.lab:6379/0"\n[backends.x]\nfactory = "a:b"\n'
        'arguments = { token = "s3cret", url = "https://me:s3cret@lab/?api_key=s3cret", deep = { token = "s3cret" } }\n'
        'secrets = { key = "X_KEY" }\n'
    )
    env = {"PUBWORKS_LEASE_S": "30", "PUBWORKS_DATABASE": "postgresql+psycopg://lab:s3cret@db.lab/pubworks"}
    shown = place.run("config", "show", "--json", **env)
    settings = {item["name"]: (item["value"], item["origin"]) for item in shown.json["settings"]}
    assert settings["lease_s"] == (30.0, "environment PUBWORKS_LEASE_S")
    assert settings["broker"] == ("redis://:***@queue.lab:6379/0", str(place.folder / "pubworks.toml"))
    assert settings["database"][0] == "postgresql+psycopg://lab:***@db.lab/pubworks"
    assert settings["keeper_interval_s"][1] == "default"
    assert settings["backends.x.secrets.key"][0] == "$X_KEY (not set)"
    assert "s3cret" not in shown.out + place.run("config", "show", **env).out


def test_db_upgrade_makes_the_tables_and_says_so_once(place: Any) -> None:
    empty = place.run("db", "current")
    assert (empty.code, empty.out) == (6, "empty\n")
    assert "upgraded from empty" in place.run("db", "upgrade").err
    assert "already" in place.run("db", "upgrade").err
    assert place.run("db", "current", "--json").json["up_to_date"] is True


def test_the_doctor_finds_what_fails(place: Any) -> None:
    place.run("db", "upgrade")
    well = place.run("doctor", "--json")
    assert (well.code, well.json["ok"]) == (0, True)
    assert {"config", "broker", "database", "schema", "backend picky", "workers"} <= {
        check["name"] for check in well.json["checks"] if check["status"] == "ok"
    }
    (place.folder / "pubworks.toml").write_text('[backends.lost]\nfactory = "no_such_module:Backend"\n')
    ill = place.run("doctor")
    assert ill.code == 2
    assert "fail  backend lost" in ill.out
    assert "Install the provider's package" in ill.out


@pytest.mark.parametrize(
    ("env", "line"),
    [
        ({"PUBWORKS_DATABASE": "postgresql+psycopg://127.0.0.1:1/x"}, "fail  database"),
        ({"PUBWORKS_BROKER": "redis://127.0.0.1:1/0"}, "fail  broker"),
    ],
)
def test_the_doctor_finds_what_does_not_answer(place: Any, env: dict[str, str], line: str) -> None:
    ran = place.run("doctor", **env)
    assert (ran.code, line in ran.out) == (5, True)
