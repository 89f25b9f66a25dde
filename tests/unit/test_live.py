"""The name of a live backend is shared by those that compute the same, in every process, and by no other."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from qiskit.providers.basic_provider import BasicSimulator
from qiskit.providers.fake_provider import GenericBackendV2
from qiskit_aer import AerSimulator
from qiskit_aer.noise import NoiseModel, ReadoutError, amplitude_damping_error, depolarizing_error, mixed_unitary_error

from pubworks.backends import live
from pubworks.errors import ConfigError
from pubworks.testing.backends import WrappedBackend


def noise(strength: float = 0.01) -> NoiseModel:
    """A noise model with errors of every form."""
    model = NoiseModel()
    model.add_all_qubit_quantum_error(depolarizing_error(strength, 2), ["cz", "cx"])
    model.add_all_qubit_quantum_error(amplitude_damping_error(0.1), ["h"])
    model.add_quantum_error(depolarizing_error(0.1, 1), ["x"], [1])
    model.add_readout_error(ReadoutError([[0.9, 0.1], [0.2, 0.8]]), [0])
    return model


class Mine(AerSimulator):
    """A class that may compute anything."""


def turned(angle: float) -> NoiseModel:
    """Noise that only a matrix describes."""
    model = NoiseModel()
    unitary = np.diag([1, 1, 1, np.exp(1j * angle)])
    model.add_all_qubit_quantum_error(mixed_unitary_error([(unitary, 0.5), (np.eye(4), 0.5)]), ["cz"])
    return model


MAKE: dict[str, Callable[[], Any]] = {
    "aer": AerSimulator,
    "method": lambda: AerSimulator(method="statevector"),
    "shots": lambda: AerSimulator(shots=3),
    "seed": lambda: AerSimulator(seed_simulator=3),
    "noise": lambda: AerSimulator(noise_model=noise()),
    "a little more noise": lambda: AerSimulator(noise_model=noise(0.01 + 1e-12)),
    "a matrix": lambda: AerSimulator(noise_model=turned(0.1)),
    "another matrix": lambda: AerSimulator(noise_model=turned(0.2)),
    "another matrix, by a trifle": lambda: AerSimulator(noise_model=turned(0.2 + 1e-12)),
    "basic": BasicSimulator,
    "generic": lambda: GenericBackendV2(3, seed=1),
    "generic, other errors": lambda: GenericBackendV2(3, seed=2),
    "generic, wider": lambda: GenericBackendV2(4, seed=1),
    "generic, without errors": lambda: GenericBackendV2(3, seed=1, noise_info=False),
    "generic, other gates": lambda: GenericBackendV2(3, ["h", "cz", "rz"], seed=1, noise_info=False),
}


def names() -> dict[str, str]:
    return {key: live.enter(make()) for key, make in MAKE.items()}


@pytest.mark.parametrize("hash_seed", ["1", "2"])
def test_equal_backends_have_one_name_in_every_process(hash_seed: str) -> None:
    code = f"import runpy; print(runpy.run_path({__file__!r})['names']())"
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(names())


def test_backends_that_differ_have_names_that_differ() -> None:
    assert len(set(names().values())) == len(MAKE)


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda: WrappedBackend(AerSimulator()), id="of another package"),
        pytest.param(Mine, id="a class of one's own"),
        pytest.param(lambda: AerSimulator.from_backend(GenericBackendV2(2, seed=1)), id="noise that a pass makes"),
    ],
)
def test_what_cannot_be_seen_is_never_shared(make: Callable[[], Any]) -> None:
    one, two = make(), make()
    assert live.enter(one) != live.enter(two)
    assert live.enter(one) == live.enter(one)


def test_an_option_that_cannot_be_seen_is_never_shared() -> None:
    one, two = AerSimulator(), AerSimulator()
    for backend in (one, two):
        backend.set_options(executor=object())
    assert live.enter(one) != live.enter(two)


def test_options_that_change_change_the_name() -> None:
    backend = AerSimulator()
    before = live.enter(backend)
    backend.set_options(noise_model=noise())
    after = live.enter(backend)
    assert after == live.enter(AerSimulator(noise_model=noise()))
    assert before != after
    assert live.get(before) is live.get(live.enter(AerSimulator())) or live.is_live(before)


def test_large_arrays_differ_in_their_middle_too() -> None:
    one, two = np.zeros((2, 64, 64))
    two[32, 32] = 1e-300
    assert live._content(one) != live._content(two)
    assert live._content(one) == live._content(one.copy())
    assert live._content(one) != live._content(one.ravel())


def test_a_name_gives_the_object_back() -> None:
    backend = WrappedBackend(AerSimulator())
    name = live.enter(backend)
    assert live.get(name) is backend
    assert name in live.names()
    assert live.is_live(name)


def test_an_object_of_another_process_is_told() -> None:
    with pytest.raises(ConfigError, match="'live.x.1' is an object of another process"):
        live.get("live.x.1")


@pytest.mark.parametrize("name", ["ibm/q:1 é", "x" * 500, "a.b.c", None, ""])
def test_any_name_makes_a_queue_and_fits_the_table(name: str | None) -> None:
    backend = WrappedBackend(AerSimulator())
    backend.name = name
    entered = live.enter(backend)
    assert len(entered) <= 200
    assert len(entered.split(".")) == 3
    assert not set(entered) & set(" /:")


if __name__ == "__main__":
    print(names())
