"""Counts -> expectation values and their standard errors."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from pubworks.codec.outcomes import Counts
from pubworks.errors import NotMeasured
from pubworks.estimation.masks import Masks, Words, make_masks
from pubworks.estimation.measurement import Measurement
from pubworks.estimation.terms import MINUS, words

_Floats = NDArray[np.float64]
_Integers = NDArray[np.int64]

#: Outcomes x terms that are evaluated at once, and outcomes among them; bounds the memory.
_CELLS = 1 << 19
_ROWS = 1 << 10


class Tally:
    """Sums over the shots of a PUB, from its chunks in any order; then its result.

    Standard errors are those of ``BackendEstimatorV2``: sum |c| sqrt(Var(term) / N), as if all terms varied together.
    With ``covariance`` they are the standard error of the sum itself: terms read from one circuit vary together as
    their counts say, terms of different circuits independently. Var is taken over the N shots that came back (not
    N - 1), so that both agree on an observable of one term.

    Args:
        measurement: What was measured.
        covariance: Which standard errors.
    """

    def __init__(self, measurement: Measurement, *, covariance: bool) -> None:
        self._measurement, self._covariance = measurement, covariance
        self._has_projectors = bool(measurement.terms[:, MINUS:].any())
        self._reads = np.diff(measurement.read_ends, prepend=0)[measurement.settings]
        self._starts = np.cumsum(self._reads) - self._reads
        self.shots = np.zeros(measurement.num_circuits, dtype=np.int64)
        self._sums = np.zeros(self._reads.sum())
        self._squares = np.zeros(self._reads.sum() if self._has_projectors else 0)
        #: By circuit, where covariance is wanted: sums of the observables' values and of their squares.
        self._moments: dict[int, _Floats] = {}
        self._masks: dict[tuple[int, int], Masks] = {}

    def add(self, first: int, counts: Counts) -> None:
        """Add the counts of consecutive circuits, from ``first`` on."""
        sizes = np.diff(counts.ends, prepend=0)
        circuits = np.repeat(np.arange(first, first + len(sizes)), sizes)
        weights = counts.counts.astype(float)
        np.add.at(self.shots, circuits, counts.counts)
        outcomes, settings = words(counts.outcomes), self._measurement.settings[circuits]
        order = np.argsort(settings, kind="stable")
        for rows in np.split(order, np.flatnonzero(np.diff(settings[order])) + 1):
            masks = self._masks_of(int(settings[rows[0]]), counts.outcomes.shape[1])
            step = max(_ROWS, _CELLS // max(1, len(masks.signs)))
            for start in range(0, len(rows), step):
                block = rows[start : start + step]
                self._add_block(masks, circuits[block], outcomes[block], weights[block])

    def finish(self) -> tuple[_Floats, _Floats]:
        """Return expectation values and standard errors, each of the shape of the result.

        Raises:
            NotMeasured: A circuit has no shots.
        """
        if missing := np.count_nonzero((self.shots == 0) & (self._reads > 0)):
            raise NotMeasured(
                f"{missing} of {len(self.shots)} circuits have no shots. Wait for the job, or run it again."
            )
        shape = self._measurement.shape
        evs, errors = np.zeros((2, int(np.prod(shape, dtype=np.int64))))
        order = np.argsort(self._measurement.settings, kind="stable")
        for circuits in np.split(order, np.flatnonzero(np.diff(self._measurement.settings[order])) + 1):
            if len(circuits) and self._reads[circuits[0]]:
                self._contribute(circuits, evs, errors)
        return evs.reshape(shape), (np.sqrt(errors) if self._covariance else errors).reshape(shape)

    def _add_block(self, masks: Masks, circuits: _Integers, outcomes: Words, weights: _Floats) -> None:
        """Add outcomes of one setting, those of a circuit in a row."""
        edges = np.flatnonzero(np.diff(circuits, prepend=-1))
        distinct = circuits[edges]
        totals: _Floats | None = None
        for terms in _blocks(len(masks.signs), len(outcomes)):
            values = masks.values(outcomes, terms)
            places = self._starts[distinct, None] + np.arange(terms.start, terms.stop)
            self._sums[places] += np.add.reduceat(weights[:, None] * values, edges)
            if self._has_projectors:
                self._squares[places] += np.add.reduceat(weights[:, None] * np.abs(values), edges)  # -1, 0 or 1
            if self._covariance:
                part = values @ self._matrix(int(circuits[0]), terms)
                totals = part if totals is None else totals + part
        if totals is not None:
            moments = np.add.reduceat(weights[:, None, None] * np.stack([totals, totals**2], axis=1), edges)
            for circuit, moment in zip(distinct.tolist(), moments, strict=True):
                self._moments[circuit] = self._moments.get(circuit, 0.0) + moment

    def _matrix(self, circuit: int, terms: slice) -> _Floats:
        """Return what some terms of a circuit's setting count in its observables; shape (terms, observables)."""
        positions, observables, coefficients = self._measurement.weights(int(self._measurement.settings[circuit]))
        distinct, columns = np.unique(observables, return_inverse=True)
        chosen = (positions >= terms.start) & (positions < terms.stop)
        matrix = np.zeros((terms.stop - terms.start, len(distinct)))
        matrix[positions[chosen] - terms.start, columns[chosen]] = coefficients[chosen]
        return matrix

    def _masks_of(self, setting: int, num_bytes: int) -> Masks:
        key = (setting, num_bytes)
        if key not in self._masks:
            self._masks[key] = make_masks(self._measurement, setting, num_bytes)
        return self._masks[key]

    def _contribute(self, circuits: _Integers, evs: _Floats, errors: _Floats) -> None:
        """Add what the circuits of one setting give to all elements that they meet."""
        setting = int(self._measurement.settings[circuits[0]])
        positions, observables, coefficients = self._measurement.weights(setting)
        rows, shots = self._measurement.rows[circuits], self.shots[circuits, None]
        places = self._starts[circuits, None] + positions
        means = self._sums[places] / shots
        elements = self._measurement.elements(rows, observables)
        np.add.at(evs, elements, means * coefficients)
        if self._covariance:
            self._add_variances(circuits, self._measurement.elements(rows, np.unique(observables)), errors)
        else:
            squares = self._squares[places] / shots if self._has_projectors else 1.0
            variances = np.maximum(squares - means**2, 0.0)
            np.add.at(errors, elements, np.abs(coefficients) * np.sqrt(variances / shots))

    def _add_variances(self, circuits: _Integers, elements: _Integers, errors: _Floats) -> None:
        for circuit, place in zip(circuits.tolist(), elements, strict=True):
            if not len(place):
                continue
            mean, square = self._moments[circuit] / self.shots[circuit]
            errors[place] += np.maximum(square - mean**2, 0.0) / self.shots[circuit]


def _blocks(terms: int, outcomes: int) -> Iterator[slice]:
    step = max(1, _CELLS // max(1, outcomes))
    return (slice(start, min(start + step, terms)) for start in range(0, terms, step))
