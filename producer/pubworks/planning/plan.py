"""PUBs -> slices -> batches: a pure function, so that a plan can be shown before anything is paid.

Circuits are grouped by shots, in the order in which the PUBs come, and cut where a limit says so. Shots above the
backend's maximum are cut into parts; each part is a batch of its own, with a seed of its own, so that no two runs draw
the same samples.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pubworks.backends.spec import Limits
from pubworks.errors import SubmissionError
from pubworks.store.records import BatchDraft, Slice

#: Most circuits of a batch where neither the backend nor the configuration sets a limit. It bounds the memory of a
#: worker and what is lost when one dies.
DEFAULT_MAX_CIRCUITS = 500

#: Most batches of one job; beyond, a mistake is likelier than a wish.
MAX_BATCHES = 100_000

#: Most shots of one run where no limit is configured: a signed 32-bit integer, in which simulators and services count.
MAX_SHOTS = 2**31 - 1

#: Derived seeds fit into a signed C int.
_SEEDS = 2**31

#: Odd, so that its multiples meet every number below ``_SEEDS`` before they repeat; the golden ratio spreads them.
_SEED_STEP = 0x9E3779B1


@dataclass(frozen=True)
class PubSize:
    """What planning needs to know of a PUB."""

    #: Flattened circuits.
    size: int
    shots: int
    #: Bytes that one circuit adds to the payload of a run.
    circuit_bytes: int


@dataclass(frozen=True)
class _Piece:
    """Circuits of one PUB, for one part of its shots."""

    pub: int
    size: int
    circuit_bytes: int
    first_shot: int


def plan(
    pubs: Sequence[PubSize], limits: Limits, *, backend_max_circuits: int | None = None, seed: int | None = None
) -> tuple[BatchDraft, ...]:
    """Return the batches that cover every (PUB, circuit, shot) exactly once and break no limit.

    Args:
        pubs: The PUBs in order.
        limits: The configured limits of the backend.
        backend_max_circuits: What the backend itself says it takes in one run.
        seed: The user's simulator seed. A run that starts where Qiskit's ``BackendSamplerV2`` would start one gets it
            as it is; every other run gets one that is derived from it.

    Raises:
        SubmissionError: A circuit alone breaks a limit, or the plan has more than ``MAX_BATCHES`` batches.
    """
    _check_payload(pubs, limits)
    cap = most_circuits(limits, backend_max_circuits)
    drafts: list[BatchDraft] = []
    for (shots, part), pieces in _group(pubs, limits.max_shots).items():
        start = 0
        for slices in _cut(pieces, cap, limits.max_payload_bytes):
            starts_as_qiskit = part == 0 and _is_start(start, backend_max_circuits)
            size = sum(piece.num_circuits * pubs[piece.pub].circuit_bytes for piece in slices)
            draft = BatchDraft(shots, seed if starts_as_qiskit else _derive(seed, len(drafts)), slices, size)
            drafts.append(draft)
            start += draft.num_circuits
            if len(drafts) > MAX_BATCHES:
                raise SubmissionError(
                    f"This workload needs more than {MAX_BATCHES} runs of the backend. Ask for fewer shots, "
                    "or submit it as several jobs."
                )
    return tuple(drafts)


def most_circuits(limits: Limits, backend_max_circuits: int | None) -> int:
    """Return the most circuits of one run."""
    return min((n for n in (limits.max_circuits, backend_max_circuits) if n), default=DEFAULT_MAX_CIRCUITS)


def _check_payload(pubs: Sequence[PubSize], limits: Limits) -> None:
    most = limits.max_payload_bytes
    for position, pub in enumerate(pubs):
        if most is not None and pub.size and pub.circuit_bytes > most:
            raise SubmissionError(
                f"Circuits of PUB {position} have {pub.circuit_bytes} bytes; max_payload_bytes is {most}. "
                "Make them smaller or raise the limit of the backend."
            )


def _group(pubs: Sequence[PubSize], max_shots: int | None) -> dict[tuple[int, int], list[_Piece]]:
    """Return the pieces of the PUBs by (shots of the run, part of the PUB's shots), in order of appearance."""
    groups: dict[tuple[int, int], list[_Piece]] = {}
    for position, pub in enumerate(pubs):
        if pub.size == 0:
            continue
        _check_shots(position, pub.shots, max_shots)
        for part, first in enumerate(range(0, pub.shots, max_shots or pub.shots)):
            shots = min(pub.shots - first, max_shots or pub.shots)
            piece = _Piece(position, pub.size, pub.circuit_bytes, first)
            groups.setdefault((shots, part), []).append(piece)
    return groups


def _check_shots(position: int, shots: int, max_shots: int | None) -> None:
    if shots > (max_shots * MAX_BATCHES if max_shots else MAX_SHOTS):
        most = f"{MAX_BATCHES} runs of {max_shots}" if max_shots else f"the {MAX_SHOTS} that one run can have"
        raise SubmissionError(
            f"PUB {position} asks for {shots} shots, more than {most}. Ask for fewer shots, or for less precision."
        )


def _cut(pieces: Sequence[_Piece], max_circuits: int, max_bytes: int | None) -> Iterator[tuple[Slice, ...]]:
    """Yield the slices of each run: as many circuits as fit, in order."""
    run: list[Slice] = []
    circuits, size = max_circuits, max_bytes
    for piece in pieces:
        first = 0
        while first < piece.size:
            fit = min(circuits, piece.size - first)
            if size is not None:
                fit = min(fit, size // max(1, piece.circuit_bytes))
            if fit == 0:
                yield tuple(run)
                run, circuits, size = [], max_circuits, max_bytes
                continue
            run.append(Slice(piece.pub, first, first + fit, piece.first_shot))
            first += fit
            circuits -= fit
            size = size - fit * piece.circuit_bytes if size is not None else None
    if run:
        yield tuple(run)


def _is_start(circuit: int, backend_max_circuits: int | None) -> bool:
    """Return whether ``BackendSamplerV2`` would start a run at this circuit of a group."""
    return circuit % backend_max_circuits == 0 if backend_max_circuits else circuit == 0


def _derive(seed: int | None, run: int) -> int | None:
    """Return the seed of a run: another one for every run, and never the user's own."""
    return None if seed is None else (seed + run * _SEED_STEP) % _SEEDS
