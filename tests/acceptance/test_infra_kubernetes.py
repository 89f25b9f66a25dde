"""The files for Kubernetes: valid, consistent with each other, and as safe as those for Compose."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from pubworks.settings import Settings

INFRA = Path(__file__).parents[2] / "infra"
FILES = sorted((INFRA / "kubernetes").glob("*.yaml"))
WORKERS = [path for path in FILES if path.name.startswith("worker-")]

#: The oldest and the newest version of Kubernetes that the manifests are checked against.
VERSIONS = ("1.30", "1.34")

#: What KEDA takes of a ScaledObject and a TriggerAuthentication, as far as they are used here.
_TEXTS = {"type": "object", "additionalProperties": {"type": "string"}}


def _closed(required: list[str], **properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


KEDA = {
    "ScaledObject": _closed(
        ["scaleTargetRef", "triggers"],
        scaleTargetRef=_closed(["name"], name={"type": "string"}),
        minReplicaCount={"type": "integer", "minimum": 0},
        maxReplicaCount={"type": "integer", "minimum": 1},
        pollingInterval={"type": "integer", "minimum": 1},
        cooldownPeriod={"type": "integer", "minimum": 0},
        triggers={"type": "array", "items": _closed(
            ["type", "metadata"], type={"type": "string"}, metadata=_TEXTS,
            authenticationRef=_closed(["name"], name={"type": "string"}),
        )},
    ),
    "TriggerAuthentication": _closed(
        ["secretTargetRef"],
        secretTargetRef={"type": "array", "items": {**_TEXTS, "required": ["parameter", "name", "key"]}},
    ),
}  # fmt: skip


def objects(path: Path) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(path.read_text()))


def pods() -> list[dict[str, Any]]:
    """Return the specification of every pod."""
    return [
        item["spec"]["template"]["spec"]
        for path in FILES
        for item in objects(path)
        if "template" in item.get("spec", {})
    ]


def of_kind(path: Path, kind: str) -> dict[str, Any]:
    (found,) = [item for item in objects(path) if item["kind"] == kind]
    return found


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_objects_fit_the_published_schemas(path: Path, version: str) -> None:
    for item in objects(path):
        if item["apiVersion"].startswith("keda.sh/"):
            jsonschema.validate(item["spec"], KEDA[item["kind"]])
        else:
            kubernetes_validate.validate(item, version, strict=True)


def test_every_file_is_applied_and_none_is_missing() -> None:
    listed = yaml.safe_load((INFRA / "kustomization.yaml").read_text())
    assert {INFRA / name for name in listed["resources"]} == set(FILES)
    assert all((INFRA / name).is_file() for made in listed["configMapGenerator"] for name in made["files"])


def test_kustomize_puts_them_together() -> None:
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not installed")
    done = subprocess.run(["kubectl", "kustomize", INFRA], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    made = {(item["kind"], item["metadata"]["name"]): item for item in yaml.safe_load_all(done.stdout)}
    (config,) = [name for kind, name in made if kind == "ConfigMap"]
    volumes = made["Deployment", "worker-aer"]["spec"]["template"]["spec"]["volumes"]
    assert {"name": "config", "configMap": {"name": config}} in volumes
    assert all(item["metadata"].get("namespace", "pubworks") == "pubworks" for item in made.values())


@pytest.mark.parametrize("pod", pods(), ids=lambda pod: pod["containers"][0]["name"])
def test_pods_may_do_nothing_that_they_need_not(pod: dict[str, Any]) -> None:
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] > 0
    for container in pod["containers"]:
        assert container["securityContext"] == {
            "readOnlyRootFilesystem": True, "allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]},
        }  # fmt: skip
        mounted = {mount["mountPath"] for mount in container["volumeMounts"]}
        assert "/tmp" in mounted, "Qiskit does not import without a folder for temporary files"
        assert "memory" in container["resources"]["limits"]


@pytest.mark.parametrize("path", WORKERS, ids=lambda path: path.name)
def test_the_parts_of_a_backend_name_the_same_pods(path: Path) -> None:
    backend = path.stem.removeprefix("worker-")
    made, scaled = of_kind(path, "Deployment"), of_kind(path, "ScaledObject")
    labels = made["spec"]["template"]["metadata"]["labels"]
    assert labels["pubworks/backend"] == backend
    assert made["spec"]["selector"]["matchLabels"] == labels
    assert of_kind(path, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"] == labels
    assert scaled["spec"]["scaleTargetRef"]["name"] == made["metadata"]["name"] == path.stem
    assert "replicas" not in made["spec"], "applying it again would undo what KEDA set"
    (trigger,) = scaled["spec"]["triggers"]
    assert f"backend = '{backend}'" in trigger["metadata"]["query"]
    (container,) = made["spec"]["template"]["spec"]["containers"]
    assert container["args"][:3] == ["worker", "--backend", backend]


@pytest.mark.parametrize("path", WORKERS, ids=lambda path: path.name)
def test_workers_are_configured_shown_and_given_time_to_stop(path: Path) -> None:
    pod = of_kind(path, "Deployment")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    given = {entry["name"]: entry["value"] for entry in container["env"]}
    assert given.keys() <= {f"PUBWORKS_{name.upper()}" for name in Settings.model_fields} | {"PUBWORKS_CONFIG"}
    assert pod["terminationGracePeriodSeconds"] > float(given["PUBWORKS_SHUTDOWN_GRACE_S"]) + 5
    (port,) = container["ports"]
    assert str(port["containerPort"]) == given["PUBWORKS_METRICS_PORT"]
    assert {container[probe]["httpGet"]["port"] for probe in ("startupProbe", "livenessProbe")} == {port["name"]}
    image = (INFRA / "Dockerfile").read_text()
    assert f"USER {pod['securityContext']['runAsUser']}:{pod['securityContext']['runAsGroup']}" in image
    data = re.findall(r"PUBWORKS_DATA_DIR=(\S+)", image)
    assert {mount["mountPath"] for mount in container["volumeMounts"]} >= {*data, "/etc/pubworks"}


def test_the_server_is_reached_by_its_service_and_drained_before_it_stops() -> None:
    path = INFRA / "kubernetes" / "server.yaml"
    made, service = of_kind(path, "Deployment"), of_kind(path, "Service")
    pod, labels = made["spec"]["template"]["spec"], made["spec"]["template"]["metadata"]["labels"]
    (container,) = pod["containers"]
    (policy,) = [
        item for item in objects(INFRA / "kubernetes" / "network.yaml") if item["metadata"]["name"] == "server"
    ]
    selectors = [of_kind(path, "PodDisruptionBudget")["spec"]["selector"], made["spec"]["selector"]]
    selectors += [policy["spec"]["podSelector"], {"matchLabels": service["spec"]["selector"]}]
    assert selectors == [{"matchLabels": labels}] * 4
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    words = container["args"]
    assert (words[words.index("--port") + 1], words[words.index("--metrics-port") + 1]) == (
        str(ports["http"]), str(ports["metrics"]),
    )  # fmt: skip
    assert [port["port"] for port in policy["spec"]["ingress"][0]["ports"]] == [*ports.values()]
    assert [port["targetPort"] for port in service["spec"]["ports"]] == ["http"]
    given = {entry["name"]: entry["value"] for entry in container["env"]}
    pause = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert pod["terminationGracePeriodSeconds"] > pause + float(given["PUBWORKS_SHUTDOWN_GRACE_S"]) + 5
    assert made["spec"]["replicas"] > of_kind(path, "PodDisruptionBudget")["spec"]["maxUnavailable"]


def test_the_secret_of_the_manual_has_every_key_that_is_read() -> None:
    manual = (INFRA / "README.md").read_text()
    (authentication,) = [
        item for item in objects(INFRA / "kubernetes" / "network.yaml") if "keda" in item["apiVersion"]
    ]
    keys = [entry["key"] for entry in authentication["spec"]["secretTargetRef"]]
    assert all(f"--from-literal={key}=" in manual for key in [*keys, "PUBWORKS_DATABASE", "PUBWORKS_BROKER"])
