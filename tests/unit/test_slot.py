"""A process of a stack: found again by its lock, whoever started it, and stopped with all that it started."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from pubworks.errors import ConfigError
from pubworks.stack import programs
from pubworks.stack.place import Place
from pubworks.stack.slot import Service, Slot
from pubworks.testing.servers import eventually

#: Ignores being asked to stop, says so in a file, and starts a child that outlives it.
STUBBORN = """trap '' TERM; : > "$0"; sleep 600 & sleep 600"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = Place(tmp_path / "stack")
    place.make()
    return place.folder


def service(*command: str) -> Service:
    return Service("it", command, bool)


def start(slot: Slot, *command: str) -> subprocess.Popen[bytes]:
    process = slot.start(service(*command))
    assert process is not None
    eventually(slot.pid)
    return process


def test_a_slot_is_taken_while_its_process_runs(folder: Path) -> None:
    slot = Slot(folder, "it")
    assert not slot.is_taken()
    process = start(slot, "sleep", "600")
    assert slot.is_taken()
    assert slot.pid() == process.pid
    assert slot.start(service("sleep", "600")) is None, "one is enough"
    assert Slot(folder, "it").stop(signal.SIGTERM, 10.0)
    assert process.wait(10) == -signal.SIGTERM
    assert not slot.is_taken()
    assert not slot.stop(signal.SIGTERM, 10.0)


def test_what_does_not_stop_is_killed_with_all_that_it_started(folder: Path) -> None:
    slot = Slot(folder, "it")
    process = start(slot, "sh", "-c", STUBBORN, str(folder / "ready"))
    eventually((folder / "ready").exists)
    assert slot.stop(signal.SIGTERM, 0.2)
    assert process.wait(10) == -signal.SIGKILL
    assert not slot.is_taken()


def test_children_of_a_process_that_was_killed_are_found_and_stopped(folder: Path) -> None:
    slot = Slot(folder, "it")
    process = start(slot, "sh", "-c", "sleep 600 & echo started; sleep 600")
    eventually(lambda: "started" in slot.log.read_text())
    process.kill()
    process.wait(10)
    assert slot.is_taken(), "a child still runs"
    assert slot.stop(signal.SIGTERM, 0.1)
    assert not slot.is_taken()


def test_a_process_outlives_the_one_that_started_it(folder: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from pubworks.stack.slot import Service, Slot\n"
        "Slot(Path(sys.argv[1]), 'it').start(Service('it', ('sleep', '600'), bool))"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", code, str(folder)], check=True, timeout=60)
    slot = Slot(folder, "it")
    assert slot.is_taken()
    eventually(slot.pid)
    assert slot.stop(signal.SIGTERM, 10.0)


def test_logs_secrets_and_folders_are_their_owners_only(tmp_path: Path) -> None:
    place = Place(tmp_path / "stack")
    place.make()
    place.choose()
    place.connect()
    start(Slot(place.folder, "it"), "true").wait(10)
    files = [path for path in place.folder.rglob("*") if path.is_file()]
    assert {path.name for path in files} == {"access.json", "connection.json", "it", "it.log"}
    assert [path for path in files if path.stat().st_mode & 0o077] == []
    assert place.folder.stat().st_mode & 0o066 == 0


def test_ports_and_passwords_stay_while_they_can(tmp_path: Path) -> None:
    place = Place(tmp_path / "stack")
    place.make()
    place.choose()
    urls = (place.database_url, place.broker_url)
    place.choose()
    assert (place.database_url, place.broker_url) == urls
    assert len({place.access("postgres").password, place.access("redis").password}) == 2


def test_a_port_is_kept_unless_somebody_took_it(folder: Path) -> None:
    place = Place(folder)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        place.choose_port(port := programs.free_port())
        place.choose_port(None)
        assert place.url == f"http://127.0.0.1:{port}"
        with pytest.raises(ConfigError, match="Choose another: --port"):
            place.choose_port(taken.getsockname()[1])
    with socket.create_server(("127.0.0.1", port)):
        place.choose_port(None)
    assert place.url != f"http://127.0.0.1:{port}"


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="the system does not say who listens")
def test_a_port_is_that_of_the_process_that_listens_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert programs.listens(os.getpid(), port)
        assert not programs.listens(os.getppid(), port), "somebody else's"
    assert not programs.listens(os.getpid(), port), "closed"
