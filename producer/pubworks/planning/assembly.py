"""Settings of single rows -> the arrays of a :class:`Measurement`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pubworks.planning.observables import Integers, Table


@dataclass(frozen=True)
class Setting:
    """A basis and the terms that are read from it."""

    #: Planes Z and X; shape (2, bytes).
    basis: NDArray[np.uint8]
    terms: Integers


#: Gives the settings of a row of the parameter values, of which certain terms are wanted.
Divide = Callable[[int, Integers], list[Setting]]


@dataclass(frozen=True)
class _Family:
    """The settings of rows that meet the same observables, and what their terms count in these."""

    settings: list[Setting]
    positions: Integers
    observables: Integers
    coefficients: NDArray[np.float64]
    #: How many coefficients are of each setting.
    lengths: Integers


def assemble(table: Table, wanted: Integers, marks: Integers, divide: Divide) -> dict[str, Any]:
    """Return the arrays of a measurement by name.

    Args:
        table: The observables.
        wanted: Observables that each row meets; shape (rows, observables).
        marks: Rows of different marks share nothing; shape (rows,).
        divide: Gives settings; called once for all rows of equal mark that meet the same.
    """
    _, first, family_of = np.unique(np.column_stack([marks, wanted]), axis=0, return_index=True, return_inverse=True)
    scratch = np.zeros((2, len(table.terms)), dtype=np.int64)
    families = [_plan(table, wanted[row], int(row), divide, scratch) for row in first]
    settings = [setting for family in families for setting in family.settings]
    return {
        "terms": table.terms,
        "bases": np.stack([setting.basis for setting in settings])
        if settings
        else np.zeros((0, 2, table.terms.shape[-1]), dtype=np.uint8),
        "read_terms": _join([setting.terms for setting in settings]),
        "read_ends": np.cumsum([len(setting.terms) for setting in settings], dtype=np.int64),
        "positions": _join([family.positions for family in families]),
        "observables": _join([family.observables for family in families]),
        "coefficients": np.concatenate([np.zeros(0), *(family.coefficients for family in families)]),
        "coefficient_ends": np.cumsum(_join([family.lengths for family in families])),
        **_circuits(np.array([len(family.settings) for family in families], dtype=np.int64), family_of.ravel()),
    }


def split(values: Integers, parts: Integers, count: int) -> list[Integers]:
    """Return ``values`` by their part, in order; parts are numbers below ``count``."""
    order = np.argsort(parts, kind="stable")
    return np.split(values[order], np.cumsum(np.bincount(parts, minlength=count))[:-1]) if count else []


def _plan(table: Table, observables: Integers, row: int, divide: Divide, scratch: Integers) -> _Family:
    places, of = table.places(observables)
    settings = divide(row, np.unique(table.members[places]))
    setting_of, position_of = scratch
    for number, setting in enumerate(settings):
        setting_of[setting.terms] = number
        position_of[setting.terms] = np.arange(len(setting.terms))
    number_of = setting_of[table.members[places]]
    order = np.argsort(number_of, kind="stable")
    places = places[order]
    lengths = np.bincount(number_of, minlength=len(settings))
    return _Family(settings, position_of[table.members[places]], of[order], table.coefficients[places], lengths)


def _circuits(counts: Integers, family_of: Integers) -> dict[str, Integers]:
    """Return setting and row of each circuit: every row is measured in all settings of its family, in order."""
    starts, sizes = np.cumsum(counts) - counts, counts[family_of]
    rows = np.repeat(np.arange(len(family_of)), sizes)
    within = np.arange(len(rows)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return {"rows": rows, "settings": np.repeat(starts[family_of], sizes) + within}


def _join(parts: Sequence[Integers]) -> Integers:
    return np.concatenate([np.zeros(0, dtype=np.int64), *parts])
