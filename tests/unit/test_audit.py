"""The audit of the locked packages: what is found fails it, and it never looks clean when nobody was asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from tests import audit

from pubworks.testing.servers import free_port


class _Advisories(BaseHTTPRequestHandler):
    """Answers as osv.dev does, and knows of one vulnerability."""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        package = asked["package"]
        ranges = [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "2.0"}]}]
        known = [{"id": "PYSEC-1", "affected": [{"package": package, "ranges": ranges}]}]
        answer = json.dumps({"vulns": known} if package["name"] == "leaky" else {}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: object) -> None:
        """Write nothing."""


@pytest.fixture
def advisories(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Advisories)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("AUDIT_OSV_URL", f"http://127.0.0.1:{server.server_port}/v1/query")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    yield
    server.shutdown()
    server.server_close()


def locked(tmp_path: Path, *lines: str) -> str:
    file = tmp_path / "some.lock"
    file.write_text("".join(f"{line} --hash=sha256:{'0' * 64}\n" for line in lines))
    return str(file)


@pytest.mark.usefixtures("advisories")
def test_a_known_vulnerability_fails_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert audit.main(locked(tmp_path, "sound==1.0", "leaky==1.0")) == 1
    assert capsys.readouterr().out.splitlines() == [
        "leaky 1.0: PYSEC-1, mended by 2.0",
        "1 known vulnerabilities in 2 packages.",
    ]


def test_a_service_that_is_not_reached_is_not_a_clean_audit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUDIT_OSV_URL", f"http://127.0.0.1:{free_port()}/")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with pytest.raises(audit.Away, match="ConnectionError"):
        audit.ask("osv", locked(tmp_path, "sound==1.0"))


def test_what_a_service_does_not_know_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert audit.tell([{"name": "sound", "version": "1", "vulns": []}, {"name": "own", "skip_reason": "unknown"}]) == 0
    assert capsys.readouterr().out.splitlines() == ["NOT AUDITED: own", "0 known vulnerabilities in 1 packages."]
