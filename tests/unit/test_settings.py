"""Flag over environment over file over default, and mistakes are told by name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pubworks.errors import ConfigError
from pubworks.settings import Settings, config_path, load_settings, origin

TOML = """
database = "sqlite:///file.db"
broker = "redis://file:6379/0"
lease_s = 30

[backends.aria]
factory = "lab.backends:ionq"
arguments = { name = "qpu.aria-1", deep = { a = [1, 2] } }
secrets = { token = "IONQ_API_KEY" }
max_shots = 10000
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(folder: Path, text: str, name: str = "pubworks.toml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_the_defaults_need_no_server(folder: Path) -> None:
    settings = load_settings(data_dir=folder / "data")
    assert settings.embedded
    assert settings.database_url == f"sqlite:///{folder / 'data' / 'pubworks.db'}"
    assert settings.backends == {}
    assert origin("database") == origin("lease_s") == "default"


def test_a_flag_wins_over_the_environment_over_the_file_over_the_default(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert load_settings().lease_s == 60
    write(folder, TOML)
    assert (load_settings().lease_s, origin("lease_s")) == (30, "pubworks.toml")
    monkeypatch.setenv("PUBWORKS_LEASE_S", "20")
    assert (load_settings().lease_s, origin("lease_s")) == (20, "environment PUBWORKS_LEASE_S")
    assert load_settings(lease_s=10).lease_s == 10
    assert load_settings(lease_s=None).lease_s == 20  # None is a flag that was not given
    assert load_settings().database_url == "sqlite:///file.db"
    assert not load_settings().embedded


def test_a_named_file_wins_over_the_one_in_the_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(folder, TOML)
    named = write(folder, "lease_s = 7", "other.toml")
    monkeypatch.setenv("PUBWORKS_CONFIG", str(named))
    assert config_path() == named
    assert load_settings().lease_s == 7
    assert load_settings().database == ""


def test_the_users_own_file_is_the_last_resort(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(folder / "config"))
    (folder / "config" / "pubworks").mkdir(parents=True)
    own = write(folder / "config" / "pubworks", "lease_s = 8")
    assert config_path() == own
    assert load_settings().lease_s == 8
    write(folder, "lease_s = 9")
    assert load_settings().lease_s == 9


def test_backends_are_read(folder: Path) -> None:
    write(folder, TOML)
    aria = load_settings().backends["aria"]
    assert aria.factory == "lab.backends:ionq"
    assert aria.arguments == {"name": "qpu.aria-1", "deep": {"a": [1, 2]}}
    assert aria.secrets == {"token": "IONQ_API_KEY"}
    assert (aria.max_circuits, aria.max_shots, aria.max_payload_bytes) == (None, 10000, None)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("databse = 'x'", r"Unknown setting 'databse' in .*pubworks.toml. Known here: api_max_upload_bytes"),
        (
            "[backends.a]\nfactory = 'm:f'\nshots = 3",
            "Unknown setting 'backends.a.shots'.*Known here: adapter, arguments, behaviour, factory",
        ),
        ("[backends.a]", "Setting 'backends.a.factory'"),
        ("[backends.a]\nfactory = 'no colon'", "Setting 'backends.a.factory'"),
        ("[backends.a]\nfactory = 'm:f'\nmax_shots = 0", "Setting 'backends.a.max_shots'.*greater than 0"),
        ("[backends.a]\nfactory = 'm:f'\nsecrets = { token = 3 }", "Setting 'backends.a.secrets.token'"),
        ("lease_s = 'long'", r"Setting 'lease_s' \(pubworks.toml\).*number"),
        ("lease_s = 0.5", "Setting 'lease_s'.*greater than 1"),
        ("broker = 'kafka://x'", "Setting 'broker'"),
        ("broker = ", "pubworks.toml is not valid TOML"),
        ("a = 1\na = 2", "pubworks.toml is not valid TOML"),
    ],
)
def test_a_mistake_in_the_file_is_told_by_name(folder: Path, text: str, told: str) -> None:
    write(folder, text)
    with pytest.raises(ConfigError, match=told):
        load_settings()


def test_a_file_that_is_no_text_is_told(folder: Path) -> None:
    (folder / "pubworks.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="not valid TOML"):
        load_settings()


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("PUBWORKS_LEASE_S", "long", r"Setting 'lease_s' \(environment PUBWORKS_LEASE_S\)"),
        ("PUBWORKS_BACKENDS", "{not json", 'field "backends" from source "EnvSettingsSource": Expecting property name'),
        ("PUBWORKS_BACKENDS", '{"a": {"factory": "m:f", "x": 1}}', "Unknown setting 'backends.a.x'"),
    ],
)
def test_a_mistake_in_the_environment_is_told_by_name(
    folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, told: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=told):
        load_settings()


def test_a_named_file_that_is_not_there_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PUBWORKS_CONFIG", str(folder / "gone.toml"))
    with pytest.raises(ConfigError, match=r"PUBWORKS_CONFIG names .*gone.toml, which is not a file"):
        load_settings()


def test_an_unknown_flag_is_told(folder: Path) -> None:
    with pytest.raises(ConfigError, match="Unknown setting 'databse' in the arguments"):
        load_settings(databse="x")


def test_a_wrong_flag_is_told_as_one_and_with_its_form(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"'lease_s' \(an argument\): Input should be greater than 1"):
        load_settings(lease_s=0)
    with pytest.raises(ConfigError, match=r"^Setting 'url' \(an argument\) must be https://… of a server"):
        load_settings(url="lab")
    monkeypatch.setenv("PUBWORKS_URL", "https://ann:s3cret@lab")
    with pytest.raises(ConfigError, match=r"'url' \(environment PUBWORKS_URL\) must be https://…") as bad:
        load_settings()
    assert "s3cret" not in str(bad.value)
    monkeypatch.delenv("PUBWORKS_URL")
    write(folder, '[backends.a]\nfactory = "AerSimulator"')
    told = r"'backends.a.factory' \(pubworks.toml\) must be module:callable."
    with pytest.raises(ConfigError, match=told):
        load_settings()


def test_settings_do_not_change() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Settings().lease_s = 3  # type: ignore[misc]


@pytest.fixture
def stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What ``pubworks up`` left in the data directory."""
    monkeypatch.setenv("PUBWORKS_DATA_DIR", str(tmp_path))
    urls = {"database": "postgresql+psycopg://postgres:secret@127.0.0.1:1/postgres", "broker": "redis://127.0.0.1:2/0"}
    (tmp_path / "stack").mkdir()
    (tmp_path / "stack" / "connection.json").write_text(json.dumps(urls))
    return urls


def test_what_pubworks_up_runs_is_used_by_itself(stack: dict[str, str]) -> None:
    settings = load_settings()
    assert (settings.database, settings.broker) == (stack["database"], stack["broker"])
    assert origin("database") == origin("broker") == "pubworks up"
    assert origin("lease_s") == "default"


@pytest.mark.parametrize("chosen", [{"database": "sqlite:///x.db"}, {"broker": "amqp://q"}, {"url": "local"}])
def test_what_is_named_elsewhere_is_never_mixed_with_it(stack: dict[str, str], chosen: dict[str, str]) -> None:
    settings = load_settings(**chosen)
    assert settings.database != stack["database"]
    assert settings.broker != stack["broker"]


def test_the_environment_wins_over_it(stack: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PUBWORKS_BROKER", "amqp://q")
    assert load_settings().database == ""
    assert origin("database") == "default"
