"""With ``PUBWORKS_URL`` the commands say over a server what they say of its database."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from qiskit import QuantumCircuit, qpy
from tests.acceptance.api.breaking import breaking
from tests.acceptance.api.conftest import Served, serving
from typer.testing import CliRunner

from pubworks.cli.main import app
from pubworks.client import Client
from pubworks.ledger import remote
from pubworks.policy import Policy
from pubworks.states import Scope
from pubworks.store import audit, limits
from pubworks.testing.qpu.process import RunningQpu, running_qpu
from pubworks.testing.servers import eventually

CONFIG = """
[backends.picky]
factory = "url_backends:Picky"

[backends.vendor]
factory = "pubworks.testing.qpu:backend"
arguments = {{ url = "{url}" }}
"""

BACKENDS = '''
from qiskit.providers.basic_provider import BasicSimulator


class Picky(BasicSimulator):
    """Refuses circuits of one qubit."""

    max_circuits = 1

    def run(self, circuits, **options):
        if circuits.num_qubits == 1:
            raise ValueError("one qubit is too few")
        return super().run(circuits, **options)
'''


@dataclass(frozen=True)
class Place:
    """A server, its database, and the commands that reach one or the other."""

    served: Served
    token: str
    worker: Client

    def run(self, *arguments: object, **env: str) -> tuple[int, str, str]:
        """Run a command over the server; returns its code, standard output and standard error."""
        return self._run(arguments, {"PUBWORKS_URL": self.served.url, "PUBWORKS_TOKEN": self.token, **env})

    def complete(self, line: str, **env: str) -> list[str]:
        """Return the words that bash is given for the end of a line, over the server."""
        asked = {"_PUBWORKS_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(line.split(" ")) - 1)}
        place = {"PUBWORKS_URL": self.served.url, "PUBWORKS_TOKEN": self.token}
        result = CliRunner().invoke(app, [], env={**place, **asked, **env}, prog_name="pubworks")
        assert result.stderr == ""
        return result.stdout.split()

    def straight(self, *arguments: object) -> tuple[int, str, str]:
        """Run a command on the database."""
        return self._run(arguments, {"PUBWORKS_DATABASE": self.served.client.settings.database})

    def _run(self, arguments: tuple[object, ...], env: dict[str, str]) -> tuple[int, str, str]:
        result = CliRunner().invoke(app, [str(argument) for argument in arguments], env={"NO_COLOR": "1", **env})
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result.exit_code, result.stdout, result.stderr


@pytest.fixture(scope="module")
def vendor() -> Iterator[RunningQpu]:
    """A provider that takes the next run, does not say so, and lists no jobs."""
    with running_qpu() as qpu:
        qpu.set(find_by_tag=False, drop_after_next=1)
        yield qpu


@pytest.fixture(scope="module")
def place(vendor: RunningQpu, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder: Path = tmp_path_factory.mktemp("url")
    (folder / "pubworks.toml").write_text(CONFIG.format(url=vendor.url))
    (folder / "url_backends.py").write_text(BACKENDS)
    for name, width in (("bell", 2), ("one", 1)):
        circuit = QuantumCircuit(width, name=name)
        circuit.h(range(width))
        circuit.measure_all()
        with (folder / f"{name}.qpy").open("wb") as file:
            qpy.dump(circuit, file, version=15)
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("PUBWORKS_")]:
            patch.delenv(name)
        patch.setenv("PYTHONPATH", str(folder), prepend=os.pathsep)
        patch.syspath_prepend(folder)
        patch.chdir(folder)
        with serving(folder, f"sqlite:///{folder / 'pubworks.db'}") as served, Client(served.client.settings) as worker:
            for name in ("basic", "picky", "vendor"):
                worker.start_embedded(name)
            yield Place(served, served.token("ann", Scope.OPERATE), worker)


def submitted(place: Place, *arguments: object) -> str:
    code, out, err = place.run("submit", *arguments)
    assert code == 0, err
    return out.strip()


@pytest.fixture(scope="module")
def done(place: Place) -> str:
    """A job that ended well."""
    code, out, err = place.run("submit", "bell.qpy", "-b", "basic", "--seed", 7, "--shots", 50, "--tag", "t", "--wait")
    assert (code, err.splitlines()[-1]) == (0, f"Results: pubworks result {out.strip()}")
    return out.strip()


@pytest.fixture(scope="module")
def partial(place: Place) -> str:
    """A job of which one PUB has no result."""
    code, out, err = place.run("submit", "bell.qpy", "one.qpy", "-b", "picky", "--wait", "--json")
    assert (code, json.loads(out)["status"]) == (1, "PARTIAL"), err
    return str(json.loads(out)["id"])


@pytest.mark.parametrize("command", [
    "status {} --json", "timeline {} --json", "result {} --json", "result {}", "result {} --timeout 5", "watch {}",
    "watch {} --json", "cancel {} --yes", "list --json", "list --tag t --status done --json", "list --tag none",
    "list --session nothing", "status nothing", "result nothing", "retry nothing", "cancel --tag none", "held",
    "watch", "held --json", "batch list --json", "session show nothing", "resolve nothing fail --yes",
    "submit nothing.qpy -b basic", "submit bell.qpy -b nothing", "plan bell.qpy -b basic --json",
    "submit bell.qpy --session nothing", "backends limits picky --json", "backends limits nothing",
    "backends limits vendor", "backends limits vendor --submit often", "workers drain nothing", "backends forget picky",
    "backends forget nothing", "backends resume picky", "backends resume nothing",
    "backends show picky", "backends show vendor", "backends show nothing",
])  # fmt: skip
def test_a_command_says_over_the_server_what_it_says_of_the_database(
    place: Place, done: str, partial: str, command: str
) -> None:
    for job in (done, partial) if "{}" in command else ("",):
        words = command.format(job).split()
        assert place.run(*words) == place.straight(*words)


def test_a_job_is_shared_and_kept_to_its_owner_again(place: Place, done: str) -> None:
    assert place.run("share", done[-8:], "--why", "for the group") == (
        0, "", f"Job {done} is shared: every user of the server may see it. Keep it to yourself again: pubworks share "
        f"{done} --off\n",
    )  # fmt: skip
    assert place.run("share", done) == place.straight("share", done)
    assert "with all users" in place.run("status", done)[1]
    assert place.run("share", done, "--off") == (0, "", f"Job {done} is not shared: its owner and operators see it.\n")
    assert place.straight("share", done, "--off") == place.run("share", done, "--off")
    assert "with all users" not in place.run("status", done)[1]
    assert place.run("share", "nothing") == place.straight("share", "nothing")
    with place.served.client.store.read() as connection:
        told = [(row.what, row.why) for row in audit.entries(connection, 20) if "share" in row.what]
    assert ("pubworks share", None) in told
    assert (f"PUT /v1/jobs/{done}/shared", "for the group") in told


def test_what_is_missing_of_a_job_is_retried(place: Place, partial: str) -> None:
    assert place.run("retry", partial, "--why", "mended:\n für alle") == (
        0, "", f"Job {partial}: 1 batch is run again.\nWatch it: pubworks watch {partial}\n",
    )  # fmt: skip
    with place.served.client.store.read() as connection:
        told = [row.why for row in audit.entries(connection, 10) if row.what == f"POST /v1/jobs/{partial}/retry"]
    assert told == ["mended: für alle"]
    assert place.run("watch", partial)[0] == 1
    code, _, err = place.run("result", partial, "-o", "found.json")
    assert (code, "PUB 1: " in err) == (1, True)
    assert json.loads(Path("found.json").read_text())["status"] == "PARTIAL"


def test_the_fleet_is_shown(place: Place, done: str) -> None:
    assert place.run("backends", "--json")[1].startswith('{"backends": [{"name": "aer"')
    over, straight = (json.loads(run("backends", "--json")[1])["backends"] for run in (place.run, place.straight))
    assert [{**one, "learned": None} for one in over] == [{**one, "learned": None} for one in straight]
    over, straight = (json.loads(run("workers", "--json")[1])["workers"] for run in (place.run, place.straight))
    assert [one["id"] for one in over] == [one["id"] for one in straight]
    assert "embedded" in place.run("workers")[1]
    checked = place.run("doctor")[1]
    assert "skip  backend aer         no worker has built it yet. Start one: pubworks worker --backend aer\n" in checked
    assert "ok    backend basic       built by a worker; workers that serve it now: 1\n" in checked
    assert "ok    workers             1 alive, for " in checked


def test_limits_are_set_and_shown(place: Place) -> None:
    shown = json.loads(place.straight("backends", "show", "picky", "--json")[1])
    assert json.loads(place.run("backends", "show", "picky", "--json")[1]) == shown
    reader = {"PUBWORKS_TOKEN": place.served.token("ben", Scope.READ)}
    hidden = {"factory": None, "adapter": None, "price": None}
    assert json.loads(place.run("backends", "show", "picky", "--json", **reader)[1]) == {**shown, **hidden}
    set_to = ("backends", "limits", "picky", "--submit", "20/s burst 4", "--in-flight", "3", "--json")
    code, out, _ = place.run(*set_to, "--why", "the vendor asked")
    assert (code, json.loads(out)["limits"]) == (0, {"submit": "20/s burst 4", "requests": None, "in_flight": 3})
    assert json.loads(out) == json.loads(place.straight("backends", "limits", "picky", "--json")[1])
    shown = place.run("backends", "limits", "picky", "--submit", "none")
    assert shown == place.straight("backends", "limits", "picky")
    assert "0 of 3" in shown[1]
    with place.served.client.store.read() as connection:
        told = [(row.what, row.why) for row in audit.entries(connection, 10) if "picky/limits" in row.what]
    of = "PATCH /v1/backends/picky/limits"
    assert told == [(f"{of} submit=none", None), (f"{of} submit=20/s burst 4 in_flight=3", "the vendor asked")]


def test_a_backend_goes_on_when_somebody_knows_that_it_is_back(place: Place) -> None:
    said = []
    for run in (place.run, place.straight):
        with place.served.client.store.write() as connection:
            limits.failed(connection, "picky", "502 bad gateway", Policy(), surely=True)
        said.append(run("backends", "resume", "picky", "--why", "it is back"))
    assert said[0] == said[1]
    assert "picky goes on: its breaker is closed. " in said[0][2]
    with place.served.client.store.read() as connection:
        told = [(row.what, row.why) for row in audit.entries(connection, 10) if "resume" in row.what]
    assert told[:2] == [
        ("pubworks backends resume picky", "it is back"),
        ("POST /v1/backends/picky/resume", "it is back"),
    ]


@pytest.mark.parametrize("name", ["", ".", "..", "a/b"])
def test_what_can_be_no_id_is_not_found(place: Place, name: str) -> None:
    for command in ("status", "session show", "workers drain", "token revoke", "backends show"):
        words = (*command.split(), name)
        assert place.run(*words)[:2] == place.straight(*words)[:2], command


def test_tokens_are_made_listed_and_revoked_and_the_audit_tells(place: Place) -> None:
    admin = {"PUBWORKS_TOKEN": place.served.token("root", Scope.ADMIN)}
    made = ("token", "create", "cleo", "--scope", "read", "--lasts", "2h", "--why", "a visitor")
    code, token, told = place.run(*made, **admin)
    token_id = token.split("_")[1]
    assert (code, told) == (
        0, f"Token {token_id} of cleo. It is not shown again. Revoke it: pubworks token revoke {token_id}\n"
    )  # fmt: skip
    assert "that of cleo, good for: read" in place.run("doctor", PUBWORKS_TOKEN=token.strip())[1]
    code, out, _ = place.run("token", "create", "dan", "--json", **admin)
    assert (code, {**json.loads(out), "id": 0, "token": 0}) == (
        0, {"id": 0, "owner": "dan", "scopes": ["submit"], "token": 0},
    )  # fmt: skip
    for command in (("token", "list"), ("token", "list", "--json"), ("token", "revoke", "nobody")):
        assert place.run(*command, **admin) == place.straight(*command)
    revoke = ("token", "revoke", token_id)
    assert place.run(*revoke, "--why", "gone", **admin) == (0, "", f"Token {token_id} is revoked.\n")
    assert place.run(*revoke, **admin) == place.straight(*revoke) == (0, "", f"Token {token_id} was revoked already.\n")
    assert "was revoked" in place.run("list", PUBWORKS_TOKEN=token.strip())[2]
    assert place.run("audit", **admin) == place.straight("audit")
    entries = json.loads(place.run("audit", "--json", "-n", 1500, **admin)[1])["entries"]
    assert entries == json.loads(place.straight("audit", "--json", "-n", 1500)[1])["entries"]
    whys = {(entry["who"], entry["what"], entry["why"]) for entry in entries}
    assert {
        ("root", "POST /v1/tokens cleo read", "a visitor"),
        ("root", f"DELETE /v1/tokens/{token_id}", "gone"),
    } <= whys


def test_the_audit_comes_in_pages(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    admin = {"PUBWORKS_TOKEN": place.served.token("root", Scope.ADMIN)}
    for _ in range(5):
        place.run("token", "create", "eve", **admin)
    monkeypatch.setattr(remote, "_PAGE", 2)
    assert place.run("audit", "-n", 5, **admin) == place.straight("audit", "-n", 5)


def test_a_worker_is_not_drained_with_its_program(place: Place) -> None:
    (worker,) = json.loads(place.run("workers", "--json")[1])["workers"]
    assert place.run("workers", "drain", worker["id"]) == place.straight("workers", "drain", worker["id"])


def test_sessions_are_opened_used_and_closed(place: Place) -> None:
    code, out, _ = place.run("session", "open", "-b", "basic", "--max-time", "1h")
    session = out.strip()
    assert (code, len(session)) == (0, 26)
    job = submitted(place, "bell.qpy", "--session", session[-8:], "--wait")
    assert json.loads(place.run("list", "--session", session, "--json")[1])["jobs"][0]["id"] == job
    assert place.run("session", "close", session) == place.straight("session", "close", session)[:2] + (
        f"Session {session} takes no more jobs; those that it has go on.\n",
    )
    over, straight = (json.loads(run("session", "show", session, "--json")[1]) for run in (place.run, place.straight))
    assert over == straight
    assert place.run("session", "list", "--json") == place.straight("session", "list", "--json")
    assert place.run("submit", "bell.qpy", "--session", session)[0] == 2
    assert "is a session, no batch" in place.run("batch", "show", session)[2]


def test_a_held_batch_is_decided_on(place: Place, done: str) -> None:
    job = submitted(place, "bell.qpy", "-b", "vendor", "--shots", 10)
    eventually(lambda: place.worker.job(job).progress().batches == {"HELD": 1})
    assert json.loads(place.run("held", "--json")[1]) == json.loads(place.straight("held", "--json")[1])
    code, out, _ = place.run("doctor")
    assert (code, "Decide on them: pubworks held" in out) == (1, True)
    assert "held" not in place.run("doctor", PUBWORKS_TOKEN=place.served.token("ben", Scope.SUBMIT))[1]
    assert place.run("resolve", f"{job}-0", "fail")[0] == 2
    assert place.run("resolve", f"{job}-0", "fail", "--yes") == (
        0, "", f"Batch {job}-0 is given up. Watch its job: pubworks watch {job}\n",
    )  # fmt: skip
    assert place.run("watch", job)[0] == 1


def test_a_shell_completes_what_one_may_see(place: Place) -> None:
    job = submitted(place, "bell.qpy", "-b", "basic", "--tag", "thesis", "--tag", "$(touch x)")
    session = place.run("session", "open", "-b", "basic")[1].strip()
    assert place.complete(f"pubworks status {job[:-1]}") == [job]
    assert job in place.complete("pubworks watch ")
    assert place.complete("pubworks list --tag the") == ["thesis"]
    assert "touch" not in str(place.complete("pubworks list --tag ")), "what a shell could run is left out"
    assert place.complete(f"pubworks session show {session[:-1]}") == [session]
    assert place.complete("pubworks submit bell.qpy --backend pi") == ["picky"]
    another = {"PUBWORKS_TOKEN": place.served.token("ben", Scope.SUBMIT)}
    for line in (f"status {job[:-1]}", "list --tag the", f"session show {session[:-1]}"):
        assert place.complete(f"pubworks {line}", **another) == []
    assert place.complete("pubworks backends show pi", **another) == ["picky"]


@pytest.mark.parametrize("command", ["status", "list --tag", "session show", "backends show"])
def test_completion_is_silent_where_no_server_answers(place: Place, command: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections, and says nothing
        places = [{"PUBWORKS_URL": f"http://127.0.0.1:{silent.getsockname()[1]}"}]
        places += [{"PUBWORKS_URL": "http://127.0.0.1:1"}, {"PUBWORKS_URL": "no url"}, {"PUBWORKS_TOKEN": "pw_0_0"}]
        assert [place.complete(f"pubworks {command} ", **env) for env in places] == [[], [], [], []]


def test_who_is_not_there_or_not_let_in_is_told(place: Place) -> None:
    with breaking(place.served.url) as way:
        gone = way.url
    code, _, err = place.run("list", PUBWORKS_URL=gone)
    assert (code, "does not answer" in err) == (5, True), err
    code, _, err = place.run("list", PUBWORKS_TOKEN="pw_0_0")
    assert (code, "PUBWORKS_TOKEN" in err) == (1, True), err
    for command in (("token", "list"), ("token", "create", "eve"), ("token", "revoke", "eve"), ("audit",)):
        code, _, err = place.run(*command)
        assert (code, "scope admin" in err) == (1, True), err
    code, _, err = place.run("held", PUBWORKS_TOKEN=place.served.token("ben", Scope.SUBMIT))
    assert (code, "scope operate" in err) == (1, True), err
    for command in (
        ("db", "upgrade"),
        ("db", "current"),
        ("demo",),
        ("backends", "probe", "basic"),
        ("serve",),
        ("worker",),
    ):
        code, out, err = place.run(*command)
        assert (code, "works on the database itself" in out + err) == (2, True), command
    assert "the token is that of ann, good for: operate" in place.run("doctor")[1]
    assert place.token not in str(place.run("config", "show"))
