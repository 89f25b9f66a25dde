"""How a provider differs from others, as far as a word says it; what takes code is in an adapter."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Behaviour(BaseModel):
    """What a backend takes and can do; None: it is found out from the backend, or assumed not to matter.

    >>> Behaviour(seed="seed").over(Behaviour(seed="sampler_seed", memory=False))
    Behaviour(seed='seed', memory=False)
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    #: The option of ``run`` that takes a seed, or ``none``; without, the first of the usual ones that it has.
    seed: str | None = Field(default=None, pattern=r"^\w+$")
    #: Whether to ask for memory, the outcomes in their order; without, where there is such an option.
    memory: bool | None = None
    #: All options that ``run`` takes; a run with another one is refused.
    options: tuple[str, ...] | None = None
    #: Whether ``run`` takes one circuit, and no list; ``max_circuits`` is 1 then.
    single: bool | None = None
    #: Whether circuits are to be transpiled for the backend after their parameters are bound.
    transpile: bool | None = None
    #: Whether it runs circuits whose gates depend on outcomes, and measures before the end; without, perhaps.
    control_flow: bool | None = None
    mid_circuit: bool | None = None
    #: Whether another process can find a job by its id; without, where there is a way to retrieve it.
    detachable: bool | None = None
    #: How to retrieve a job by its id, as ``provider.get_job``; without, in the first way that there is.
    retrieve: str | None = Field(default=None, pattern=r"^(backend|provider)\.\w+$")
    #: What of a job is its id, as ``job_id`` or ``batch_job_id``.
    job_id: str | None = Field(default=None, pattern=r"^\w+$")
    #: Whether the provider is asked to cancel runs; without, it is.
    cancel: bool | None = None
    #: The option of ``run`` that takes a word with which the provider keeps a job.
    tag: str | None = Field(default=None, pattern=r"^\w+$")

    def over(self, other: Behaviour) -> Behaviour:
        """Return this, with what it leaves open taken from another."""
        return other.model_copy(update={name: value for name, value in self if value is not None})

    def __repr_args__(self) -> Any:
        """Show what is said, and nothing that is left open."""
        return [(name, value) for name, value in super().__repr_args__() if value is not None]
