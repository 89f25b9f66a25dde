"""Terms that can be measured together: qubit-wise commuting groups, as ``PauliList.group_commuting`` makes them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pubworks.estimation.terms import X, Z, words

#: Most bases whose conflicts are counted, which takes time by their square; more are grouped in their own order.
MAX_COUNTED = 5_000


def group(bases: NDArray[np.uint8]) -> list[NDArray[np.int64]]:
    """Return groups of bases of which no two differ on a qubit that both measure.

    A greedy colouring, those with most conflicts first, each into the first group that it fits: what Qiskit computes
    with ``rustworkx.graph_greedy_color``, without the graph.

    Args:
        bases: Planes Z and X of distinct bases; shape (bases, 2, bytes).
    """
    planes = words(bases)
    order = np.arange(len(bases))
    if len(bases) <= MAX_COUNTED:
        degrees = [np.count_nonzero(_conflicts(planes, basis)) for basis in planes]
        order = np.argsort(-np.array(degrees, dtype=np.int64), kind="stable")
    return _first_fit(planes, order)


def _first_fit(planes: NDArray[np.uint64], order: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    joint = np.zeros((min(16, len(planes)), *planes.shape[1:]), dtype=np.uint64)
    groups: list[list[int]] = []
    for index in order.tolist():
        free = ~_conflicts(joint[: len(groups)], planes[index])
        place = int(free.argmax()) if free.any() else len(groups)
        if place == len(groups):
            groups.append([])
            if len(groups) > len(joint):
                joint = np.concatenate([joint, np.zeros_like(joint)])
        groups[place].append(index)
        joint[place] |= planes[index]
    return [np.array(members) for members in groups]


def _conflicts(many: NDArray[np.uint64], one: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Return which bases differ from one on a qubit that both measure; shape (many,)."""
    different = (many[:, Z] ^ one[Z]) | (many[:, X] ^ one[X])
    both = (many[:, Z] | many[:, X]) & (one[Z] | one[X])
    found: NDArray[np.bool_] = (different & both).any(axis=-1)
    return found
