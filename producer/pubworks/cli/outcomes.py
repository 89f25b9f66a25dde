"""Results of a job as people, programs and files get them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from qiskit.primitives import BitArray

from pubworks.codec.results import decode
from pubworks.errors import ConfigError

if TYPE_CHECKING:
    from qiskit.primitives import PubResult

    from pubworks.cli.session import Session
    from pubworks.store.records import JobRecord

#: Outcomes that a row of the table names, and rows that it has at most.
_TOP = 4
MAX_ROWS = 40


@dataclass(frozen=True)
class Outcome:
    """A job with the results there are."""

    record: JobRecord
    results: dict[int, PubResult]
    #: PUB -> why it has no result.
    missing: dict[int, str]


def load(session: Session, job_id: str) -> Outcome:
    """Return a job with the results there are."""
    from pubworks.store import jobs, results

    with session.store.read() as connection:
        record = jobs.get(connection, job_id)
        stored = results.load_results(connection, job_id)
        missing = jobs.failed_pubs(connection, job_id)
    return Outcome(record, {pub: decode(data) for pub, data in stored.items()}, missing)


def rows(outcome: Outcome) -> Iterator[tuple[Any, ...]]:
    """Yield (PUB, index, register, shots, top counts) of each circuit and register."""
    for pub, result in outcome.results.items():
        for register, data in result.data.items():
            if not isinstance(data, BitArray):
                yield (pub, "all", register, None, f"numbers of shape {data.shape}; -o FILE.npz has them")
                continue
            for index in np.ndindex(data.shape):
                place = ",".join(map(str, index)) or "-"
                yield (pub, place, register, data.num_shots, _top(data.get_counts(index)))


def _top(counts: dict[str, int]) -> str:
    most = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    text = "  ".join(f"{bits or '(no bits)'}: {count}" for bits, count in most[:_TOP])
    return text + (f"  and {len(most) - _TOP} more" if len(most) > _TOP else "")


def document(outcome: Outcome) -> dict[str, Any]:
    """Return a job's results as JSON values.

    ``counts`` and ``values`` hold one entry for each circuit of the PUB, in C order of its ``shape``.
    """
    record = outcome.record
    return {
        "id": record.id,
        "name": record.name,
        "backend": record.backend,
        "status": str(record.state),
        "pubs": [_pub_document(pub, result) for pub, result in outcome.results.items()],
        "missing": [{"pub": pub, "reason": reason} for pub, reason in outcome.missing.items()],
    }


def _pub_document(pub: int, result: PubResult) -> dict[str, Any]:
    registers = [_register(name, data) for name, data in result.data.items()]
    return {"pub": pub, "shape": list(result.data.shape), "registers": registers, "metadata": result.metadata}


def _register(name: str, data: Any) -> dict[str, Any]:
    if isinstance(data, BitArray):
        counts = [dict(sorted(data.get_counts(index).items())) for index in np.ndindex(data.shape)]
        return {"name": name, "num_bits": data.num_bits, "shots": data.num_shots, "counts": counts}
    numbers = np.asarray(data)
    parts = [numbers.real.tolist(), numbers.imag.tolist()] if np.iscomplexobj(numbers) else [numbers.tolist(), None]
    return {"name": name, "real": parts[0], "imag": parts[1]}


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

    A .npz file holds ``info`` (the JSON of :func:`document` without counts, as text) and for each PUB and register
    ``pub<N>.<register>``: packed samples as in ``BitArray.array``, whose width is ``pub<N>.<register>.num_bits``, or
    numbers. It is read with ``numpy.load(path, allow_pickle=False)``.
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
