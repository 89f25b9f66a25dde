"""Expectation values on the command line: the table, JSON and files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.primitives import PrimitiveResult
from qiskit_aer import AerSimulator

from pubworks.client import Client, Estimator
from pubworks.testing.backends import LossyBackend

Run = Callable[..., tuple[str, PrimitiveResult]]


@pytest.fixture
def estimate(place: Any) -> Run:
    def run(*pubs: Any, backend: Any = None) -> tuple[str, PrimitiveResult]:
        """Return the id of a job that has ended, and its result."""
        with Client(data_dir=place.folder, keeper_interval_s=0.02) as client:
            estimator = Estimator(backend or AerSimulator(), options={"seed_simulator": 7}, client=client)
            job = estimator.run(pubs, precision=0.1)
            return job.job_id(), job.result(60)

    return run


def turn() -> QuantumCircuit:
    circuit = QuantumCircuit(1, metadata={"scan": "a"})
    circuit.ry(Parameter("a"), 0)
    return circuit


def lines(text: str) -> list[list[str]]:
    """Return the cells of a table's lines, which are at least two spaces apart."""
    return [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in text.splitlines()]


def test_the_table_shows_values_with_their_errors_and_the_digits_that_these_justify(place: Any, estimate: Run) -> None:
    scan = (turn(), "Z", np.linspace(0, 3, 7))
    job_id, result = estimate((turn(), "Z", 1.0, 0.0125), scan, (turn(), ["I", "Z"], np.zeros((0, 1, 1))))
    shown = place.run("result", job_id)
    assert shown.code == 0
    head, scalar, array, empty = lines(shown.out)
    assert head == ["PUB", "SHAPE", "SHOTS", "VALUES"]
    data = result[0].data
    assert scalar == ["0", "-", "6400", f"{data.evs:.3f} ± {data.stds:.3f}"]
    assert array[:4] == ["1", "7", "100", "1 ± 0"], "no digits are justified where the error is 0"
    assert array[4] == f"{result[1].data.evs[1]:.3f} ± {result[1].data.stds[1]:.3f}"
    assert array[-1] == "and 3 more"
    assert empty == ["2", "0x2", "100", "(none)"]


def test_json_and_files_hold_every_number_and_the_metadata(place: Any, estimate: Run) -> None:
    grid = (turn(), [["Z"], ["X"]], np.linspace(0, 3, 3))
    job_id, result = estimate((turn(), {"Z": 2.0, "I": 1.0}, 1.0), grid)
    document = place.run("result", job_id, "--json").json
    scalar, array = document["pubs"]
    assert scalar == {
        "pub": 0,
        "shape": [],
        "evs": float(result[0].data.evs),
        "stds": float(result[0].data.stds),
        "metadata": {"target_precision": 0.1, "shots": 100, "circuit_metadata": {"scan": "a"}},
    }
    assert (array["shape"], np.shape(array["evs"])) == ([2, 3], (2, 3))
    np.testing.assert_array_equal(array["stds"], result[1].data.stds)
    assert place.run("result", job_id, "-o", "out.json").code == 0
    assert json.loads(Path("out.json").read_text()) == document

    assert place.run("result", job_id, "-o", "out.npz").code == 0
    with np.load("out.npz", allow_pickle=False) as stored:
        assert sorted(stored) == ["info", "pub0.evs", "pub0.stds", "pub1.evs", "pub1.stds"]
        assert stored["pub0.evs"].shape == ()
        for position in (0, 1):
            np.testing.assert_array_equal(stored[f"pub{position}.evs"], result[position].data.evs)
            np.testing.assert_array_equal(stored[f"pub{position}.stds"], result[position].data.stds)
        info = json.loads(str(stored["info"]))
    assert info["pubs"] == [{"pub": pub["pub"], "metadata": pub["metadata"]} for pub in document["pubs"]]


def test_lost_shots_are_seen(place: Any, estimate: Run) -> None:
    job_id, _ = estimate((turn(), "Z", 1.0), backend=LossyBackend(AerSimulator()))
    assert lines(place.run("result", job_id).out)[1][:3] == ["0", "-", "50 of 100"]
    [pub] = place.run("result", job_id, "--json").json["pubs"]
    assert pub["metadata"]["fewest_shots"] == 50


def test_a_terminal_without_unicode_gets_plain_signs(
    place: Any, estimate: Run, finish: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id, result = estimate((turn(), "Z", 1.0))
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    shown = finish(place.start("result", job_id))
    assert (shown.code, shown.err) == (0, "")
    assert f"{result[0].data.evs:.3f} +- {result[0].data.stds:.3f}" in shown.out
