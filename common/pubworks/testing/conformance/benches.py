"""Two ways to run PUBs on a backend: through pubworks, and through Qiskit's wrappers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from qiskit import QuantumCircuit
from qiskit.primitives import BackendEstimatorV2, BackendSamplerV2, PrimitiveResult
from qiskit.transpiler import TranspilerError, generate_preset_pass_manager

from pubworks.backends import registry
from pubworks.backends.adapter import Adapter, adapt
from pubworks.testing.conformance.checks import SHOTS

if TYPE_CHECKING:
    from pubworks.client import Client, Job

#: Seconds after which a job is given up.
_TIMEOUT_S = 120.0


class Prepared:
    """A backend, and circuits in its gates.

    Args:
        backend: A ``BackendV2``.
    """

    def __init__(self, backend: Any) -> None:
        self.backend = backend
        self._passes = generate_preset_pass_manager(optimization_level=1, backend=backend, seed_transpiler=1)

    def prepare(self, circuit: QuantumCircuit) -> QuantumCircuit:
        """Return a circuit in the gates of the backend; as it is, where its target leaves out what it may know."""
        try:
            return self._passes.run(circuit)
        except TranspilerError:
            return circuit


class PubworksBench(Prepared):
    """Runs PUBs through pubworks.

    Args:
        client: Where the jobs are kept.
        name: The name of the backend there.
        backend: The backend, for what is done before a job is submitted.
    """

    def __init__(self, client: Client, name: str, backend: Any) -> None:
        super().__init__(backend)
        self.client, self.name = client, name

    def job(self, pubs: Sequence[Any], shots: int) -> Job:
        """Return a job of a Sampler."""
        from pubworks.client import Sampler

        return Sampler(self.name, client=self.client).run(pubs, shots=shots)

    def adapter(self) -> Adapter:
        """Return the backend as a worker sees it, built anew."""
        spec = registry.find(self.client.settings, self.name)
        return adapt(spec.build(), spec.adapter, spec.behaviour)

    def sample(self, pubs: Sequence[Any], shots: int = SHOTS) -> PrimitiveResult[Any]:
        """Return the result of a Sampler."""
        return self.job(pubs, shots).result(_TIMEOUT_S)

    def estimate(self, pubs: Sequence[Any], precision: float = 0.05) -> PrimitiveResult[Any]:
        """Return the result of an Estimator."""
        from pubworks.client import Estimator

        return Estimator(self.name, client=self.client).run(pubs, precision=precision).result(_TIMEOUT_S)


class QiskitBench(Prepared):
    """Runs PUBs through Qiskit's own wrappers of ``backend.run``."""

    def sample(self, pubs: Sequence[Any], shots: int = SHOTS) -> PrimitiveResult[Any]:
        """Return the result of a ``BackendSamplerV2``."""
        return BackendSamplerV2(backend=self.backend).run(pubs, shots=shots).result()

    def estimate(self, pubs: Sequence[Any], precision: float = 0.05) -> PrimitiveResult[Any]:
        """Return the result of a ``BackendEstimatorV2``."""
        return BackendEstimatorV2(backend=self.backend).run(pubs, precision=precision).result()
