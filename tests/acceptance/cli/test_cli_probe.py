"""``pubworks backends probe``: what it would cost, what it finds, and what it leaves in the settings."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest

from pubworks.testing.qpu.process import running_qpu

CONFIG = """
# our machines
[backends.qpu]
factory = "pubworks.testing.qpu:backend"
arguments = {{ url = "{url}" }}
adapter = "pubworks.backends.adapter:Adapter"
price = {{ per_circuit = 0.5, per_shot = 0.01 }}
behaviour = {{ seed = "seed" }}  # it has two
"""

CRASHING = '''
import ctypes
import os
import signal

from qiskit_aer import AerSimulator


class Crashing(AerSimulator):
    """Reads memory that is not its own where a gate depends on an outcome, and eats all where asked for memory."""

    def run(self, circuits, **options):
        print("provider speaking")
        if any(circuit.has_control_flow_op() for circuit in circuits):
            ctypes.string_at(0)
        if options.get("memory"):
            os.kill(os.getpid(), signal.SIGKILL)  # as the kernel does
        return super().run(circuits, **options)
'''


def behaviour(place: Any, name: str) -> dict[str, Any]:
    return dict(tomllib.loads((place.folder / "pubworks.toml").read_text())["backends"][name]["behaviour"])


def test_a_provider_is_probed_and_its_settings_are_written(place: Any) -> None:
    with running_qpu(max_shots=500, queue_s=0.05) as qpu:
        (place.folder / "pubworks.toml").write_text(CONFIG.format(url=qpu.url))
        dry = place.run("backends", "probe", "qpu", "--dry-run", "--json").json
        assert not qpu.ledger()["jobs"]
        asked = place.run("backends", "probe", "qpu")
        assert (asked.code, qpu.ledger()["jobs"]) == (2, [])
        assert "Pass --yes" in asked.err
        ran = place.run("backends", "probe", "qpu", "--yes", "--json")
        jobs = qpu.ledger()["jobs"]
    assert ran.code == 0, ran.err
    assert len(jobs) == ran.json["runs"] <= dry["runs"]
    assert sum(job["shots"] * len(job["circuits"]) for job in jobs) <= dry["shots"]
    assert 0 < ran.json["cost"]["amount"] <= dry["cost"]["amount"]
    assert behaviour(place, "qpu") == {
        "seed": "seed", "single": False, "options": sorted(["shots", "seed", "seed_simulator", "memory", "job_name"]),
        "memory": True, "transpile": False, "mid_circuit": True, "control_flow": True, "job_id": "job_id",
        "tag": "job_name", "detachable": True, "retrieve": "backend.retrieve_job", "cancel": True,
    }  # fmt: skip
    written = (place.folder / "pubworks.toml").read_text()
    assert "max_shots = 500" in written
    assert "# our machines" in written
    assert "# it has two" in written


@pytest.fixture
def crashing(place: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    (place.folder / "cli_crashing.py").write_text(CRASHING)
    (place.folder / "pubworks.toml").write_text('[backends.bad]\nfactory = "cli_crashing:Crashing"\n')
    return place


def test_a_crash_of_its_code_costs_one_question(crashing: Any) -> None:
    ran = crashing.run("backends", "probe", "bad", "--json")
    assert ran.code == 0, ran.err
    told = {one["what"]: one for one in ran.json["findings"]}  # and nothing that the provider printed
    assert told["control_flow"]["value"] is False
    assert "SIGSEGV: a crash of native code" in told["control_flow"]["how"]
    assert "SIGKILL: most likely the machine had no memory left" in told["memory"]["how"]
    found = behaviour(crashing, "bad")
    assert (found["control_flow"], found["memory"], found["mid_circuit"]) == (False, False, True)


def test_a_backend_that_cannot_be_built_is_not_probed(place: Any) -> None:
    (place.folder / "pubworks.toml").write_text('[backends.gone]\nfactory = "no_such_package:Backend"\n')
    ran = place.run("backends", "probe", "gone")
    assert ran.code == 2
    assert "cannot load no_such_package:Backend" in ran.err
    assert place.run("backends", "probe", "nobody").code == 2
