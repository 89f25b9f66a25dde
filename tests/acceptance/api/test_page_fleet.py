"""Overview, backends, workers, errors and held batches in the browser, and what can be done about them there."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from tests.acceptance.api.test_page import browser, form_of

from pubworks.policy import Policy
from pubworks.states import Scope
from pubworks.store import doubts, fleet, limits
from pubworks.testing.store.calls import Calls, draft, one_each


def newest_deed(served: Any) -> dict[str, Any]:
    """Return the newest entry of the audit."""
    with served.http(served.token("root", Scope.ADMIN)) as admin:
        entry: dict[str, Any] = admin.get("/v1/audit?limit=1").json()["entries"][0]
        return entry


def job_on(served: Any, backend: str, owner: str, batches: int = 1) -> tuple[str, Calls]:
    """Store a job with batches for a backend that nobody serves; returns its id, and a worker's calls."""
    calls = Calls(served.client.store, backend)
    job = replace(draft(served.client.new_id(), *one_each(batches), backend=backend), owner=owner)
    calls.submit(job)
    return job.id, calls


def test_the_overview_counts_what_one_may_see(served: Any) -> None:
    _, calls = job_on(served, "counted", "ann", batches=3)
    calls.complete(calls.take())
    calls.fail(calls.take(), "ValueError: no")
    calls.fly(calls.take())
    with browser(served, "ann") as ann, browser(served, "zoe") as zoe:
        seen = ann.get("/?span=10min", headers={"Accept": "application/json"}).json()
        assert sum(seen["jobs"]["submitted"]) == 1
        assert (sum(seen["runs"]["done"]), sum(seen["runs"]["failed"]), sum(seen["shots"]["done"])) == (1, 1, 10)
        assert seen["in_flight"]["counted"][-1] == 1
        assert seen["counts"]["jobs_running"] == 1
        assert len(seen["at"]) == len(seen["jobs"]["done"]) == 60
        assert "counted" in ann.get("/?span=10min").text
        for span in ("10min", "1h", "24h", "7d"):
            other = zoe.get(f"/?span={span}")
            assert other.status_code == 200
            assert "counted" not in other.text
        assert zoe.get("/?span=2d").status_code == 422


def test_errors_that_say_the_same_stand_together_and_are_retried_together(served: Any) -> None:
    jobs = []
    for number in range(3):
        job, calls = job_on(served, "broken", "ben")
        calls.fail(calls.take(), f"QpuError: job 4f0cbb1d9e0a4c3{number} was lost (attempt 2 of 2)")
        jobs.append(job)
    job_on(served, "broken", "carl")[1].fail(Calls(served.client.store, "broken").take(), "QpuError: <b>another</b>")
    with browser(served, "ben") as ben, browser(served, "olga", Scope.OPERATE) as olga:
        (found,) = ben.get("/errors", headers={"Accept": "application/json"}).json()["errors"]
        assert (found["kind"], found["message"], found["batches"]) == ("QpuError", "job \u2026 was lost", 3)
        assert sorted(found["jobs"]) == sorted(jobs)
        page = olga.get("/errors").text
        assert "&lt;b&gt;another" in page
        url = re.search(r'href="(/errors/retry\?[^"]+)"', ben.get("/errors").text)[1]  # type: ignore[index]
        url = url.replace("&amp;", "&")
        form = form_of(ben.get(url).text)
        assert ben.post(url, data={"form": form, "why": "mended"}).headers["location"] == "/errors"
        assert ben.get("/errors", headers={"Accept": "application/json"}).json()["errors"] == []
        left = olga.get("/errors", headers={"Accept": "application/json"}).json()["errors"]
        assert [one["message"] for one in left if one["backend"] == "broken"] == ["<b>another</b>"]
    assert {served.client.job(job).state for job in jobs} == {"QUEUED"}
    deed = newest_deed(served)
    assert (deed["who"], deed["what"], deed["why"]) == ("ben", "POST /errors/retry", "mended")
    for job in jobs:
        served.client.job(job).cancel()


def test_limits_are_set_by_operators(served: Any) -> None:
    with browser(served, "ann") as ann, browser(served, "olga", Scope.OPERATE) as olga:
        assert "/backends/basic/limits" not in ann.get("/backends").text
        assert ann.get("/backends/basic/limits").status_code == 403
        form = form_of(olga.get("/backends/basic/limits").text)
        wrong = olga.post("/backends/basic/limits", data={"form": form, "submit": "often", "in_flight": "-1"})
        assert wrong.status_code == 422
        assert "in_flight" in wrong.text
        said = {"form": form, "submit": "5/min", "requests": "", "in_flight": "3", "why": "they asked"}
        assert olga.post("/backends/basic/limits", data=said).headers["location"] == "/backends"
        page = olga.get("/backends").text
        assert "5/min" in page
        assert "0 of 3" in page
    deed = newest_deed(served)
    what = "POST /backends/basic/limits submit=5/min requests=none in_flight=3"
    assert (deed["what"], deed["why"]) == (what, "they asked")


