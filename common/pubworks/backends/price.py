"""What runs cost: a price model says it of one run.

A model is any callable of a :class:`PricedRun` that returns a :class:`Cost`, or None where it cannot be known. It comes
from the settings (``price`` of a backend), else from the backend's adapter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from pubworks.backends.spec import BackendSpec, load
from pubworks.errors import ConfigError
from pubworks.policy import Price


@dataclass(frozen=True)
class Cost:
    """An amount of money.

    >>> print(Cost(12.5, "USD"), Cost(0.00123456, "USD"))
    12.50 USD 0.001235 USD
    """

    amount: float
    currency: str

    def __str__(self) -> str:
        digits = f"{self.amount:,.2f}" if self.amount == 0 or self.amount >= 1 else f"{self.amount:.4g}"
        return f"{digits} {self.currency}"


@dataclass(frozen=True)
class PricedRun:
    """One ``backend.run``, as far as its price depends on it."""

    circuits: int
    #: Of each circuit.
    shots: int
    #: At the provider, its queue included; None where it is not known.
    seconds: float | None


PriceModel: TypeAlias = Callable[[PricedRun], Cost | None]


def linear(price: Price) -> PriceModel:
    """Return the model of a price list.

    >>> print(linear(Price(per_circuit=0.3, per_shot=0.01))(PricedRun(circuits=2, shots=100, seconds=None)))
    2.60 USD
    """

    def cost(run: PricedRun) -> Cost | None:
        if price.per_second and run.seconds is None:
            return None
        of_circuit = price.per_circuit + price.per_shot * run.shots
        of_time = price.per_second * (run.seconds or 0.0)
        return Cost(price.per_run + of_circuit * run.circuits + of_time, price.currency)

    return cost


def configured(spec: BackendSpec) -> PriceModel | None:
    """Return the price model of a backend's settings; None: they have none.

    Raises:
        ConfigError: It cannot be loaded.
    """
    if spec.price is None:
        return None
    return _loaded(spec.price.model, spec.name) if spec.price.model else linear(spec.price)


def _loaded(path: str, backend: str) -> PriceModel:
    what = f"Price of backend {backend!r}"
    model = load(path, what)

    def cost(run: PricedRun) -> Cost | None:
        try:
            found = model(run)
        except Exception as error:
            raise ConfigError(
                f"{what}: {path} failed for {run} with {type(error).__name__}: {error}. "
                f"Mend it, or leave price out of [backends.{backend}]."
            ) from error
        if found is None or isinstance(found, Cost):
            return found
        raise ConfigError(
            f"{what}: {path} returned {found!r}. Return Cost(amount, currency) of pubworks.backends.price, or None."
        )

    return cost


def total(model: PriceModel | None, runs: Iterable[tuple[PricedRun, int]]) -> Cost | None:
    """Return what runs cost together; None where that cannot be known.

    Args:
        model: The price model.
        runs: Each kind of run, and how many of it.

    Raises:
        ConfigError: The model gives different currencies.
    """
    if model is None:
        return None
    costs = []
    for run, count in runs:
        cost = model(run)
        if cost is None:
            return None
        costs.append(Cost(count * cost.amount, cost.currency))
    found = sum_of(costs)
    if costs and found is None:
        names = ", ".join(sorted({cost.currency for cost in costs}))
        raise ConfigError(f"The price model gives different currencies: {names}. Give one.")
    return found


def sum_of(costs: Sequence[Cost]) -> Cost | None:
    """Return costs as one; None where there are none, or in different currencies."""
    if len({cost.currency for cost in costs}) != 1:
        return None
    return Cost(sum(cost.amount for cost in costs), costs[0].currency)
