"""A place of its own for each test of the command line: settings, database, circuits, backends."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from qiskit import QuantumCircuit, qpy
from qiskit.circuit import Parameter
from typer.testing import CliRunner

from pubworks.cli.main import app

BACKENDS = '''
from pathlib import Path

from qiskit.providers import JobStatus
from qiskit.providers.basic_provider import BasicSimulator


class Endless(BasicSimulator):
    """Takes every run and never ends one."""

    def run(self, *args, **options):
        job = super().run(*args, **options)
        job.status = lambda: JobStatus.RUNNING
        job._future = None
        return job


class Picky(BasicSimulator):
    """Refuses circuits of one qubit."""

    max_circuits = 1

    def run(self, circuits, **options):
        if circuits.num_qubits == 1:
            raise RuntimeError("one qubit is too few")
        return super().run(circuits, **options)


class Mendable(BasicSimulator):
    """Refuses circuits of one qubit while the file ``broken`` is in the working folder."""

    max_circuits = 1

    def run(self, circuits, **options):
        if circuits.num_qubits == 1 and Path("broken").exists():
            raise ValueError("one qubit is too few")
        return super().run(circuits, **options)
'''

CONFIG = """
[backends.endless]
factory = "cli_backends:Endless"

[backends.picky]
factory = "cli_backends:Picky"

[backends.mendable]
factory = "cli_backends:Mendable"

[backends.narrow]
factory = "qiskit.providers.fake_provider:GenericBackendV2"
arguments = { num_qubits = 2 }
"""


@dataclass(frozen=True)
class Ran:
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Its standard output, as JSON."""
        return json.loads(self.out)


@dataclass(frozen=True)
class Place:
    """A folder with settings, circuits and a database, and the commands that run there."""

    folder: Path
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    def run(self, *arguments: object, **env: str) -> Ran:
        """Run a command in this process, with standard input that is no terminal."""
        result = CliRunner().invoke(app, [str(argument) for argument in arguments], env=env)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Ran(result.exit_code, result.stdout, result.stderr)

    def start(self, *arguments: object) -> subprocess.Popen[str]:
        """Start the real command."""
        command = [sys.executable, "-X", "faulthandler", "-m", "pubworks.cli.main", *map(str, arguments)]
        process = subprocess.Popen(command, cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.started.append(process)
        return process

    def complete(self, line: str, **env: str) -> Ran:
        """Ask, as bash does, for the words that may stand at the end of a line."""
        words = {"COMP_WORDS": line, "COMP_CWORD": str(len(line.split(" ")) - 1)}
        asked = {"_PUBWORKS_COMPLETE": "complete_bash", **words, **env}
        result = CliRunner().invoke(app, [], env=asked, prog_name="pubworks")
        return Ran(result.exit_code, result.stdout, result.stderr)

    def submit(self, *arguments: object) -> str:
        """Submit and return the job's id."""
        ran = self.run("submit", *arguments)
        assert ran.code == 0, ran.err
        return ran.out.strip()

    def status(self, job_id: str) -> str:
        """Return a job's state."""
        return str(self.run("status", job_id, "--json").json["status"])

    def rows(self) -> int:
        """Return how many jobs, circuits, PUBs and batches are stored."""
        path = self.folder / "pubworks.db"
        if not path.exists():
            return 0
        with sqlite3.connect(path) as connection:
            tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
            names = {"jobs", "circuits", "pubs", "batches"} & {name for (name,) in tables}
            found = sum(connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in names)
        connection.close()
        return int(found)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    for name in [name for name in os.environ if name.startswith("PUBWORKS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PUBWORKS_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("PUBWORKS_CONFIG", str(tmp_path / "pubworks.toml"))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pubworks.toml").write_text(CONFIG)
    (tmp_path / "cli_backends.py").write_text(BACKENDS)
    monkeypatch.delitem(sys.modules, "cli_backends", raising=False)
    write_circuits(tmp_path)
    made = Place(tmp_path)
    yield made
    for process in made.started:  # one that hangs must not disturb the next test
        if process.poll() is None:
            process.kill()
            process.communicate()


def write_circuits(folder: Path) -> None:
    """Write bell.qpy, turn.qpy (two parameters, one qubit), mixed.qpy (both) and ghz.qasm."""
    bell = QuantumCircuit(2, name="bell")
    bell.h(0)
    bell.cx(0, 1)
    bell.measure_all()
    turn = QuantumCircuit(1, name="turn")
    turn.ry(Parameter("a"), 0)
    turn.rz(Parameter("b"), 0)
    turn.measure_all()
    for name, circuits in {"bell": [bell], "turn": [turn], "mixed": [turn, bell]}.items():
        with (folder / f"{name}.qpy").open("wb") as file:
            qpy.dump(circuits, file)
    (folder / "ghz.qasm").write_text(
        'OPENQASM 3.0;\ninclude "stdgates.inc";\nqubit[3] q;\nbit[3] c;\nh q[0];\ncx q[0], q[1];\ncx q[1], q[2];\n'
        "c = measure q;\n"
    )


Finish = Callable[[subprocess.Popen[str]], Ran]


@pytest.fixture
def finish() -> Finish:
    def wait(process: subprocess.Popen[str]) -> Ran:
        try:
            out, err = process.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGABRT)  # it writes where its threads are
            raise AssertionError(f"it did not end within 60 s: {process.communicate()}") from None
        return Ran(process.returncode, out, err)

    return wait
