"""Backends that answer with probabilities, or with counts that were rounded from some: samples are drawn, once."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pubworks.errors import ProviderError

#: How far a sum of probabilities may be from 1.
_TOLERANCE = 1e-3


def are_probabilities(table: Mapping[Any, Any], shots: int) -> bool:
    """Return whether a table of outcomes holds something else than counts of shots.

    Floats are counts where they are whole; a sum that rounding explains, and lost shots do not, shows that they were
    made from probabilities.

    >>> [are_probabilities(table, 10) for table in ({0: 10}, {0: 7.0, 1: 3.0}, {0: 0.5, 1: 0.5}, {0: 7.0, 1: 4.0})]
    [False, False, True, True]
    """
    kind = type(next(iter(table.values())))
    if kind is int or not issubclass(kind, (float, np.floating)):
        return False
    total = float(sum(table.values()))
    rounded = total != shots and abs(total - shots) <= len(table) / 2
    return rounded or (total == 1 < shots) or not all(float(value).is_integer() for value in table.values())


def draw(table: Mapping[Any, Any], shots: int, seed: Sequence[int]) -> dict[Any, int]:
    """Return counts of samples.

    Args:
        table: Probabilities of outcomes, or how many of the shots are expected to have them.
        shots: How many samples.
        seed: Of the random numbers; the same one gives the same samples.

    Raises:
        ProviderError: They are no probabilities: some are negative, or they make neither 1 nor the shots.

    >>> sum(draw({"0": 0.25, "1": 0.75}, 100, [7]).values())
    100
    """
    weights = [float(value) for value in table.values()]
    total = math.fsum(weights)
    rounding = _TOLERANCE * shots + len(weights) / 2  # each may have been rounded by a half
    if not min(weights) >= 0 or not (abs(total - 1) <= _TOLERANCE or abs(total - shots) <= rounding):
        raise ProviderError(
            f"The backend returned numbers from {min(weights):g}, {total:g} in sum, for {shots} shots: neither counts "
            "nor probabilities. Ask its provider for samples."
        )
    counts = np.random.default_rng(seed).multinomial(shots, np.array(weights) / total)
    return {key: int(count) for key, count in zip(table, counts, strict=True) if count}
