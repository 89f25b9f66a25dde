"""Counts of one PUB -> what its result holds; the same when it is computed again for other observables."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pubworks.codec.outcomes import Counts, Outcomes
from pubworks.codec.results import Field, encode
from pubworks.errors import StoreError
from pubworks.estimation.measurement import Measurement
from pubworks.estimation.tally import Tally


def evaluate(
    measurement: Measurement, parts: Iterable[tuple[int, Outcomes]], *, shots: int, circuit_metadata: Any
) -> bytes:
    """Return the stored result of a PUB.

    Args:
        measurement: What was measured and what is to be computed.
        parts: Outcomes of consecutive circuits, and the first of these; any order.
        shots: Shots that were asked for.
        circuit_metadata: Metadata of the user's circuit.

    Raises:
        NotMeasured: Circuits have no shots.
    """
    tally = Tally(measurement, covariance=measurement.info["stds"] == "covariance")
    for first, outcomes in parts:
        if not isinstance(outcomes, Counts):
            raise StoreError("A stored chunk of an Estimator job holds no counts. Restore the database from a backup.")
        tally.add(first, outcomes)
    evs, stds = tally.finish()
    metadata = {
        "target_precision": measurement.info["precision"],
        "shots": shots,
        "circuit_metadata": circuit_metadata,
        **_loss(tally, shots),
    }
    return encode(measurement.shape, [Field("evs", evs), Field("stds", stds)], metadata, primitive="estimator")


def _loss(tally: Tally, shots: int) -> dict[str, int]:
    """Return how few shots the worst circuit has, where some were lost."""
    fewest = int(tally.shots.min(initial=shots))
    return {"fewest_shots": fewest} if fewest < shots else {}
