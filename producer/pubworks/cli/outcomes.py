"""Results of a job as people, programs and files get them."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from qiskit.primitives import BitArray

from pubworks.cli import render
from pubworks.errors import ConfigError
from pubworks.views.outcomes import ESTIMATOR, Outcome, document

if TYPE_CHECKING:
    from qiskit.primitives import PubResult


#: Outcomes or values that a row of the table names, and rows that it has at most.
_TOP = 4
MAX_ROWS = 40


def columns(outcome: Outcome) -> tuple[str, ...]:
    """Return the heads of the table's columns."""
    if outcome.record.primitive == ESTIMATOR:
        return ("PUB", "SHAPE", "SHOTS", "VALUES")
    return ("PUB", "INDEX", "REGISTER", "SHOTS", "COUNTS")


def rows(outcome: Outcome) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of the table: one for each PUB of an Estimator, for each circuit and register of a Sampler."""
    of_pub = _values if outcome.record.primitive == ESTIMATOR else _counts
    for pub, result in outcome.results.items():
        for row in of_pub(result):
            yield (pub, *row)


def _values(result: PubResult) -> Iterator[tuple[Any, ...]]:
    evs, stds = np.ravel(result.data.evs), np.ravel(result.data.stds)
    first = [_with_error(*pair) for pair in zip(evs[:_TOP].tolist(), stds[:_TOP].tolist(), strict=True)]
    more = f"  and {len(evs) - _TOP} more" if len(evs) > _TOP else ""
    shots = result.metadata["shots"]
    if "fewest_shots" in result.metadata:
        shots = f"{result.metadata['fewest_shots']} of {shots}"
    yield ("x".join(map(str, result.data.shape)) or "-", shots, "  ".join(first or ["(none)"]) + more)


def _with_error(value: float, error: float) -> str:
    """Return a value with its error, both with the digits that two digits of the error justify.

    >>> _with_error(0.51234, 0.01567), _with_error(-1234.5, 123.4), _with_error(1.0, 0.0)
    ('0.512 ± 0.016', '-1234 ± 123', '1 ± 0')
    """
    sign = render.plus_minus()
    if not error > 0:
        return f"{value:.6g} {sign} {error:g}"
    decimals = max(0, 1 - math.floor(math.log10(error)))
    return f"{value:.{decimals}f} {sign} {error:.{decimals}f}"


def _counts(result: PubResult) -> Iterator[tuple[Any, ...]]:
    for register, data in result.data.items():
        if not isinstance(data, BitArray):
            yield ("all", register, None, f"numbers of shape {data.shape}; -o FILE.npz has them")
            continue
        for index in np.ndindex(data.shape):
            place = ",".join(map(str, index)) or "-"
            yield (place, register, data.num_shots, _top(data.get_counts(index)))


def _top(counts: dict[str, int]) -> str:
    most = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    text = "  ".join(f"{bits or '(no bits)'}: {count}" for bits, count in most[:_TOP])
    return text + (f"  and {len(most) - _TOP} more" if len(most) > _TOP else "")


def check_name(path: Path) -> None:
    """Raise unless results can be written to a file of this name.

    Raises:
        ConfigError: The suffix is another one, or there is no such folder.
    """
    if path.suffix.lower() not in (".npz", ".json"):
        raise ConfigError(f"{path}: results are written as .npz or .json. Give the file one of these suffixes.")
    if not path.absolute().parent.is_dir():
        raise ConfigError(f"{path}: there is no folder {path.absolute().parent}. Make it first.")


def write(outcome: Outcome, path: Path) -> None:
    """Write results to a file, whole or not at all.

    A .npz file holds ``info`` (the JSON of :func:`document` without counts and values, as text) and for each PUB and
    register ``pub<N>.<register>``: packed samples as in ``BitArray.array``, whose width is
    ``pub<N>.<register>.num_bits``, or numbers; of an Estimator ``pub<N>.evs`` and ``pub<N>.stds``. It is read
    with ``numpy.load(path, allow_pickle=False)``.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            if path.suffix.lower() == ".json":
                file.write(json.dumps(document(outcome), indent=2).encode() + b"\n")
            else:
                np.savez_compressed(file, **_arrays(outcome))
        part.replace(path)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}. Choose another place.") from error
    finally:
        part.unlink(missing_ok=True)


def _arrays(outcome: Outcome) -> dict[str, Any]:
    arrays: dict[str, Any] = {"info": np.array(json.dumps(_info(outcome)))}
    for pub, result in outcome.results.items():
        for name, data in result.data.items():
            key = f"pub{pub}.{name}"
            if isinstance(data, BitArray):
                arrays |= {key: data.array, f"{key}.num_bits": np.array(data.num_bits)}
            else:
                arrays[key] = np.asarray(data)
    return arrays


def _info(outcome: Outcome) -> dict[str, Any]:
    content = document(Outcome(outcome.record, {}, outcome.missing))
    metadata = [{"pub": pub, "metadata": result.metadata} for pub, result in outcome.results.items()]
    return {**content, "pubs": metadata}
