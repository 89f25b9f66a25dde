"""The verdicts of the conformance suite over real packages: ``python -m tests.providers SET [FILE.json]``.

Each backend is probed first, and runs the suite with the settings that the probe found. It has a process of its own:
its code may crash, hang, or disturb that of others.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tests.providers import backends

_SIMPLE = {"single": False, "memory": True, "seed": "seed_simulator", "mid_circuit": True, "detachable": False}
_NO_MEMORY = {**_SIMPLE, "memory": False}
_BRAKET = {"control_flow": False, "mid_circuit": False, "seed": "none", "detachable": False}
_QDK = {"single": False, "memory": False, "seed": "seed", "mid_circuit": True, "detachable": False}

#: The backends of each environment, and what a probe must find out about them.
SETS: dict[str, dict[str, dict[str, Any]]] = {
    "one": {
        "basic": {**_SIMPLE, "control_flow": False},
        "generic": {**_SIMPLE, "control_flow": True},
        "aer": {**_SIMPLE, "control_flow": True},
        "fake_manila": {**_SIMPLE, "control_flow": True},
        "ddsim": {**_NO_MEMORY, "control_flow": True},
        "braket_sv": _BRAKET,
        "braket_dm": _BRAKET,
        "qsharp": {**_QDK, "control_flow": True},
        "neutral_atom": {**_QDK, "control_flow": False},
        "neutral_atom_losing": {**_QDK, "control_flow": False},
        "ionq": {"control_flow": False, "mid_circuit": False, "detachable": True, "retrieve": "backend.retrieve_job"},
    },
    "two": {
        "basic": {**_SIMPLE, "control_flow": False},
        "aer": {**_SIMPLE, "control_flow": True},
        "qdd": {"single": False, "memory": True, "seed": "none", "control_flow": True, "mid_circuit": True},
        "menos": {"single": True, "memory": False, "control_flow": False, "mid_circuit": False},
    },
    "oldest": {
        "basic": {**_SIMPLE, "control_flow": False},
        "generic": {**_SIMPLE, "control_flow": True},
        "aer": {**_SIMPLE, "control_flow": True},
    },
}

#: Backends that are asked at once, and seconds for all that is asked of one.
_AT_ONCE = 2
_LONGEST_S = 1200.0

#: How a refusal begins that is ours: the provider was not called.
_OURS = "refused: SubmissionError: PUB 0: "

Verdicts = dict[str, Any]


def verdicts(name: str) -> Verdicts:
    """Return what a probe finds, and the verdict on each case by bench, in this process."""
    from pubworks.client import Client
    from pubworks.testing.conformance.benches import PubworksBench, QiskitBench
    from pubworks.testing.conformance.checks import CASES
    from pubworks.testing.conformance.jobs import JOB_CASES, MAX_SHOTS

    made = getattr(backends, name)()
    entry = {"factory": f"tests.providers.backends:{name}", "max_shots": MAX_SHOTS, "policy": {"backoff_s": 0.05}}
    found = _probe(name, entry)
    entry["behaviour"] = found
    with tempfile.TemporaryDirectory() as folder, Client(data_dir=folder, backends={name: entry}) as client:
        ours = PubworksBench(client, name, made)
        told = {case.name: _verdict(case, ours) for case in [*CASES, *JOB_CASES]}
    theirs = {case.name: _verdict(case, QiskitBench(made)) for case in CASES}
    return {"behaviour": found, "pubworks": told, "qiskit": theirs}


def _probe(name: str, entry: dict[str, Any]) -> dict[str, Any]:
    """Return the ``behaviour`` that a probe of a backend finds."""
    from pubworks.backends import registry
    from pubworks.backends.probing.probe import Probe
    from pubworks.settings import load_settings

    spec = registry.find(load_settings(backends={name: entry}), name)
    with Probe(spec, lambda _: None, 60.0, lambda _: None) as probe:
        report = probe.run(probe.survey())
    if report.trouble:
        raise RuntimeError(report.trouble)
    settings = [(one.setting, one.value) for one in report.findings if one.setting and one.value is not None]
    return {place[-1]: value for place, value in settings if place[0] == "behaviour"}


def _verdict(case: Any, bench: Any) -> str:
    """Return ``right``, ``wrong: …``, ``refused: …`` or ``not: …``."""
    from pubworks.testing.conformance.checks import DoesNotApply

    try:
        case.check(bench)
    except DoesNotApply as why:
        return f"not: {why}"
    except (AssertionError, KeyError) as error:
        return f"wrong: {error}".splitlines()[0][:300]
    except Exception as error:
        return f"refused: {type(error).__name__}: {error}".replace("\n", " ")[:300]
    return "right"


def ask(name: str) -> Verdicts:
    """Return the verdicts on a backend, from a process of its own.

    Raises:
        RuntimeError: It crashed, or took too long.
    """
    began = time.monotonic()
    command = [sys.executable, "-W", "ignore", "-m", "tests.providers", "--one", name]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_LONGEST_S, check=False)
    if done.returncode:
        raise RuntimeError(f"{name} ended with {done.returncode}: {done.stderr[-2000:]}")
    found = dict(json.loads(done.stdout.splitlines()[-1]))
    kinds = {who: dict(Counter(map(kind, found[who].values()))) for who in ("pubworks", "qiskit")}
    print(f"{name:20} {time.monotonic() - began:5.0f} s", kinds, flush=True)
    return found


def kind(verdict: str) -> str:
    """Return a verdict in a word."""
    return verdict.partition(":")[0]


def complaints(found: Mapping[str, Verdicts], expected: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return what pubworks got wrong or found out wrong, and refusals that came without need or after a submission."""
    from pubworks.testing.conformance.checks import CASES

    optional = {case.name for case in CASES if case.optional}
    told = [(name, case, verdict) for name, of in found.items() for case, verdict in of["pubworks"].items()]
    bad = [
        f"{name} {case}: {verdict}"
        for name, case, verdict in told
        if kind(verdict) == "wrong" or (kind(verdict) == "refused" and not (case in optional and _OURS in verdict))
    ]
    missed = [
        f"{name}: {key} is {value}, and a probe finds {found[name]['behaviour'].get(key)}"
        for name, of in expected.items()
        for key, value in of.items()
        if found[name]["behaviour"].get(key) != value
    ]
    return [*bad, *missed]


def main(arguments: list[str]) -> int:
    """Ask the backends of a set; write the verdicts to a file if one is named. Returns 1 where pubworks is wrong."""
    if arguments[0] == "--one":
        warnings.simplefilter("ignore")
        print(json.dumps(verdicts(*arguments[1:])))
        return 0
    expected = SETS[arguments[0]]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        found = dict(zip(expected, pool.map(ask, expected), strict=True))
    if arguments[1:]:
        Path(arguments[1]).write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")
    told = complaints(found, expected)
    print(*told, sep="\n")
    return bool(told)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
