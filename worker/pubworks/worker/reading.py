"""From what a provider answered to what is stored: the outcomes per slice, and what is left to do."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import numpy as np

from pubworks.codec.outcomes import Counts, Memory, Outcomes, read_counts, read_outcomes, spread
from pubworks.errors import ProviderError, Transient
from pubworks.store.records import Rest, Slice
from pubworks.worker import trouble
from pubworks.worker.desk import Desk
from pubworks.worker.submission import Work

#: Part of the shots that must have come for the others to be asked for again; else it may take a hundred runs.
_ENOUGH = 0.1


@dataclass(frozen=True)
class Reading:
    """A run as far as it came."""

    #: Its claim has the slices and the shots that came.
    work: Work
    #: By slice.
    outcomes: list[Outcomes]
    #: What did not come.
    rests: tuple[Rest, ...]


def read(desk: Desk, work: Work, data: Sequence[Any]) -> Reading:
    """Read the answer to a run.

    A circuit that failed, or whose outcomes make no sense, leaves those of the others as they are.

    Args:
        desk: The backend.
        work: What was run.
        data: What the provider returned for each circuit; a ``ProviderError`` for one that failed.

    Raises:
        ProviderError: Nothing of it can be understood; ``Transient``: all of a few shots were lost.
    """
    if work.level == 2 and not desk.adapter.takes_memory:
        data = list(map(_without_order, data))
    bad: dict[int, Rest] = {}
    cells = list(_one_by_one(work.claim.slices))
    for place, item in enumerate(data):
        if isinstance(item, ProviderError):
            bad[place] = trouble.failed_circuit(desk, work.claim, cells[place], item)
    try:
        outcomes = _read_all(work, data, bad)
    except ProviderError as error:
        for place, problem in _unreadable(work, data, bad, cells):
            if isinstance(problem, Transient):
                bad[place] = trouble.failed_circuit(desk, work.claim, cells[place], problem)
            else:
                bad[place] = Rest((cells[place],), work.claim.shots, str(problem), given_up=True)
        if len(bad) == len(cells):
            raise error
        outcomes = _read_all(work, data, bad)
    came = replace(work, claim=replace(work.claim, slices=_without(work.claim.slices, bad)))
    return _with_shots(came, outcomes, _join(bad.values()))


def _without_order(item: Any) -> Any:
    """Return what a provider gave for a circuit as counts: its memory was not asked for, and may be in any order."""
    memory = getattr(item, "memory", None)
    return item if memory is None else SimpleNamespace(counts=getattr(item, "counts", None) or Counter(memory))


def _read_all(work: Work, data: Sequence[Any], bad: Mapping[int, Rest]) -> list[Outcomes]:
    good = [item for place, item in enumerate(data) if place not in bad]
    outcomes, start = [], 0
    for piece in _without(work.claim.slices, bad):
        outcomes.append(_read_slice(work, piece, good[start : start + piece.num_circuits]))
        start += piece.num_circuits
    return outcomes


def _unreadable(
    work: Work, data: Sequence[Any], bad: Mapping[int, Rest], cells: Sequence[Slice]
) -> Iterator[tuple[int, ProviderError]]:
    for place in set(range(len(data))) - bad.keys():
        try:
            _read_slice(work, cells[place], [data[place]])
        except ProviderError as error:
            yield place, error


def _read_slice(work: Work, piece: Slice, data: list[Any]) -> Outcomes:
    pub, shots = work.pubs[piece.pub], work.claim.shots
    readout, seed = pub.readout, _seed(work, piece)
    places = readout.get("measured", range(readout["num_clbits"]))
    if pub.plan is not None:
        widths = pub.plan.widths[pub.plan.settings[piece.first : piece.end]]
        counts = read_counts(data, widths=(len(places) + widths).tolist(), shots=shots, seed=seed)
        most = int(widths.max())
        ours = range(readout["num_clbits"], readout["num_clbits"] + most)
        return spread(counts, [*places, *ours], readout["num_clbits"] + most)
    outcomes = read_outcomes(
        data, num_clbits=len(places), shots=shots, measures=readout["measures"], meas_level=work.level, seed=seed
    )
    if isinstance(outcomes, Counts) and (fewest := int(outcomes.shots.min())) < _ENOUGH * shots:
        raise ProviderError(
            f"The backend returned {fewest} of {shots} shots. Set max_shots in its table if it caps them silently."
        )
    return spread(outcomes, places, readout["num_clbits"])


def _seed(work: Work, piece: Slice) -> int:
    """Return the seed of samples that are drawn from probabilities: the same for the same answer."""
    origin = work.claim.batch_id if work.claim.seed is None else str(work.claim.seed)
    return zlib.crc32(f"{origin}/{piece.pub}/{piece.first}/{piece.first_shot}".encode())


def _with_shots(work: Work, outcomes: list[Outcomes], rests: tuple[Rest, ...]) -> Reading:
    """Have the shots asked for again that did not come; an expectation value is made of those that did."""
    claim = work.claim
    if any(pub.plan is not None for pub in work.pubs.values()):
        return Reading(work, outcomes, rests)
    came = min((int(part.shots.min()) for part in outcomes if isinstance(part, Counts)), default=claim.shots)
    if came == claim.shots:
        return Reading(work, outcomes, rests)
    later = tuple(piece._replace(first_shot=piece.first_shot + came) for piece in claim.slices)
    reason = f"{claim.shots - came} of {claim.shots} shots did not come"
    more = Rest(later, claim.shots - came, reason, more=True)
    cut = [_cut(part, came, claim.shots) for part in outcomes]
    return Reading(replace(work, claim=replace(claim, shots=came)), cut, (*rests, more))


def _cut(outcomes: Outcomes, came: int, asked: int) -> Outcomes:
    if isinstance(outcomes, Memory):
        return Memory(np.ascontiguousarray(outcomes.bits[:, :came]))
    return replace(outcomes, asked=asked) if isinstance(outcomes, Counts) else outcomes


def _one_by_one(slices: Sequence[Slice]) -> Iterator[Slice]:
    for piece in slices:
        for circuit in range(piece.first, piece.end):
            yield piece._replace(first=circuit, end=circuit + 1)


def _without(slices: tuple[Slice, ...], bad: Mapping[int, Rest]) -> tuple[Slice, ...]:
    """Return slices without the circuits at some places."""
    return _together(cell for place, cell in enumerate(_one_by_one(slices)) if place not in bad) if bad else slices


def _together(cells: Iterable[Slice]) -> tuple[Slice, ...]:
    """Return neighbouring circuits of a PUB as one slice."""
    joined: list[Slice] = []
    for cell in cells:
        last = joined[-1] if joined else None
        if last is not None and last._replace(first=cell.first, end=cell.end) == cell and last.end == cell.first:
            joined[-1] = last._replace(end=cell.end)
        else:
            joined.append(cell)
    return tuple(joined)


def _join(rests: Iterable[Rest]) -> tuple[Rest, ...]:
    """Return the rests of single circuits, together where they are for the same reason."""
    groups: dict[tuple[str, bool], list[Rest]] = {}
    for rest in rests:
        groups.setdefault((rest.reason, rest.given_up), []).append(rest)
    return tuple(
        replace(of[0], slices=_together(sorted(cell for one in of for cell in one.slices))) for of in groups.values()
    )
