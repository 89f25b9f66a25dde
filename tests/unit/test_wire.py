"""HTTP to a server: what is asked again, what errors become, and where the token goes."""

from __future__ import annotations

import http.server
import pickle
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from pubworks import errors
from pubworks.client import Client, Job
from pubworks.ledger.wire import Attempts, Wire

PROBLEM = "application/problem+json"


class Answers(http.server.BaseHTTPRequestHandler):
    """Answers as a test says, and keeps what was asked."""

    asked: list[Any] = []  # noqa: RUF012
    script: list[tuple[int, dict[str, str], bytes]] = []  # noqa: RUF012

    def do_GET(self) -> None:
        self.asked.append(dict(self.headers))
        status, headers, body = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

    def log_message(self, *_: object) -> None:
        """Write no log."""


@pytest.fixture
def url() -> Iterator[str]:
    Answers.asked.clear()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def answered(url: str, *script: tuple[int, dict[str, str], bytes], method: str = "GET") -> Any:
    Answers.script = list(script)
    wire = Wire(url, "pw_1_2")
    try:
        return wire.get("/v1/x") if method == "GET" else wire.send(method, "/v1/x")
    finally:
        wire.close()


def problem(status: int, name: str, code: str = "FAILED", **headers: str) -> tuple[int, dict[str, str], bytes]:
    body = f'{{"type": "urn:pubworks:error:{name}", "detail": "why", "code": "{code}"}}'
    return status, {"Content-Type": PROBLEM, **headers}, body.encode()


FINE = (200, {"Content-Type": "application/json"}, b"[1]")


@pytest.mark.parametrize(("answer", "kind", "told"), [
    (problem(404, "JobNotFound"), errors.JobNotFound, "^why$"),
    (problem(401, "NotAuthenticated"), errors.NotAuthenticated, "why Give one: PUBWORKS_TOKEN"),
    (problem(422, "WrongInput", "USAGE"), errors.SubmissionError, "^why$"),
    (problem(500, "Unheard"), errors.PubworksError, "^why$"),
    (problem(400, "annotations"), errors.PubworksError, "^why$"),
    ((404, {}, b"<html>"), errors.StoreError, "127.0.0.1 answered 404"),
    ((413, {}, b""), errors.TooLarge, "413"),
    ((200, {}, b"<html>"), errors.ServerUnreachable, "is no server of pubworks"),
    ((307, {"Location": "https://other"}, b""), errors.ConfigError, "leads to https://other. Give that URL"),
    ((404, {"Content-Type": PROBLEM}, b"[]"), errors.StoreError, "answered 404"),
])  # fmt: skip
def test_an_error_of_the_server_is_the_same_error_here(url: str, answer: Any, kind: type[Exception], told: str) -> None:
    with pytest.raises(kind, match=told):
        answered(url, answer)
    assert len(Answers.asked) <= 4


def test_a_server_that_is_away_for_a_moment_is_asked_again(url: str) -> None:
    away = problem(503, "StoreUnreachable")
    assert answered(url, away, (502, {}, b""), problem(429, "TooManyRequests", **{"Retry-After": "0"}), FINE) == [1]
    assert answered(url, problem(429, "TooManyRequests", **{"Retry-After": "0"}), FINE, method="POST") == [1]
    dated = (429, {"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}, b"")
    assert answered(url, dated, FINE) == [1]
    Answers.asked.clear()
    with pytest.raises(errors.ServerUnreachable, match="why Perhaps it was done all the same"):
        answered(url, away, FINE, method="POST")
    assert len(Answers.asked) == 1


def test_patience_ends_and_what_a_server_asks_for_is_waited() -> None:
    away = errors.ServerUnreachable("away")
    attempts = Attempts(3600)
    assert 0 < attempts.wait_s(away) <= 0.2
    assert attempts.wait_s(errors.TooManyRequests("slow", 7.5)) == 7.5
    waits = [attempts.wait_s(away) for _ in range(20)]
    assert max(waits) <= 5.0
    with pytest.raises(errors.TooManyRequests):
        Attempts(1).wait_s(errors.TooManyRequests("slow", 7.5))
    once = Attempts(3600, repeatable=False)
    with pytest.raises(errors.ServerUnreachable):
        once.wait_s(away)
    away.__cause__ = httpx.ConnectError("refused")
    assert once.wait_s(away) <= 0.4


@pytest.mark.parametrize("token", ["pw_1 2", "pw_\u00e9", "pw\n_1"])
def test_a_token_that_no_header_can_hold_is_not_told(token: str) -> None:
    with pytest.raises(errors.ConfigError) as told:
        Wire("https://lab", token)
    assert token not in str(told.value)
    assert "pw_1_2" not in repr(Wire("https://lab", " pw_1_2\n"))


def test_what_is_no_url_and_what_cannot_be_unpacked_is_told(url: str) -> None:
    with pytest.raises(errors.ConfigError, match=r"http://\[: Invalid IPv6 URL"):
        Wire("http://[", None)
    assert answered(url, (200, {"Content-Encoding": "gzip"}, b"junk"), FINE) == [1]


def test_the_token_of_the_settings_goes_to_their_server_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PUBWORKS_URL", "https://lab")
    monkeypatch.setenv("PUBWORKS_TOKEN", "pw_1_2")
    assert [Client(url).ledger.needs_secret for url in ("https://lab/", "https://other")] == [True, False]
    assert Client("https://other", token="pw_3_4").ledger.needs_secret
    assert Client().ledger.place == "https://lab"


def test_a_handle_without_a_secret_opens_its_place_without_one(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    Answers.script = [problem(404, "JobNotFound")]
    with Client(url) as client:
        pickled = pickle.dumps(Job("01", client.ledger))
    monkeypatch.setenv("PUBWORKS_TOKEN", "pw_1_2")
    with pytest.raises(errors.JobNotFound):
        pickle.loads(pickled)
    assert "Authorization" not in Answers.asked[-1]


def test_a_client_of_a_server_needs_no_database() -> None:
    script = (
        "import sys; from pubworks.client import Client; Client('https://lab', token='pw_1_2').ledger; "
        "print(*sorted({'sqlalchemy', 'celery'} & set(sys.modules)))"
    )
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == ""
