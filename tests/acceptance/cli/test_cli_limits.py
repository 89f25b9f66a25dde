"""What the fleet may use of a backend: shown, changed, waited for, learned and forgotten."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from pubworks.cli.session import opened
from pubworks.client import Client
from pubworks.policy import Policy, Quota, Rate
from pubworks.store import fleet
from pubworks.store import limits as store
from pubworks.testing.qpu.process import RunningQpu, running_qpu
from pubworks.testing.servers import eventually

CONFIG = """
[backends.picky]
factory = "cli_backends:Picky"
limits = { submit = "5/min", requests = "20/s burst 4" }
policy = { max_attempts = 2, breaker_failures = 3 }
adapter = "pubworks.backends.adapter:Adapter"
"""


@pytest.fixture
def limited(place: Any) -> Any:
    """A place whose backend `picky` has limits, which no worker has taken yet."""
    (place.folder / "pubworks.toml").write_text(CONFIG)
    return place


def test_limits_are_those_of_the_settings_at_first_and_are_changed_live(limited: Any) -> None:
    before = limited.run("backends", "limits", "picky", "--json").json
    assert before["limits"] == {"submit": "5/min", "requests": "20/s burst 4", "in_flight": None}
    assert (before["in_flight"], before["breaker"], before["snoozed_until"]) == (0, "closed", None)
    changed = limited.run("backends", "limits", "picky", "--submit", "100/h burst 10", "--in-flight", 3)
    assert "100/h burst 10, 10 left now" in changed.out
    assert "20/s burst 4, 4 left now" in changed.out
    assert "0 of 3" in changed.out
    assert "submit = 5/min" in changed.err
    after = limited.run("backends", "limits", "picky", "--requests", "none", "--json").json
    assert after["limits"] == {"submit": "100/h burst 10", "requests": None, "in_flight": 3}
    assert (after["submissions_left"], after["requests_left"]) == (10, None)


def test_what_was_set_live_outlives_the_start_of_a_worker(limited: Any) -> None:
    limited.run("backends", "limits", "picky", "--submit", "7/min")
    with opened() as session, session.store.write() as connection:
        store.configure(connection, "picky", session.settings.backends["picky"].limits)
    assert limited.run("backends", "limits", "picky", "--json").json["limits"]["submit"] == "7/min"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("picky", "--submit", "5 per min"), ("--submit", "'5 per min' is not a rate", "COUNT/PERIOD", "none")),
        (("picky", "--requests", "0/s"), ("--requests", "COUNT/PERIOD")),
        (("picky", "--in-flight", "0"), ("--in-flight", "from 1 on", "none")),
        (("picky", "--in-flight", "many"), ("--in-flight", "'many'")),
        (("piky",), ("Unknown backend 'piky'", "did you mean 'picky'")),
        (("piky", "--submit", "5/min"), ("Unknown backend 'piky'",)),
    ],
)
def test_limits_that_are_none(limited: Any, arguments: tuple[str, ...], words: tuple[str, ...]) -> None:
    ran = limited.run("backends", "limits", *arguments)
    assert (ran.code, ran.out) == (2, "")
    assert [word for word in words if word not in ran.err] == [], ran.err


def test_trouble_is_shown_and_told_by_the_doctor_and_the_status(limited: Any) -> None:
    job_id = limited.submit("mixed.qpy", "--backend", "picky", "--values", _values(limited))
    policy = Policy(breaker_failures=3)
    with opened() as session, session.store.write() as connection:
        for _ in range(3):
            store.failed(connection, "picky", "502 bad gateway", policy)
    limits = limited.run("backends", "limits", "picky", "--json").json
    assert (limits["breaker"], limits["failures"], limits["failure_reason"]) == ("open", 3, "502 bad gateway")
    assert limits["next_probe_at"].endswith("Z")
    assert (
        "open after 3 failures, last: 502 bad gateway; one run may try in"
        in limited.run("backends", "show", "picky").out
    )
    doctor = limited.run("doctor")
    assert (doctor.code, "fail  breaker picky" in doctor.out) == (1, True)
    status = limited.run("status", job_id)
    assert "2 PENDING: the backend fails again and again, last: 502 bad gateway; next try in" in status.out
    with opened() as session, session.store.write() as connection:
        store.succeeded(connection, "picky")
        store.snooze(connection, "picky", "429 slow down", 100)
    limits = limited.run("backends", "limits", "picky")
    assert "the provider asked to slow down: 429 slow down" in limits.out
    [wait] = limited.run("status", job_id, "--json").json["waits"]
    assert (wait["status"], wait["batches"]) == ("PENDING", 2)
    assert "slow down: 429" in wait["reason"]
    assert 90 < wait["due_in_s"] <= 100


def _values(place: Any) -> str:
    (place.folder / "values.json").write_text('{"a": 0, "b": 0}')
    return "values.json"


def test_show_tells_what_a_provider_taught_and_forget_forgets_it(limited: Any) -> None:
    assert limited.run("backends", "show", "piky").code == 2
    assert "nothing to forget" in limited.run("backends", "forget", "picky").err
    limited.submit("bell.qpy", "--backend", "picky")
    with opened() as session, session.store.write() as connection:
        fleet.learn(connection, "picky", max_shots=300)
    shown = limited.run("backends", "show", "picky", "--json").json
    assert shown["learned"] == {"max_shots": 300}
    assert (shown["policy"]["max_attempts"], shown["adapter"]) == (2, "pubworks.backends.adapter:Adapter")
    assert (shown["status"], shown["waiting_batches"], shown["limits"]["submit"]) == ("ready", 1, "5/min")
    sheet = limited.run("backends", "show", "picky").out
    assert "max_shots 300" in sheet
    assert "max_attempts 2, breaker_failures 3" in sheet
    assert limited.run("backends", "forget", "picky").code == 0
    assert limited.run("backends", "show", "picky", "--json").json["learned"] == {}


def test_who_knows_that_a_backend_is_back_resumes_it(limited: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert limited.run("backends", "resume", "piky").code == 2
    ran = limited.run("backends", "resume", "picky")
    assert (ran.code, ran.out, "its breaker is closed, and its provider asked for no pause" in ran.err) == (0, "", True)
    limited.submit("bell.qpy", "--backend", "picky")
    with opened() as session, session.store.write() as connection:
        store.failed(connection, "picky", "401 unknown key", Policy(), surely=True)
        store.snooze(connection, "picky", "503 back soon", 3600)
    assert "pubworks backends resume picky" in limited.run("doctor").out
    rung: list[tuple[str, int]] = []
    with monkeypatch.context() as patch:
        patch.setattr("pubworks.queue.ring", lambda app, backend, times: rung.append((backend, times)))
        ran = limited.run(
            "backends", "resume", "picky", "--why", "a new key", PUBWORKS_BROKER="redis://127.0.0.1:1/0"
        )  # fmt: skip
    assert (ran.code, rung) == (0, [("picky", 1)])
    assert (
        "picky goes on: its breaker is closed, and the pause that its provider asked for is over. 1 batch waits"
        in ran.err
    )
    limits = limited.run("backends", "limits", "picky", "--json").json
    assert (limits["breaker"], limits["failures"], limits["snoozed_until"]) == ("closed", 0, None)
    deed = limited.run("audit", "--json").json["entries"][0]
    assert (deed["what"], deed["why"]) == ("pubworks backends resume picky", "a new key")


def test_config_show_tells_limits_policy_and_adapter(limited: Any) -> None:
    settings = {item["name"]: item for item in limited.run("config", "show", "--json").json["settings"]}
    shown = {name: settings[f"backends.picky.{name}"]["value"] for name in (
        "limits.submit", "limits.requests", "policy.max_attempts", "policy.breaker_failures", "adapter",
    )}  # fmt: skip
    assert list(shown.values()) == ["5/min", "20/s burst 4", 2, 3, "pubworks.backends.adapter:Adapter"]
    assert "backends.picky.policy.free" not in settings
    assert settings["backends.picky.limits.submit"]["origin"].endswith("pubworks.toml")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('limits = { submit = "5 per min" }', ("backends.picky.limits.submit", "COUNT/PERIOD")),
        ("limits = { submit = 5 }", ("backends.picky.limits.submit", "COUNT/PERIOD")),
        ('limits = { submits = "5/min" }', ("Unknown setting", "Known here: in_flight, requests, submit.")),
        ("limits = { in_flight = 0 }", ("backends.picky.limits.in_flight", "greater than 0")),
        ("policy = { max_attempt = 5 }", ("backends.picky.policy.max_attempt", "max_attempts", "poll_longest_s")),
        ("policy = { max_attempts = 0 }", ("backends.picky.policy.max_attempts", "greater than 0")),
        ('adapter = "Adapter"', ("backends.picky.adapter",)),
    ],
)
def test_limits_and_policies_that_are_wrong_are_told_by_name(place: Any, line: str, words: tuple[str, ...]) -> None:
    (place.folder / "pubworks.toml").write_text(f'[backends.picky]\nfactory = "cli_backends:Picky"\n{line}\n')
    ran = place.run("config", "show")
    assert (ran.code, ran.out) == (2, "")
    assert [word for word in words if word not in ran.err] == [], ran.err


@pytest.fixture
def busy(place: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunningQpu]:
    """A provider whose queue stands still, and of which one run may be in flight."""
    with running_qpu(paused=True, max_circuits=1) as qpu:
        monkeypatch.setenv("PUBWORKS_KEEPER_INTERVAL_S", "0.05")
        (place.folder / "pubworks.toml").write_text(
            '[backends.vendor]\nfactory = "pubworks.testing.qpu:backend"\n'
            f'arguments = {{ url = "{qpu.url}" }}\nlimits = {{ in_flight = 1 }}\n'
        )
        yield qpu


def test_status_says_what_keeps_batches_waiting_until_it_is_lifted(place: Any, busy: RunningQpu) -> None:
    with Client() as worker:
        worker.start_embedded("vendor")
        job_id = place.submit("mixed.qpy", "--backend", "vendor", "--values", _values(place))
        eventually(lambda: worker.job(job_id).progress().batches == {"IN_FLIGHT": 1, "PENDING": 1})
        words = "1 PENDING: 1 runs are in flight, and no more than 1 may be"
        eventually(lambda: words in place.run("status", job_id).out)
        assert "1 of 1" in place.run("backends", "limits", "vendor").out
        place.run("backends", "limits", "vendor", "--in-flight", "none")
        eventually(lambda: len(busy.ledger()["jobs"]) == 2)
        busy.set(paused=False)
        assert worker.job(job_id).result(timeout=30)[1].data.meas.num_shots == 1024


def test_a_rate_is_told_without_its_countdown_where_every_change_is_a_line(place: Any, limited: Any) -> None:
    job_id = limited.submit("bell.qpy", "--backend", "picky")
    with opened() as session:
        with session.store.write() as connection:
            store.configure(connection, "picky", Quota(submit=Rate.parse("5/h")))
            row = store.lock(connection, "picky")
            assert row is not None
            store.spend(connection, row, Policy(), submissions=1)
        from pubworks.cli.story import waits

        view = session.view(job_id)
    assert waits(view, with_times=False) == ["1 PENDING: no more than 5/h submissions"]
    [line] = waits(view)
    assert line.startswith("1 PENDING: no more than 5/h submissions; next try in 1")


def test_a_change_rings_the_backend_and_counts_without_a_broker(limited: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    rung: list[tuple[str, int]] = []
    with monkeypatch.context() as patch:
        patch.setattr("pubworks.queue.ring", lambda app, backend, times: rung.append((backend, times)))
        limited.run("backends", "limits", "picky", "--in-flight", 2)
        assert rung == [], "an embedded broker reaches its own process only"
        limited.run("backends", "limits", "picky", "--in-flight", 3, PUBWORKS_BROKER="redis://127.0.0.1:1/0")
    assert rung == [("picky", 1)]
    ran = limited.run("backends", "limits", "picky", "--in-flight", 4, PUBWORKS_BROKER="redis://127.0.0.1:1/0")
    assert (ran.code, "0 of 4" in ran.out) == (0, True)
