"""Backends of real packages that run without a network; each import is of a package of its own."""

from __future__ import annotations

import os
from typing import Any

from tests.providers.ionq_service import IonQService

os.environ.setdefault("QDK_PYTHON_TELEMETRY", "none")


def basic() -> Any:
    from qiskit.providers.basic_provider import BasicSimulator

    return BasicSimulator()


def generic() -> Any:
    from qiskit.providers.fake_provider import GenericBackendV2

    return GenericBackendV2(5, seed=1, noise_info=False)


def aer() -> Any:
    from qiskit_aer import AerSimulator

    return AerSimulator()


def fake_manila() -> Any:
    from qiskit_ibm_runtime.fake_provider import FakeManilaV2

    return FakeManilaV2()


def ddsim() -> Any:
    from mqt.ddsim import DDSIMProvider

    return DDSIMProvider().get_backend("qasm_simulator")


def braket_sv() -> Any:
    from qiskit_braket_provider import BraketLocalBackend

    return BraketLocalBackend("braket_sv")


def braket_dm() -> Any:
    from qiskit_braket_provider import BraketLocalBackend

    return BraketLocalBackend("braket_dm")


def qsharp() -> Any:
    from qdk.qiskit import QSharpBackend

    return QSharpBackend()


def neutral_atom() -> Any:
    from qdk.qiskit import NeutralAtomBackend

    return NeutralAtomBackend()


def neutral_atom_losing() -> Any:
    from qdk.qiskit import NeutralAtomBackend
    from qdk.simulation import NoiseConfig

    noise = NoiseConfig()
    noise.sx.loss = noise.cz.loss = noise.rz.loss = 0.02
    return NeutralAtomBackend(noise=noise)


def qdd() -> Any:
    from qdd import QddProvider

    return QddProvider().get_backend()


def menos() -> Any:
    from menos.qiskit.backend import MENOSBackend

    return MENOSBackend()


def ionq() -> Any:
    """Return the simulator of IonQ, of the service that ``IONQ_API_URL`` names, or of one of our own."""
    from qiskit_ionq import IonQProvider

    if "IONQ_API_URL" not in os.environ:  # the package reads it too, for the number of qubits
        os.environ["IONQ_API_URL"] = IonQService().url
    return IonQProvider("token", url=os.environ["IONQ_API_URL"]).get_backend("ionq_simulator")
