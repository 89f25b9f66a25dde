"""Wrong input: one clear line, the documented exit code, and nothing stored."""

from __future__ import annotations

import sqlite3
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

NOWHERE_DATABASE = "postgresql+psycopg://lab:s3cret@127.0.0.1:1/x"
NOWHERE_BROKER = "redis://:s3cret@127.0.0.1:1/0"


def _refused(place: Any, ran: Any, code: int, *words: str) -> None:
    assert ran.code == code, ran.err
    assert ran.out == ""
    assert "Traceback" not in ran.err
    assert [word for word in words if word not in ran.err] == [], ran.err
    assert place.rows() == 0


def _write(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    return str(path)


CIRCUITS = {
    "corrupt": (b"QISKIT\x0f" + bytes(40), "damaged"),
    "hostile": (b"QISKIT\x0a" + struct.pack("!BBBQ", 1, 0, 0, 1) + b"cos\nsystem\n(S'false'\ntR.", "CVE-2025-2000"),
    "no-qpy": (b"\x80\x04pickle", "not QPY"),
}


@pytest.mark.parametrize(("content", "word"), CIRCUITS.values(), ids=CIRCUITS.keys())
def test_circuit_files_that_are_none(place: Any, content: bytes, word: str) -> None:
    _write(place.folder / "bad.qpy", content)
    _refused(place, place.run("submit", "bell.qpy", "bad.qpy", "--backend", "basic"), 2, "bad.qpy", word)


def test_qasm_that_is_none_names_the_file(place: Any) -> None:
    _write(place.folder / "bad.qasm", b"OPENQASM 3.0; nonsense;")
    _refused(place, place.run("submit", "bad.qasm", "--backend", "basic"), 2, "bad.qasm")


def test_qasm_without_its_extra_says_what_to_install(place: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from qiskit.utils import optionals

    monkeypatch.setattr(optionals.HAS_QASM3_IMPORT, "_bool", False)
    _refused(place, place.run("submit", "ghz.qasm", "--backend", "basic"), 2, "pip install 'pubworks[qasm3]'")


FILES = [
    ("absent.qpy", "absent.qpy"),
    ("empty", "holds no circuits"),
    ("pubworks.toml", ".qpy"),
    ("turn.qpy", "unbound parameters: a, b"),
]


@pytest.mark.parametrize(("name", "word"), FILES)
def test_files_that_cannot_be_submitted(place: Any, name: str, word: str) -> None:
    (place.folder / "empty").mkdir()
    _refused(place, place.run("submit", name, "--backend", "basic"), 2, word)


VALUES: dict[str, tuple[Any, str]] = {
    "pickled": (np.array([{}], dtype=object), "allow_pickle"),
    "too-few": (np.zeros((2, 1)), "does not end with 2"),
    "infinite": (np.array([np.inf, 0]), "finite"),
    "text": (np.array(["a", "b"]), "finite real numbers"),
}


@pytest.mark.parametrize(("values", "word"), VALUES.values(), ids=VALUES.keys())
def test_parameter_values_that_do_not_fit(place: Any, values: Any, word: str) -> None:
    np.save("values.npy", values, allow_pickle=True)
    ran = place.run("submit", "turn.qpy", "--backend", "basic", "--values", "values.npy")
    _refused(place, ran, 2, "values.npy", word)


@pytest.mark.parametrize("text", ["{", "[[1], [1, 2]]", '{"a": [1]}', '{"a": [1, 2], "b": [1, 2, 3]}', "3"])
def test_json_values_that_do_not_fit(place: Any, text: str) -> None:
    _write(place.folder / "values.json", text.encode())
    ran = place.run("submit", "turn.qpy", "--backend", "basic", "--values", "values.json")
    _refused(place, ran, 2)


def test_values_that_nothing_needs(place: Any) -> None:
    np.save("values.npy", [1.0])
    ran = place.run("submit", "bell.qpy", "--backend", "basic", "--values", "values.npy")
    _refused(place, ran, 2, "Leave --values out")


def test_a_circuit_wider_than_the_backend_is_named(place: Any) -> None:
    ran = place.run("submit", "bell.qpy", "ghz.qasm", "--backend", "narrow")
    _refused(place, ran, 2, "has 3 qubits", "narrow has 2", "PUB 1 is from ghz.qasm")


def test_backends_that_are_unknown_or_broken(place: Any) -> None:
    _refused(place, place.run("submit", "bell.qpy", "--backend", "basik"), 2, "did you mean 'basic'")
    (place.folder / "pubworks.toml").write_text('[backends.lost]\nfactory = "no_such_module:Backend"\n')
    _refused(place, place.run("submit", "bell.qpy", "--backend", "lost"), 2, "no_such_module", "Install")


@pytest.mark.parametrize("shots", ["0", "-5", "many", str(10**30)])
def test_shots_that_are_none(place: Any, shots: str) -> None:
    _refused(place, place.run("submit", "bell.qpy", "--backend", "basic", "--shots", shots), 2, "--shots")


def test_shots_beyond_any_plan(place: Any) -> None:
    (place.folder / "pubworks.toml").write_text(
        '[backends.small]\nfactory = "qiskit.providers.basic_provider:BasicSimulator"\nmax_shots = 1\n'
    )
    ran = place.run("submit", "bell.qpy", "--backend", "small", "--shots", "1000000000")
    _refused(place, ran, 2, "1000000000 shots", "fewer")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("lease = 5\n", ("'lease'", "lease_s")),
        ('[backends.x]\nfactory = "a:b"\nmax_shot = 5\n', ("backends.x.max_shot", "max_shots")),
        ("lease_s = 'long'\n", ("lease_s",)),
        ("broker = 'carrier-pigeon://roof'\n", ("broker", "redis")),
        ("what is this", ("not valid TOML",)),
    ],
)
def test_configuration_that_is_wrong(place: Any, text: str, words: tuple[str, ...]) -> None:
    (place.folder / "pubworks.toml").write_text(text)
    for command in (("submit", "bell.qpy", "--backend", "basic"), ("list",), ("config", "show"), ("worker",)):
        _refused(place, place.run(*command), 2, *words)


