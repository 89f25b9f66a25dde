"""One result of a job, drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup
from qiskit.primitives import BitArray

from pubworks.codec.results import decode
from pubworks.store import jobs, results
from pubworks.web.page.draw.outcomes import estimates, histogram
from pubworks.web.page.paper import count, plural

if TYPE_CHECKING:
    from qiskit.primitives import PubResult

    from pubworks.primitives.job import Job
    from pubworks.web.desk import Desk

#: Most outcomes of a histogram, and most values of an estimate.
_OUTCOMES, _VALUES = 32, 200


@dataclass(frozen=True)
class Plot:
    """A register, or an array of values, as a picture and the same as a table."""

    title: str
    drawing: Markup
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    #: Of how much it is, and what is left out.
    note: str


@dataclass(frozen=True)
class ShownResult:
    """The result of one PUB, or why there is none."""

    pub: int
    num_pubs: int
    num_done: int
    #: Which of its circuits, and of how many; a Sampler's only.
    at: int = 0
    size: int = 1
    plots: list[Plot] = field(default_factory=list)
    missing: str | None = None


def shown_result(desk: Desk, job: Job, pub: int | None, at: int) -> ShownResult:
    """Return the result of a PUB (None: of the first that has one), of one of its circuits, as it is shown."""
    with desk.session.store.read() as connection:
        record, finished = jobs.get(connection, job.job_id()), results.finished_pubs(connection, job.job_id())
        pub = min(finished, default=0) if pub is None else pub
        stored = results.load_results(connection, job.job_id(), [pub])
        why = None if stored or not record.state.is_final else jobs.failed_pubs(connection, job.job_id()).get(pub)
    shown: dict[str, Any] = {"pub": pub, "num_pubs": record.num_pubs, "num_done": len(finished)}
    if pub not in stored:
        why = why or ("not done yet" if pub < record.num_pubs else "there is no such PUB")
        return ShownResult(**shown, missing=why)
    return _drawn(decode(stored[pub]), at, shown)


def _drawn(result: PubResult, at: int, shown: dict[str, Any]) -> ShownResult:
    data = result.data
    if "evs" in data:
        errors = data["stds"] if "stds" in data else np.full(np.shape(data["evs"]), np.nan)
        return ShownResult(**shown, plots=[_estimates(np.ravel(data["evs"]), np.ravel(errors))])
    size = int(np.prod(data.shape)) if data.shape else 1
    at = min(at, max(0, size - 1))
    registers = [(name, value) for name, value in data.items() if isinstance(value, BitArray)]
    plots = [_register(name, value, at) for name, value in registers if size and value.num_shots]
    return ShownResult(**shown, at=at, size=size, plots=plots)


def _register(name: str, bits: BitArray, at: int) -> Plot:
    counts = bits.get_counts(np.unravel_index(at, bits.shape) if bits.shape else ())
    often = sorted(counts.items(), key=lambda item: -item[1])[:_OUTCOMES]
    shown, shots = sorted(often), bits.num_shots
    left = len(counts) - len(shown)
    rest = f"; the {len(shown)} most frequent of {count(len(counts))} outcomes" if left else ""
    rows = [(outcome, str(number), f"{100 * number / shots:.2f} %") for outcome, number in shown]
    drawing = histogram(shown, shots)
    return Plot(name, drawing, ("outcome", "count", "share"), rows, f"outcomes of {plural(shots, 'shot')}{rest}")


def _estimates(values: Any, errors: Any) -> Plot:
    shown = list(zip(map(float, values[:_VALUES]), map(float, errors[:_VALUES]), strict=True))
    rest = f"; the first {_VALUES} of {count(len(values))}" if len(values) > _VALUES else ""
    rows = [(str(place), f"{value:.8g}", f"{error:.3g}") for place, (value, error) in enumerate(shown)]
    drawing = estimates([value for value, _ in shown], [error for _, error in shown]) if shown else Markup("")
    note = f"by element, with standard errors{rest}"
    return Plot("Expectation values", drawing, ("element", "value", "standard error"), rows, note)
