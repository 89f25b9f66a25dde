"""The verdicts of the conformance suite over real packages: ``python -m tests.providers SET [FILE.json]``.

Each backend has a process of its own: its code may crash, hang, or disturb that of others.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

from tests.providers import backends

#: The backends of each environment, and how they differ from others as far as their settings have to say it.
SETS: dict[str, dict[str, dict[str, Any]]] = {
    "one": {
        "basic": {"control_flow": False},
        "generic": {},
        "aer": {},
        "fake_manila": {},
        "ddsim": {},
        "braket_sv": {"control_flow": False, "mid_circuit": False},
        "braket_dm": {"control_flow": False, "mid_circuit": False},
        "qsharp": {},
        "neutral_atom": {"control_flow": False},
        "neutral_atom_losing": {"control_flow": False},
        "ionq": {"control_flow": False, "mid_circuit": False},
    },
    "two": {
        "basic": {"control_flow": False},
        "aer": {},
        "qdd": {},
        "menos": {"control_flow": False, "mid_circuit": False},
    },
    "oldest": {"basic": {"control_flow": False}, "generic": {}, "aer": {}},
}

#: Seconds for all cases of a backend.
_LONGEST_S = 300.0


def verdicts(of_set: str, name: str) -> dict[str, dict[str, str]]:
    """Return the verdict on each case by bench, in this process."""
    from pubworks.client import Client
    from pubworks.testing.conformance.benches import PubworksBench, QiskitBench
    from pubworks.testing.conformance.checks import CASES

    factory = f"tests.providers.backends:{name}"
    entry = {"factory": factory, "behaviour": SETS[of_set][name], "policy": {"backoff_s": 0.05}}
    made = getattr(backends, name)()
    with tempfile.TemporaryDirectory() as folder, Client(data_dir=folder, backends={name: entry}) as client:
        benches = {"pubworks": PubworksBench(client, name, made), "qiskit": QiskitBench(made)}
        return {who: {case.name: _verdict(case, bench) for case in CASES} for who, bench in benches.items()}


def _verdict(case: Any, bench: Any) -> str:
    """Return ``right``, ``wrong: …`` or ``refused: …``."""
    try:
        case.check(bench)
    except (AssertionError, KeyError) as error:
        return f"wrong: {error}".splitlines()[0][:300]
    except Exception as error:
        return f"refused: {type(error).__name__}: {error}".replace("\n", " ")[:300]
    return "right"


def ask(of_set: str, name: str) -> dict[str, dict[str, str]]:
    """Return the verdicts on a backend, from a process of its own.

    Raises:
        RuntimeError: It crashed, or took too long.
    """
    command = [sys.executable, "-W", "ignore", "-m", "tests.providers", "--one", of_set, name]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_LONGEST_S, check=False)
    if done.returncode:
        raise RuntimeError(f"{name} ended with {done.returncode}: {done.stderr[-2000:]}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def complaints(found: dict[str, dict[str, dict[str, str]]]) -> list[str]:
    """Return what pubworks got wrong, or was refused without need."""
    from pubworks.testing.conformance.checks import CASES

    optional = {case.name for case in CASES if case.optional}
    told = [(name, case, verdict) for name, of in found.items() for case, verdict in of["pubworks"].items()]
    return [
        f"{name} {case}: {verdict}"
        for name, case, verdict in told
        if verdict.startswith("wrong") or (verdict != "right" and case not in optional)
    ]


def main(arguments: list[str]) -> int:
    """Ask the backends of a set; write the verdicts to a file if one is named. Returns 1 where pubworks is wrong."""
    if arguments[0] == "--one":
        warnings.simplefilter("ignore")
        print(json.dumps(verdicts(*arguments[1:])))
        return 0
    found = {}
    for name in SETS[arguments[0]]:
        found[name] = ask(arguments[0], name)
        counts = (
            (who, Counter(told.partition(":")[0] for told in cases.values())) for who, cases in found[name].items()
        )
        print(f"{name:20}", *(f"{who}: {dict(count)}" for who, count in counts), flush=True)
    if arguments[1:]:
        Path(arguments[1]).write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")
    for complaint in complaints(found):
        print(complaint)
    return bool(complaints(found))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
