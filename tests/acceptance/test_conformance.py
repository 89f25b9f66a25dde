"""``pytest --pubworks-backend`` passes a good backend, and says what is wrong with another one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

MIRRORED = """
from qiskit_aer import AerSimulator

from pubworks.testing.backends import CountsOnlyBackend


class Mirrored(CountsOnlyBackend):
    def change(self, result, circuits):
        for experiment in super().change(result, circuits).results:
            counts = experiment.data.counts
            experiment.data.counts = {key[::-1]: count for key, count in counts.items()}
        return result


def make():
    return Mirrored(AerSimulator(), keys="bits")
"""


def verdict(folder: Path, *arguments: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    return done.returncode, done.stdout


def test_a_good_backend_passes(tmp_path: Path) -> None:
    code, said = verdict(tmp_path, "--pubworks-backend", "qiskit_aer:AerSimulator")
    assert code == 0, said
    assert " passed, 1 skipped" in said


@pytest.mark.parametrize(("behaviour", "why"), [("{}", "in 0% of the shots"), ('{"sed": 1}', "Unknown setting")])
def test_a_verdict_says_what_is_wrong(tmp_path: Path, behaviour: str, why: str) -> None:
    (tmp_path / "mirrored.py").write_text(MIRRORED)
    how = ["--pubworks-backend", "mirrored:make", "--pubworks-behaviour", behaviour]
    code, said = verdict(tmp_path, *how, "-k", "permuted", "-o", "pythonpath=.")
    assert code == 1
    assert why in said
