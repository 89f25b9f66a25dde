"""IonQ, by ``qiskit-ionq``."""

from __future__ import annotations

from pubworks.backends.adapter import Adapter
from pubworks.behaviour import Behaviour


class IonQAdapter(Adapter):
    """What IonQ's service can do: it keeps a job's name, which people find it by; it does not list jobs by it.

    Memory is not asked for: a job that is found again by its id has forgotten that it was.
    """

    behaviour = Behaviour(seed="sampler_seed", memory=False, tag="name")
