"""Batches that may have reached the provider, and the person who decides on them."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from pubworks.cli import consent
from pubworks.client import Client
from pubworks.testing.qpu.process import RunningQpu, running_qpu
from pubworks.testing.servers import eventually

ENTRY = '[backends.vendor]\nfactory = "pubworks.testing.qpu:backend"\narguments = {{ url = "{url}" }}\n'


@pytest.fixture(scope="module")
def server() -> Iterator[RunningQpu]:
    with running_qpu() as qpu:
        yield qpu


@pytest.fixture
def qpu(server: RunningQpu, place: Any, monkeypatch: pytest.MonkeyPatch) -> RunningQpu:
    """A provider that takes the next run, does not say so, and lists no jobs."""
    server.reset()
    server.set(find_by_tag=False, drop_after_next=1)
    monkeypatch.setenv("PUBWORKS_KEEPER_INTERVAL_S", "0.05")
    (place.folder / "pubworks.toml").write_text(ENTRY.format(url=server.url))
    return server


@pytest.fixture
def worker(qpu: RunningQpu, place: Any) -> Iterator[Client]:
    with Client() as client:
        client.start_embedded("vendor")
        yield client


def _held(place: Any, worker: Client) -> dict[str, Any]:
    """Submit a job whose one batch is held, and return what `held` says of it."""
    job_id = place.submit("bell.qpy", "--backend", "vendor", "--shots", "100")
    eventually(lambda: worker.job(job_id).progress().batches == {"HELD": 1})
    [found] = place.run("held", "--json").json["held"]
    assert found["job"] == job_id
    return dict(found)


def test_held_lists_what_to_decide_on_and_the_lines_to_copy(place: Any, worker: Client) -> None:
    assert "No batch is held" in place.run("held").err
    batch = _held(place, worker)
    assert {"backend": "vendor", "circuits": 1, "shots": 100}.items() <= batch.items()
    assert batch["id"] == f"{batch['job']}-0"
    assert batch["since"].endswith("Z")
    assert "nobody knows whether the provider took it" in batch["why"]
    assert "ConnectionError" in batch["error"]
    table = place.run("held")
    assert [word for word in (batch["id"], "vendor", "ConnectionError") if word not in table.out] == []
    assert [line for line in batch["resolve"] if line not in table.err] == []
    assert batch["resolve"][0] == f"pubworks resolve {batch['id']} adopt PROVIDER_ID"
    status = place.run("status", batch["job"])
    assert "pubworks held" in status.out
    assert "1 HELD: ConnectionError" in status.out


def test_adopt_goes_on_with_the_run_that_was_paid_for(place: Any, qpu: RunningQpu, worker: Client) -> None:
    batch = _held(place, worker)
    [run] = qpu.ledger()["jobs"]
    ran = place.run("resolve", batch["id"], "adopt", run["id"])
    assert (ran.code, ran.out) == (0, "")
    assert f"pubworks watch {batch['job']}" in ran.err
    job = worker.job(batch["job"])
    assert job.result(timeout=30)[0].data.meas.num_shots == 100
    assert len(qpu.ledger()["jobs"]) == 1
    [known] = job.provider_jobs()
    assert (known["attempt"], known["provider_job_id"], known["state"]) == (1, run["id"], "DONE")
    assert "number" not in known
    assert place.run("held", "--json").json == {"held": []}


def test_resubmit_runs_it_again(place: Any, qpu: RunningQpu, worker: Client) -> None:
    batch = _held(place, worker)
    assert place.run("resolve", batch["id"][-8:], "resubmit", "--yes").code == 0
    job = worker.job(batch["job"])
    job.result(timeout=30)
    assert len(qpu.ledger()["jobs"]) == 2
    assert [(run["attempt"], run["state"]) for run in job.provider_jobs()] == [(1, "LOST"), (2, "DONE")]


def test_fail_gives_it_up_and_says_who_did(place: Any, worker: Client) -> None:
    batch = _held(place, worker)
    assert place.run("resolve", batch["id"][:-2], "FAIL", "--yes", "--why", "too old").code == 0
    assert place.status(batch["job"]) == "FAILED"
    (entry,) = place.run("audit", "--json").json["entries"]
    assert entry["who"].startswith("cli:")
    assert (entry["what"], entry["why"]) == (f"pubworks resolve {batch['id']} fail", "too old")
    assert entry["jobs"] == [batch["job"]]
    assert "a person gave it up" in place.run("status", batch["job"]).out


def test_what_costs_is_asked_for_and_never_without_a_terminal(
    place: Any, worker: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = _held(place, worker)
    for decision in ("resubmit", "fail"):
        ran = place.run("resolve", batch["id"], decision)
        assert (ran.code, "--yes" in ran.err) == (2, True)
    terminal = SimpleNamespace(isatty=lambda: True)
    monkeypatch.setattr(consent, "sys", SimpleNamespace(stdin=terminal))
    asked: list[str] = []
    monkeypatch.setattr(consent.typer, "confirm", lambda question, err: asked.append(question))
    for decision in ("resubmit", "fail"):
        assert place.run("resolve", batch["id"], decision).code == 0
    assert "paid for twice" in asked[0]
    assert "no result" in asked[1]
    assert len(place.run("held", "--json").json["held"]) == 1, "nothing was decided"


def test_resolve_wants_a_held_batch_and_an_id_only_to_adopt(place: Any, worker: Client) -> None:
    batch = _held(place, worker)
    for unknown in ("01NOSUCH", batch["id"] + "0", ""):
        ran = place.run("resolve", unknown, "fail", "--yes")
        assert (ran.code, "pubworks held" in ran.err) == (3, True)
    for words, told in (
        (("adopt",), "adopt PROVIDER_ID"),
        (("adopt", " "), "adopt PROVIDER_ID"),
        (("resubmit", "abc"), "adopt abc"),
        (("fail", "abc"), "adopt abc"),
        (("forget",), "'forget'"),
    ):
        ran = place.run("resolve", batch["id"], *words)
        assert (ran.code, ran.out, told in ran.err) == (2, "", True), ran.err
    assert len(place.run("held", "--json").json["held"]) == 1


def test_an_id_that_fits_several_held_batches_is_refused(place: Any, qpu: RunningQpu, worker: Client) -> None:
    batch = _held(place, worker)
    qpu.set(drop_after_next=1)
    second = place.submit("bell.qpy", "--backend", "vendor")
    eventually(lambda: worker.job(second).progress().batches == {"HELD": 1})
    ran = place.run("resolve", "-y", "01", "fail")
    assert (ran.code, "Several held batches fit" in ran.err) == (3, True)
    assert place.run("resolve", batch["id"], "fail", "--yes").code == 0
    assert place.run("resolve", "01", "fail", "--yes").code == 0, "now it is the only one"


def test_the_doctor_tells_of_held_batches(place: Any, worker: Client) -> None:
    _held(place, worker)
    ran = place.run("doctor")
    assert (ran.code, "fail  held batches" in ran.out) == (1, True)
    assert "pubworks held" in ran.out
