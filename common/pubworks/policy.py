"""What a lab decides for a backend: how much of it the fleet may use, what it costs, what is done when a run fails."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, model_validator

_PERIODS = {"s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
#: Shortest and longest interval of a rate, in seconds: six decimals of a count a day show no longer one. Largest burst.
_SHORTEST_S, _LONGEST_S, _MOST_AT_ONCE = 1e-9, 1e11, 10**9
_RATE = re.compile(r"(?P<count>\d+(\.\d+)?)/(?P<period>s|min|h|d)( +burst +(?P<burst>\d{1,10}))?")


@dataclass(frozen=True)
class Rate:
    """How often something may happen.

    >>> Rate.parse("5/min")
    Rate(interval_s=12.0, burst=1)
    >>> str(Rate.parse("20/s burst 4"))
    '20/s burst 4'
    """

    #: Seconds from one to the next, once the burst is used up.
    interval_s: float
    #: How many may come at once.
    burst: int = 1

    @classmethod
    def parse(cls, text: str) -> Rate:
        """Return the rate that a text gives.

        Raises:
            ValueError: It is not of the form COUNT/PERIOD or COUNT/PERIOD burst N.
        """
        match = _RATE.fullmatch(text.strip())
        if match and (count := float(match["count"])):
            interval_s, burst = _PERIODS[match["period"]] / count, int(match["burst"] or 1)
            if _SHORTEST_S <= interval_s <= _LONGEST_S and 1 <= burst <= _MOST_AT_ONCE:
                return cls(interval_s, burst)
        raise ValueError(f"{text!r} is not a rate. Write COUNT/PERIOD, as in 5/min, 20/s or '100/h burst 10'")

    def __str__(self) -> str:
        counts = {period: seconds / self.interval_s for period, seconds in _PERIODS.items()}
        whole = [period for period, count in counts.items() if count > 0.5 and abs(count - round(count)) < 1e-6]
        period = whole[0] if whole else "d"
        count = f"{counts[period]:.6f}".rstrip("0").rstrip(".")  # never 1e+06, which is no rate
        return f"{count}/{period}" if self.burst == 1 else f"{count}/{period} burst {self.burst}"


def _rate(value: Any) -> Any:
    return value if value is None or isinstance(value, Rate) else Rate.parse(str(value))


_RateText = Annotated[Rate | None, BeforeValidator(_rate), PlainSerializer(lambda rate: rate and str(rate))]


class Quota(BaseModel):
    """How much of a backend the whole fleet may use; None is no limit.

    >>> Quota(submit="5/min", in_flight=3).submit
    Rate(interval_s=12.0, burst=1)
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    #: Submissions, as ``5/min`` or ``20/s burst 4``.
    submit: _RateText = None
    #: Calls of any kind: submissions, status, results, look-ups.
    requests: _RateText = None
    #: Most provider jobs at once.
    in_flight: int | None = Field(default=None, gt=0)


class Price(BaseModel):
    """What a run costs; the parts add up.

    >>> Price(per_circuit=0.3, per_shot=0.00035).currency
    'USD'
    >>> Price.model_validate("our_lab.prices:aria").model
    'our_lab.prices:aria'
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    #: For each call of ``backend.run``.
    per_run: float = Field(default=0.0, ge=0)
    #: For each circuit of a run.
    per_circuit: float = Field(default=0.0, ge=0)
    #: For each shot of each circuit.
    per_shot: float = Field(default=0.0, ge=0)
    #: For each second at the provider, its queue included: where the device alone is paid for, this is too much.
    per_second: float = Field(default=0.0, ge=0)
    currency: str = Field(default="USD", min_length=1, max_length=20)
    #: Instead of all these, ``module:callable`` that gives the cost of a run; a text alone stands for it.
    model: str | None = Field(default=None, pattern=r"^[\w.]+:[\w.]+$")

    @model_validator(mode="before")
    @classmethod
    def _of_model(cls, value: Any) -> Any:
        return {"model": value} if isinstance(value, str) else value


class Policy(BaseModel):
    """How a backend's runs are watched, and what is done when they fail."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    #: Failures that end a batch.
    max_attempts: int = Field(default=5, gt=0)
    #: Seconds after the first trouble at which a batch is given up.
    max_total_s: float = Field(default=86_400.0, gt=0)
    #: Most seconds before the first new try; each further one may take twice as long.
    backoff_s: float = Field(default=1.0, gt=0)
    #: Most seconds before any new try.
    backoff_longest_s: float = Field(default=300.0, gt=0)
    #: Most seconds between two looks at a run; a look comes after a tenth of the time waited, at least 50 ms.
    poll_longest_s: float = Field(default=30.0, gt=0)
    #: Seconds until a submitted job surely shows up in the provider's listings.
    listing_delay_s: float = Field(default=120.0, ge=0)
    #: Whether a run costs nothing, so that one in doubt is simply run again. One that ends with its worker's process is
    #: never in doubt.
    free: bool = False
    #: Failures in a row that open the breaker.
    breaker_failures: int = Field(default=5, gt=0)
    #: Seconds until one run may try whether the backend works again; doubled while it does not, up to 16 times.
    breaker_s: float = Field(default=30.0, gt=0)
