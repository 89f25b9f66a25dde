"""Who may use the server, how often, and what is kept of what they change."""

from __future__ import annotations

import base64
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from pubworks.states import Scope
from pubworks.store import fleet
from pubworks.testing.servers import eventually


def problem(answer: httpx.Response) -> tuple[int, str, str]:
    assert answer.headers["content-type"] == "application/problem+json"
    document = answer.json()
    assert document["status"] == answer.status_code
    assert document.keys() == {"type", "title", "status", "detail", "code"}
    return answer.status_code, document["type"].rpartition(":")[2], document["code"]


def test_without_a_token_only_health_and_the_description_are_told(served: Any) -> None:
    with served.http() as http:
        health = http.get("/v1/health").json()
        assert (health["status"], health.keys()) == ("ok", {"status", "now"})
        assert http.get("/v1/openapi.json").json()["info"]["title"] == "pubworks"
        for path in ("/v1/jobs", "/v1/tokens", "/v1/nothing", "/"):
            answer = http.get(path)
            assert problem(answer) == (401, "NotAuthenticated", "FAILED")
            assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("token", ["x", "pw_", "pw__", "pw_0_1", "Basic", "pw_\u00e9_\u00fc"])
def test_a_made_up_token_is_refused(served: Any, token: str) -> None:
    with served.http() as http:
        answer = http.get("/v1/jobs", headers={"Authorization": f"Bearer {token}".encode()})
    assert problem(answer)[0] == 401


def test_the_secret_of_a_token_is_nowhere_in_the_database(served: Any) -> None:
    token = served.token("ann", Scope.READ)
    secret = token.split("_", 2)[2]
    with served.client.store.read() as connection:
        row = connection.execute(text("SELECT * FROM tokens WHERE owner = 'ann'")).first()
    assert row is not None
    assert secret not in repr(row)


def test_a_token_that_is_over_or_revoked_is_refused_at_once(served: Any) -> None:
    over = served.token("ann", Scope.ADMIN, lasts_s=-1)
    with served.http(over) as http:
        assert "is over" in http.get("/v1/me").json()["detail"]
    with served.user("root", Scope.ADMIN) as admin:
        made = admin.post("/v1/tokens", json={"owner": "ben", "scopes": ["read"], "lasts_s": 60}).json()
        with served.http(made["token"]) as http:
            assert http.get("/v1/me").json() == {"owner": "ben", "token": made["id"], "scopes": ["read"]}
            assert admin.delete(f"/v1/tokens/{made['id']}").json() == {"id": made["id"], "revoked": True}
            assert "was revoked" in http.get("/v1/me").json()["detail"]
        assert problem(admin.delete("/v1/tokens/nobody")) == (404, "TokenNotFound", "NOT_FOUND")


@pytest.mark.parametrize(
    ("scope", "allowed"),
    [(Scope.READ, 1), (Scope.SUBMIT, 2), (Scope.OPERATE, 3), (Scope.ADMIN, 4)],
)
def test_each_scope_reaches_so_far(served: Any, scope: Scope, allowed: int) -> None:
    calls = [("GET", "/v1/jobs"), ("POST", "/v1/jobs/none/cancel"), ("GET", "/v1/held"), ("GET", "/v1/audit")]
    with served.user("ann", scope) as http:
        answers = [http.request(method, path).status_code for method, path in calls]
    assert answers == [200, 404, 200, 200][:allowed] + [403] * (4 - allowed)


def test_users_see_their_own_jobs_and_what_is_shared(served: Any) -> None:
    mine, theirs, shared, direct = (
        served.job(owner=owner, shared=shared)
        for owner, shared in (("ann", False), ("ben", False), ("ben", True), ("", False))
    )
    with served.user("ann") as ann, served.user("olga", Scope.OPERATE) as olga:
        assert {job["id"] for job in ann.get("/v1/jobs").json()["jobs"]} == {mine, shared}
        assert {job["id"] for job in olga.get("/v1/jobs").json()["jobs"]} >= {mine, theirs, shared, direct}
        for hidden in (theirs, direct):
            for path in ("", "/timeline", "/provider-jobs", "/account"):
                assert problem(ann.get(f"/v1/jobs/{hidden}{path}"))[0] == 404
            assert problem(ann.post(f"/v1/jobs/{hidden}/cancel"))[0] == 404
        assert ann.get(f"/v1/jobs/{shared}").json()["owner"] == "ben"
        assert problem(ann.post(f"/v1/jobs/{shared}/cancel")) == (403, "NotAllowed", "FAILED")
        assert olga.post(f"/v1/jobs/{shared}/cancel").json()["cancelled"] is False


