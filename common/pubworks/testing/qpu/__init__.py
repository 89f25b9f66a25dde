"""A simulated QPU: a provider's HTTP service with all its limits and faults, and the Qiskit provider for it.

=====================  =====================================================================
module                 holds
=====================  =====================================================================
``__main__``           ``python -m pubworks.testing.qpu``: the server's command
``settings``           everything that can be set, at the start and while it runs
``server, control``    the HTTP face for the provider, and the one for the test
``service, job``       the jobs: their queue, their life, their ledger
``faults, traffic``    what goes wrong, and how many requests came how fast
``simulator, compute`` the process that computes, and what runs in it
``client, provider``   the Qiskit provider, written as a third party would
``adapter``            how pubworks talks to that provider
``process``            ``running_qpu()``: a server for the time of a test
=====================  =====================================================================
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pubworks.testing.qpu.provider import QpuBackend


def backend(url: str, name: str = "sim", token: str = "", **options: Any) -> QpuBackend:
    """Return the backend of a simulated QPU: the factory for ``pubworks.toml``.

    Args:
        url: Where the server listens.
        name: Name of the backend.
        token: What the server wants to see in every request, if anything.
        options: Of :class:`~pubworks.testing.qpu.provider.QpuProvider`.
    """
    from pubworks.testing.qpu.provider import QpuProvider

    return QpuProvider(url, token, **options).get_backend(name)