def test_a_backend_that_is_back_is_resumed_by_operators(served: Any) -> None:
    button = "/backends/basic/resume"
    with browser(served, "ann") as ann, browser(served, "olga", Scope.OPERATE) as olga:
        assert button not in olga.get("/backends").text
        with served.client.store.write() as connection:
            limits.failed(connection, "basic", "502 <bad> gateway", Policy(), surely=True)
        assert button not in ann.get("/backends").text
        assert ann.get(button).status_code == 403
        backends = olga.get("/backends").text
        assert button in backends
        assert "breaker open" in backends
        page = olga.get(button).text
        assert "502 &lt;bad&gt; gateway" in page
        form = form_of(page)
        assert ann.post(button, data={"form": form}).status_code == 403
        assert olga.post(button, data={"form": form, "why": "it is back"}).headers["location"] == "/backends"
        assert button not in olga.get("/backends").text
        with served.client.store.write() as connection:
            limits.snooze(connection, "basic", "503 back in an hour", 3600.0)
        assert "503 back in an hour" in olga.get(button).text
        assert olga.post(button, data={"form": form}).headers["location"] == "/backends"
        page = olga.get(button).text
        assert "Nothing keeps it" in page
        assert "Resume it" not in page
    deed = newest_deed(served)
    assert (deed["what"], deed["who"]) == (f"POST {button}", "olga")
    with served.user("ann") as ann, served.user("olga", Scope.OPERATE) as olga:
        assert ann.post("/v1/backends/basic/resume").status_code == 403
        answer = olga.post("/v1/backends/basic/resume").json()
        assert answer == {"breaker_closed": False, "pause_ended": False, "waiting_batches": 0}
        assert olga.post("/v1/backends/nothing/resume").status_code == 422


def test_workers_show_what_they_hold_and_are_drained(served: Any) -> None:
    row = {"id": "lab-9", "host": "lab", "pid": 9, "backends": ["held-here"], "concurrency": 2, "embedded": False}
    with served.client.store.write() as connection:
        fleet.sign_in(connection, row)
    job, calls = job_on(served, "held-here", "ann")
    calls.take("lab-9/1")
    with browser(served, "zoe") as zoe, browser(served, "olga", Scope.OPERATE) as olga:
        other = zoe.get("/workers").text
        assert "lab-9" in other
        assert job not in other
        assert "/workers/lab-9/drain" not in other
        page = olga.get("/workers").text
        assert f"/jobs/{job}" in page
        form = form_of(olga.get("/workers/lab-9/drain").text)
        assert zoe.post("/workers/lab-9/drain", data={"form": form}).status_code == 403
        assert olga.post("/workers/lab-9/drain", data={"form": form}).headers["location"] == "/workers"
        assert "draining" in olga.get("/workers").text
    with served.client.store.write() as connection:
        fleet.sign_out(connection, "lab-9")


def test_held_batches_are_decided_on(served: Any) -> None:
    job, calls = job_on(served, "doubtful", "ann", batches=2)
    for _ in range(2):
        claim = calls.take()
        calls.begin_call(claim)
        calls.doubt(claim)
        assert calls.do(doubts.hold, claim.batch_id, claim.fence, "perhaps it took it")
    with browser(served, "ann") as ann, browser(served, "olga", Scope.OPERATE) as olga:
        assert ann.get("/held").status_code == 403
        assert 'href="/held"' not in ann.get("/jobs").text
        page = olga.get("/held").text
        assert "perhaps it took it" in page
        form = form_of(olga.get(f"/held/{job}-0").text)
        missing = olga.post(f"/held/{job}-0", data={"form": form, "decision": "adopt", "provider_id": " "})
        assert missing.status_code == 422
        adopted = {"form": form, "decision": "adopt", "provider_id": "p-7", "why": "seen in the console"}
        assert olga.post(f"/held/{job}-0", data=adopted).headers["location"] == "/held"
        assert olga.post(f"/held/{job}-1", data={"form": form, "decision": "fail"}).headers["location"] == "/held"
        assert "No batch is held" in olga.get("/held").text
    assert [calls.batch(f"{job}-{number}").state for number in range(2)] == ["IN_FLIGHT", "FAILED"]
    served.client.job(job).cancel()


def test_a_job_tells_of_its_attempts_and_is_cancelled_and_retried(served: Any) -> None:
    job, calls = job_on(served, "trying", "dora", batches=3)
    calls.complete(calls.take(), merge=False)
    calls.put_back(calls.take(), reason="QpuError: <i>busy</i>")
    with browser(served, "dora") as http:
        page = http.get(f"/jobs/{job}?state=PENDING").text
        assert "QpuError: &lt;i&gt;busy" in page
        assert "attempt 1" in page
        confirm = http.get(f"/jobs/{job}/cancel").text
        assert "2 batches that wait will never be run" in confirm
        assert http.post(f"/jobs/{job}/cancel", data={"form": form_of(confirm), "why": "no"}).status_code == 303
        assert served.client.job(job).state == "CANCELLED"
        page = http.get(f"/jobs/{job}").text
        assert f"/jobs/{job}/cancel" not in page
        assert "<button" not in http.get(f"/jobs/{job}/cancel").text.partition("<main")[2]
        form = form_of(http.get(f"/jobs/{job}/retry").text)
        assert http.post(f"/jobs/{job}/retry", data={"form": form}).status_code == 303
        assert served.client.job(job).state in ("QUEUED", "RUNNING")
        assert http.post(f"/jobs/{job}/retry", data={"form": form}).status_code == 409
        assert calls.batch(f"{job}-0").state == "DONE"
    served.client.job(job).cancel()