def test_who_submitted_a_job_and_operators_share_it(served: Any) -> None:
    job = served.job(owner="ann")
    path = f"/v1/jobs/{job}/shared"
    with (
        served.user("ann") as ann,
        served.user("ann", Scope.READ) as reader,
        served.user("ben") as ben,
        served.user("olga", Scope.OPERATE) as olga,
        served.user("root", Scope.ADMIN) as root,
    ):
        assert problem(ben.put(path, json={"shared": True}))[0] == 404
        assert problem(reader.put(path, json={"shared": True}))[0] == 403
        assert ann.put(path, json={"shared": True}, headers={"X-Reason": "for the group"}).json()["shared"]
        entry = root.get("/v1/audit", params={"limit": 1}).json()["entries"][0]
        assert (entry["what"], entry["why"], entry["jobs"]) == (f"PUT {path}", "for the group", [job])
        assert job in [one["id"] for one in ben.get("/v1/jobs").json()["jobs"]]
        assert problem(ben.put(path, json={"shared": False})) == (403, "NotAllowed", "FAILED")
        for wrong in ({}, {"shared": "perhaps"}, {"shared": None}):
            assert problem(ann.put(path, json=wrong))[0] == 422
        assert olga.put(path, json={"shared": False}).json()["shared"] is False
        assert job not in [one["id"] for one in ben.get("/v1/jobs").json()["jobs"]]


def test_every_change_is_told_in_the_audit_and_nothing_can_be_removed_from_it(served: Any) -> None:
    job = served.job(owner="ann")
    with served.user("ann") as ann, served.user("root", Scope.ADMIN) as root:
        ann.put(f"/v1/jobs/{job}/tags", json={"tags": ["x"]}, headers={"X-Reason": "for the paper"})
        entry = root.get("/v1/audit", params={"limit": 1}).json()["entries"][0]
        assert (entry["who"], entry["what"], entry["why"]) == ("ann", f"PUT /v1/jobs/{job}/tags", "for the paper")
        assert root.get("/v1/audit", params={"before": 1}).json() == {"entries": []}
        ann.put(f"/v1/jobs/{job}/tags", json={"tags": []}, headers={"X-Reason": ("\u6e2c" * 500).encode()})
        assert root.get("/v1/audit", params={"limit": 1}).json()["entries"][0]["why"] == "\u6e2c" * 500
        long = ann.put(f"/v1/jobs/{job}/tags", json={"tags": []}, headers={"X-Reason": "x" * 2001})
        assert problem(long) == (422, "WrongInput", "USAGE")
    for change in ("DELETE FROM audit", "UPDATE audit SET who = 'nobody'"):
        with pytest.raises(DBAPIError, match="append-only"), served.client.store.write() as connection:
            connection.execute(text(change))


def test_an_operator_drains_a_worker(served: Any) -> None:
    with served.client.store.write() as connection:
        row = {"id": "w-7", "host": "lab", "pid": 7, "concurrency": 1, "backends": ["basic"]}
        fleet.sign_in(connection, row)
    with served.user("ann") as ann, served.user("olga", Scope.OPERATE, Scope.ADMIN) as olga:
        assert problem(ann.post("/v1/workers/w-7/drain"))[0] == 403
        assert olga.post("/v1/workers/w-7/drain").json()["draining"]
        assert problem(olga.post("/v1/workers/w-8/drain")) == (404, "WorkerNotFound", "NOT_FOUND")
        assert [worker["draining"] for worker in ann.get("/v1/workers").json()["workers"]] == [True]
        assert olga.get("/v1/audit", params={"limit": 1}).json()["entries"][0]["what"] == "POST /v1/workers/w-7/drain"
    with served.client.store.write() as connection:
        fleet.sign_out(connection, "w-7")