COMMANDS = [("submit", "bell.qpy", "--backend", "basic"), ("list",), ("worker",), ("db", "upgrade"), ("workers",)]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_a_database_that_does_not_answer(place: Any, command: tuple[str, ...]) -> None:
    ran = place.run(*command, PUBWORKS_DATABASE=NOWHERE_DATABASE)
    _refused(place, ran, 5, "127.0.0.1:1", "PUBWORKS_DATABASE")
    assert "s3cret" not in ran.err


def test_a_database_file_that_cannot_be_used(place: Any) -> None:
    (place.folder / "lab.db").mkdir()
    ran = place.run("list", PUBWORKS_DATABASE=f"sqlite:///{place.folder}/lab.db")
    _refused(place, ran, 5, "lab.db cannot be used: unable to open database file", "disk has room", "PUBWORKS_DATA_DIR")


def test_a_database_that_is_neither_sqlite_nor_postgresql(place: Any) -> None:
    ran = place.run("list", PUBWORKS_DATABASE="mysql://ann:s3cret@db.lab/jobs")
    _refused(place, ran, 2, "SQLite or PostgreSQL, not in mysql")
    assert "s3cret" not in ran.err


@pytest.mark.parametrize("command", ["list", "up"])
def test_a_data_directory_that_cannot_be_made(place: Any, command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PUBWORKS_DATABASE", raising=False)
    ran = place.run(command, PUBWORKS_DATA_DIR="bell.qpy/data")
    _refused(
        place, ran, 2 if command == "up" else 5, "bell.qpy/data", "cannot be made: Not a directory", "PUBWORKS_DATA_DIR"
    )


@pytest.mark.parametrize("command", COMMANDS[:3:2], ids=lambda command: command[0])
def test_a_broker_that_does_not_answer(place: Any, command: tuple[str, ...]) -> None:
    ran = place.run(*command, PUBWORKS_BROKER=NOWHERE_BROKER)
    _refused(place, ran, 5, "127.0.0.1:1", "PUBWORKS_BROKER")
    assert "s3cret" not in ran.err


@pytest.mark.parametrize("command", ["status", "watch", "result", "cancel"])
def test_a_job_that_is_unknown(place: Any, command: str) -> None:
    _refused(place, place.run(command, "01NOSUCHJOB"), 3, "01NOSUCHJOB", "pubworks list")


@pytest.mark.parametrize(("version", "remedy"), [("r0000", "pubworks db upgrade"), ("r9999", "pip install")])
def test_a_schema_of_another_version(place: Any, version: str, remedy: str) -> None:
    with sqlite3.connect(place.folder / "pubworks.db") as connection:
        connection.execute("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)")
        connection.execute("INSERT INTO alembic_version VALUES (?)", (version,))
    connection.close()
    for command in (("list",), ("submit", "bell.qpy", "--backend", "basic"), ("worker",), ("doctor",)):
        ran = place.run(*command)
        assert ran.code == 6, ran.err
        assert remedy in ran.err + ran.out
    assert place.run("db", "current", "--json").json["up_to_date"] is False
