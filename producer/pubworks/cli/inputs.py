"""Circuits and parameter values from files that may come from anyone."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pubworks.codec.circuits import load_qasm3, load_qpy
from pubworks.errors import SubmissionError

if TYPE_CHECKING:
    from qiskit import QuantumCircuit

SUFFIXES = (".qpy", ".qasm", ".qasm3")


@dataclass(frozen=True)
class Input:
    """A circuit and the file that it is from."""

    circuit: QuantumCircuit
    path: Path


def read_inputs(paths: Iterable[Path]) -> list[Input]:
    """Return the circuits of files and folders, in order; those of a folder by file name.

    Raises:
        SubmissionError: Names the file, what is wrong with it and what to do.
    """
    return [Input(circuit, file) for path in paths for file in _files(path) for circuit in _circuits(file)]


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    found = sorted(file for file in path.iterdir() if file.suffix.lower() in SUFFIXES)
    if not found:
        raise SubmissionError(f"The folder {path} holds no circuits ({', '.join(SUFFIXES)}). Write them there first.")
    return found


def _circuits(path: Path) -> list[QuantumCircuit]:
    readers = {".qpy": _read_qpy, ".qasm": _read_qasm, ".qasm3": _read_qasm}
    if path.suffix.lower() not in readers:
        raise SubmissionError(f"{path}: circuits are read from {', '.join(SUFFIXES)} files. Export it as one of these.")
    try:
        return readers[path.suffix.lower()](path)
    except OSError as error:
        raise SubmissionError(
            f"{path} cannot be read: {error.strerror}. Check the path and its permissions."
        ) from error
    except SubmissionError as error:
        raise SubmissionError(f"{path}: {error}") from error


def _read_qpy(path: Path) -> list[QuantumCircuit]:
    return load_qpy(path.read_bytes())


def _read_qasm(path: Path) -> list[QuantumCircuit]:
    circuit = load_qasm3(path.read_text())
    circuit.name = path.stem
    return [circuit]


def bind(inputs: Sequence[Input], values: Path | None) -> list[Any]:
    """Return the PUBs: each circuit that has parameters with the values of the file.

    Raises:
        SubmissionError: Values are missing, are of no use, or do not fit a circuit.
    """
    needy = [item for item in inputs if item.circuit.num_parameters]
    if values is None and needy:
        circuit = needy[0].circuit
        raise SubmissionError(
            f"{needy[0].path}: circuit {circuit.name!r} has unbound parameters: {_names(circuit)}. "
            "Give their values with --values FILE."
        )
    if values is None:
        return [item.circuit for item in inputs]
    if not needy:
        raise SubmissionError(f"{values}: none of the circuits has parameters. Leave --values out.")
    table = read_values(values)
    return [_bind_one(item, table, values) if item.circuit.num_parameters else item.circuit for item in inputs]


def read_values(path: Path) -> Any:
    """Return parameter values: an array of shape (…, parameters), or a dict of arrays by parameter name.

    Raises:
        SubmissionError: The file holds something else.
    """
    if path.suffix.lower() not in (".npy", ".json"):
        raise SubmissionError(f"{path}: parameter values are read from .npy or .json files. Write one of these.")
    try:
        if path.suffix.lower() == ".npy":
            return _numbers(np.load(path, allow_pickle=False))
        content = json.loads(path.read_bytes())
        return {k: _numbers(v) for k, v in content.items()} if isinstance(content, dict) else _numbers(content)
    except (OSError, EOFError, ValueError, TypeError, MemoryError, RecursionError) as error:
        raise SubmissionError(f"{path} cannot be read as parameter values: {error}. Write real numbers.") from error


def _numbers(values: Any) -> np.ndarray:
    array = np.asarray(values)
    if array.dtype.kind not in "iuf" or not np.isfinite(array).all():
        raise ValueError("it holds something other than finite real numbers")
    return array.astype(float)


def _bind_one(item: Input, values: Any, path: Path) -> tuple[QuantumCircuit, Any]:
    circuit = item.circuit
    names = [parameter.name for parameter in circuit.parameters]
    problem = ""
    if isinstance(values, dict):
        missing = [name for name in names if name not in values]
        problem = f"no values for {', '.join(missing)}" if missing else ""
        values = {name: values[name] for name in names if name in values}
    elif values.ndim == 0 or (values.shape[-1] != len(names) and len(names) != 1):
        problem = f"shape {values.shape} does not end with {len(names)}, the number of parameters"
    if problem:
        raise SubmissionError(f"{path}: {problem}, for circuit {circuit.name!r} ({_names(circuit)}). Mend the file.")
    return circuit, values


def _names(circuit: QuantumCircuit) -> str:
    names = [parameter.name for parameter in circuit.parameters]
    return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
