"""What a submission may say."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

#: Most PUBs of one job.
MOST_PUBS = 10_000

#: Longest name of a part.
LONGEST_NAME = 200

_Part = Annotated[str, Field(min_length=1, max_length=LONGEST_NAME)]


class PubRequest(BaseModel):
    """One PUB; circuits and values are parts of the upload, by name."""

    model_config = ConfigDict(extra="forbid")

    circuit: _Part = Field(description="The part that holds it: QPY, or OpenQASM 3.", examples=["circuits"])
    index: int = Field(0, ge=0, lt=MOST_PUBS, description="Which circuit of a QPY part.")
    values: _Part | list[Any] | None = Field(
        None,
        description="Parameter values, in the order of circuit.parameters on the last axis: a part that is npy of real "
        "numbers, or the numbers themselves in nested lists.",
        examples=[[[0.1, 0.2], [0.3, 0.4]]],
    )
    shape: list[Annotated[int, Field(ge=0)]] | None = Field(
        None, max_length=16, description="For a circuit without parameters: run it as often."
    )
    observables: str | dict[str, float] | list[Any] | None = Field(
        None,
        description="Estimator only: Pauli strings, tables of coefficients by Pauli string, or nested lists of them.",
    )
    shots: int | None = Field(None, gt=0, le=10**12, description="Sampler only.")
    precision: float | None = Field(None, gt=0, description="Estimator only.")


class JobRequest(BaseModel):
    """A job, as ``run`` of the Sampler or the Estimator takes it."""

    model_config = ConfigDict(extra="forbid")

    primitive: Literal["sampler", "estimator"] = "sampler"
    backend: str = Field(min_length=1, max_length=200, examples=["aer"])
    pubs: list[PubRequest] = Field(max_length=MOST_PUBS)
    options: dict[str, Any] = Field({}, description="Those of the primitive.", examples=[{"seed_simulator": 7}])
    shots: int | None = Field(None, gt=0, le=10**12, description="Shots of PUBs that do not say.")
    precision: float | None = Field(None, gt=0, description="Precision of PUBs that do not say.")
    name: str | None = Field(None, max_length=200)
    tags: list[str] = Field([], max_length=100)
    shared: bool = Field(False, description="Whether all users may see it.")
    session: str | None = Field(None, max_length=64, description="Id of the session, or batch, that it goes to.")
    idempotency_key: str | None = Field(
        None, min_length=1, max_length=200, description="As the header, for keys that no header can hold."
    )
