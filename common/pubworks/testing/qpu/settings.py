"""Everything that can be set on a simulated QPU, at the start and while it runs."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

Probability = Annotated[float, Field(ge=0, le=1)]
Counter = Annotated[int, Field(ge=0)]
Limit = Annotated[int, Field(gt=0)] | None
NotNegative = Annotated[float, Field(ge=0)]


def _in_order(span: tuple[float, float]) -> tuple[float, float]:
    if span[0] > span[1]:
        raise ValueError(f"[{span[0]}, {span[1]}] is not [min, max].")
    return span


#: Seconds, or [min, max] to draw from.
Span = NotNegative | Annotated[tuple[NotNegative, NotNegative], AfterValidator(_in_order)]


class Fault(StrEnum):
    """What can go wrong; each has a probability of this name, and a counter ``…_next`` of sure cases that go first."""

    #: A request gets 429.
    TOO_MANY = "too_many"
    #: A submission gets ``error_status`` and is not accepted.
    ERROR_BEFORE = "error_before"
    #: A submission gets no answer and is not accepted.
    DROP_BEFORE = "drop_before"
    #: A submission is accepted and gets ``error_status``.
    ERROR_AFTER = "error_after"
    #: A submission is accepted and gets no answer.
    DROP_AFTER = "drop_after"
    #: A submission is accepted and answered after ``slow_s``.
    SLOW = "slow"
    #: A question for a state, a listing or a result gets ``error_status``.
    ERROR_READ = "error_read"
    #: An accepted job fails.
    FAIL = "fail"
    #: An accepted job is done, and its result is lost.
    LOSE_RESULT = "lose_result"


class QpuSettings(BaseModel):
    """The settings; each can be changed while the server runs."""

    model_config = ConfigDict(extra="forbid", validate_assignment=True)

    #: Of all random draws, and of the results of jobs that have no seed.
    seed: int = 0
    name: str = "sim"
    num_qubits: int = Field(20, gt=0)
    #: What every request must carry; empty: nothing.
    token: str = ""
    price_per_shot: NotNegative = 0.0

    #: Seconds of a job in the queue, and at least so many seconds of its run.
    queue_s: Span = 0.0
    run_s: Span = 0.0
    #: No job leaves the queue while this is true.
    paused: bool = False

    #: Most circuits in one job, shots of a job, and bytes of its QPY; None: no limit.
    max_circuits: Limit = None
    max_shots: Limit = None
    max_payload_bytes: Limit = None
    #: What the QPU says of these limits; None: nothing.
    advertised_max_circuits: Limit | Literal["true"] = "true"
    advertised_max_shots: Limit | Literal["true"] = "true"
    advertised_max_payload_bytes: Limit | Literal["true"] = "true"
    #: Whether a rejection says which limit it is, and its number.
    names_limits: bool = True

    #: Most jobs that are accepted and not over.
    max_jobs: Limit = None
    requests_per_second: Annotated[float, Field(gt=0)] | None = None
    #: Requests that may come at once; None: as many as in one second.
    burst: Limit = None
    #: How a 429 says when to come again, and the seconds it says; None: those that are true.
    retry_after: Literal["seconds", "date", "none"] = "seconds"
    retry_after_s: NotNegative | None = None

    too_many: Probability = 0.0
    too_many_next: Counter = 0
    error_before: Probability = 0.0
    error_before_next: Counter = 0
    drop_before: Probability = 0.0
    drop_before_next: Counter = 0
    error_after: Probability = 0.0
    error_after_next: Counter = 0
    drop_after: Probability = 0.0
    drop_after_next: Counter = 0
    slow: Probability = 0.0
    slow_next: Counter = 0
    error_read: Probability = 0.0
    error_read_next: Counter = 0
    fail: Probability = 0.0
    fail_next: Counter = 0
    lose_result: Probability = 0.0
    lose_result_next: Counter = 0

    error_status: int = Field(503, ge=500, le=599)
    #: Seconds before a slow submission, and before any request, is answered.
    slow_s: Span = 5.0
    latency_s: Span = 0.0
    #: Patterns (``bad*``) of circuits whose job fails, and what it says.
    fail_circuits: list[str] = []
    fail_text: str = "The device lost calibration during the run."
    #: Patterns of circuits whose job is not accepted; whether the rejection names them.
    invalid_circuits: list[str] = []
    names_invalid: bool = False
    lost_status: Literal[404, 410] = 410
    #: A result can be fetched once; 410 afterwards.
    result_once: bool = False
    #: Part of the shots that come back.
    shots_fraction: float = Field(1.0, gt=0, le=1)
    #: Unix time until which everything is 503, and whether that says when it ends.
    maintenance_until: float = 0.0
    maintenance_retry_after: bool = True

    #: Whether a job can be found by its id alone, by its tag, many at once; and whether it can be cancelled.
    find_by_id: bool = True
    find_by_tag: bool = True
    batched_status: bool = True
    cancel: bool = True
    #: Most ids in one question for states.
    max_ids: int = Field(200, gt=0)
    #: Seconds before a new job is seen by its tag.
    listing_delay_s: NotNegative = 0.0

    def changed(self, changes: dict[str, Any]) -> Self:
        """Return these settings with some of them changed.

        Raises:
            ValidationError: A setting is unknown, or a value is wrong.
        """
        return self.model_validate(self.model_dump() | changes)

    def advertised(self, limit: str) -> int | None:
        """Return what the QPU says of ``max_circuits``, ``max_shots`` or ``max_payload_bytes``."""
        said = getattr(self, f"advertised_{limit}")
        value: int | None = getattr(self, limit) if said == "true" else said
        return value
