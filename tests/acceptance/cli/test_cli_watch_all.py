"""Watching all open jobs, and what a shell completes."""

from __future__ import annotations

import json
import signal
from typing import Any

import numpy as np
import pytest


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_all_open_jobs_are_run_and_watched_until_none_is_left(place: Any) -> None:
    done = place.submit("bell.qpy", "--backend", "basic", "--wait")
    wanted = {place.submit("bell.qpy", "--backend", name) for name in ("basic", "narrow")}
    ran = place.run("watch", "--json")
    assert ran.code == 0
    seen = lines(ran.out)
    assert {job["id"] for job in seen} == wanted
    assert {job["id"] for job in seen if job["status"] == "DONE"} == wanted
    assert done not in ran.out
    assert "All jobs have ended: pubworks list" in ran.err


def test_its_exit_code_tells_of_a_job_without_all_results(place: Any) -> None:
    np.save("values.npy", [0.1, 0.2])
    (place.folder / "pubworks.toml").write_text(
        '[backends.picky]\nfactory = "cli_backends:Picky"\npolicy = { max_attempts = 1 }\n'
    )
    failing = place.submit("mixed.qpy", "--backend", "picky", "--values", "values.npy")
    ran = place.run("watch")
    assert ran.code == 1
    assert f"{failing}  PARTIAL" in ran.err
    assert "1 of them without all of their results" in ran.err


def test_without_open_jobs_there_is_nothing_to_watch(place: Any) -> None:
    ran = place.run("watch")
    assert (ran.code, ran.out) == (0, "")
    assert "No job is open" in ran.err


def test_ctrl_c_detaches_from_all(place: Any, finish: Any) -> None:
    job_id = place.submit("bell.qpy", "--backend", "endless")
    watching = place.start("watch", "--json")
    assert json.loads(watching.stdout.readline())["id"] == job_id
    watching.send_signal(signal.SIGINT)
    ran = finish(watching)
    assert ran.code == 130
    assert "Watch them again: pubworks watch" in ran.err
    assert "Traceback" not in ran.err


def completed(place: Any, line: str) -> list[str]:
    return [word for word in place.complete(line).out.split("\n") if word]


def test_a_shell_completes_ids_backends_and_tags(place: Any) -> None:
    first = place.submit("bell.qpy", "-b", "basic", "--tag", "thesis", "--tag", "$(touch x) y")
    second = place.submit("bell.qpy", "-b", "basic", "--tag", "theory", "--name", "'; touch x; '")
    assert completed(place, "pubworks status ") == [second, first]
    assert completed(place, f"pubworks watch {first}") == [first]
    assert completed(place, "pubworks result zzz") == []
    assert completed(place, "pubworks list --tag th") == ["theory", "thesis"]
    assert completed(place, "pubworks list --tag ") == ["theory", "thesis"], "what a shell could run is left out"
    assert completed(place, "pubworks submit bell.qpy --backend n") == ["narrow"]
    assert completed(place, "pubworks backends show pi") == ["picky"]


@pytest.mark.parametrize(
    "database", ["sqlite:///nowhere.db", "sqlite:////proc/x/y.db", "no url", "postgresql://127.0.0.1:1/x"]
)
def test_completion_is_silent_without_a_database_and_makes_none(place: Any, database: str) -> None:
    before = sorted(place.folder.iterdir())
    ran = place.complete("pubworks status ", PUBWORKS_DATABASE=database)
    assert (ran.out.strip(), ran.err) == ("", "")
    assert sorted(place.folder.iterdir()) == before
