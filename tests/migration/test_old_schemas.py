"""A database of every schema that was ever released is upgraded, and its jobs are still there.

Each ``r*.sql`` beside this file is one, with a finished job and one that waits. The newest is written by::

    python tests/migration/test_old_schemas.py
"""

from __future__ import annotations

import sqlite3
import tempfile
from pathlib import Path

import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit_aer import AerSimulator

from pubworks.client import Client, Sampler
from pubworks.store import batches, jobs, schema
from pubworks.store.store import Store

HERE = Path(__file__).parent
DUMPS = sorted(HERE.glob("r*.sql"))


def workload() -> list[object]:
    """One PUB of three circuits that always give 1, in a register of two bits."""
    circuit = QuantumCircuit(1, 2, metadata={"from": "the past"})
    circuit.x(0)
    circuit.rz(Parameter("a"), 0)
    circuit.measure(0, 0)
    return [(circuit, [[0.1], [0.2], [0.3]], 5)]


def write_newest() -> None:
    """Write a database of this version's schema as SQL."""
    with tempfile.TemporaryDirectory() as folder:
        with Client(data_dir=folder) as client:
            sampler = Sampler(AerSimulator(), options={"seed_simulator": 1}, client=client)
            sampler.run(workload(), name="finished").result(60)
            client.submit = lambda draft: _store_only(client, draft)  # type: ignore[method-assign, assignment]
            sampler.run(workload(), name="waiting")
        database = sqlite3.connect(Path(folder) / "pubworks.db")
        database.execute("DELETE FROM workers")
        (HERE / f"{schema.head()}.sql").write_text("\n".join(database.iterdump()) + "\n")
        database.close()


def _store_only(client: Client, draft: object) -> None:
    with client.store.write() as connection:
        jobs.submit(connection, draft)  # type: ignore[arg-type]


def test_the_newest_schema_has_its_dump() -> None:
    assert schema.head() in [path.stem for path in DUMPS]


@pytest.mark.parametrize("dump", DUMPS, ids=lambda path: path.stem)
def test_an_old_database_is_upgraded_and_read(dump: Path, tmp_path: Path) -> None:
    database = sqlite3.connect(tmp_path / "pubworks.db")
    database.executescript(dump.read_text())
    database.close()
    _upgrade(tmp_path)
    with Client(data_dir=tmp_path) as client:
        waiting, finished = client.jobs()
        assert (finished.name, finished.state, waiting.name, waiting.state) == (
            "finished", "DONE", "waiting", "QUEUED",
        )  # fmt: skip
        (result,) = client.job(finished.id).result(timeout=10)
        assert result.data.c.get_counts() == {"01": 15}
        assert result.metadata == {"shots": 5, "circuit_metadata": {"from": "the past"}}
        with client.store.write() as connection:
            (claim,) = batches.claim(connection, waiting.backend, "w/1", 60).claims
        assert (claim.job_id, claim.shots, claim.seed) == (waiting.id, 5, 1)


def _upgrade(folder: Path) -> None:
    store = Store(f"sqlite:///{folder / 'pubworks.db'}")
    store.upgrade()
    store.check_schema()
    store.close()


if __name__ == "__main__":
    write_newest()