def test_metrics_are_shown_to_every_token(served: Any) -> None:
    with served.http() as http, served.user("ann", Scope.READ) as ann:
        assert problem(http.get("/metrics"))[0] == 401
        shown = ann.get("/metrics")
    assert shown.headers["content-type"].startswith("text/plain")
    found = dict(line.rsplit(" ", 1) for line in shown.text.splitlines() if not line.startswith("#"))
    assert float(found['pubworks_requests_total{method="GET",status="401"}']) >= 1
    assert found["pubworks_database_up"] == "1.0"
    assert "pubworks_spool_files" not in found, "that is told by workers"


def test_every_answer_has_strict_headers(served: Any) -> None:
    with served.user("ann") as ann:
        for path in ("/v1/jobs", "/v1/nothing", "/v1/health"):
            headers = ann.get(path).headers
            assert headers["content-security-policy"].startswith("default-src 'none'")
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["cache-control"] == "no-store"
            assert "server" not in headers


def test_values_that_cannot_be_are_wrong_input(served: Any) -> None:
    with served.user("olga", Scope.OPERATE) as olga:
        for rate in ("", "often", "5/min burst 0", "9" * 400 + "/s", "0.0000001/d", "1/s burst 9999999999"):
            answer = olga.patch("/v1/backends/basic/limits", json={"requests": rate})
            assert problem(answer) == (422, "WrongInput", "USAGE")
        far = base64.urlsafe_b64encode(f"[{10**400}, 0]".encode()).decode()
        half = base64.urlsafe_b64encode(rb'[1, "\ud800"]').decode()
        for cursor in ("x", far, half, base64.urlsafe_b64encode(b"[" * 90_000).decode()[:200]):
            assert problem(olga.get("/v1/jobs", params={"cursor": cursor})) == (422, "WrongInput", "USAGE")


def test_a_request_that_is_too_large_is_refused(served: Any) -> None:
    with served.user("ann", Scope.ADMIN) as ann:
        answer = ann.post("/v1/tokens", content=b"[" * (1 << 21), headers={"content-type": "application/json"})
        assert problem(answer) == (413, "TooLarge", "USAGE")
        deep = ann.post("/v1/tokens", content=b"[" * 900_000, headers={"content-type": "application/json"})
        assert problem(deep)[0] in (400, 422)


def test_a_token_that_is_used_too_often_waits(serve_on: Any) -> None:
    with serve_on(api_rate="1/h burst 2") as served, served.user("a") as ann:
        answers = [ann.get("/v1/me") for _ in range(3)]
        assert [answer.status_code for answer in answers] == [200, 200, 429]
        assert 3590 <= int(answers[2].headers["retry-after"]) <= 3600
        assert problem(answers[2]) == (429, "TooManyRequests", "FAILED")


def test_no_secret_is_in_the_log(served: Any) -> None:
    token = served.token("ann", Scope.READ)
    with served.http(token) as http:
        http.get("/v1/jobs", params={"name": token})
        http.get(f"/v1/jobs/{token}")
        http.get("/v1/jobs", headers={"X-Reason": token})
    eventually(lambda: "who=ann" in served.log.read_text(), what="the line of the request")
    assert token.split("_", 2)[2] not in served.log.read_text()


def test_it_listens_to_others_only_when_somebody_has_a_token(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pubworks.cli.main", "serve", "--host", "0.0.0.0", "--port", "0"]
    env = {"PUBWORKS_DATA_DIR": str(tmp_path), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    ran = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path)
    assert ran.returncode == 2
    assert "pubworks token create" in ran.stderr


def test_sigterm_ends_it_well(serve_on: Any) -> None:
    with serve_on() as served:
        served.process.terminate()
        assert served.process.wait(20) == 0


def test_who_leaves_in_the_midst_of_an_upload_is_no_failure_of_the_server(served: Any) -> None:
    log_before = served.log.read_text()
    kind = {"Content-Type": "multipart/form-data; boundary=b"}

    def half() -> Iterator[bytes]:
        yield b'--b\r\nContent-Disposition: form-data; name="job"\r\n\r\n{'
        raise ConnectionError

    with served.user("lea") as lea, pytest.raises(ConnectionError):
        lea.post("/v1/jobs", content=half(), headers=kind)
    told = eventually(
        lambda: [line for line in served.log.read_text()[len(log_before) :].splitlines() if "who=lea" in line],
        what="the line of the upload",
    )
    assert "status=499" in told[0]
    assert "api.failed" not in served.log.read_text()[len(log_before) :]
