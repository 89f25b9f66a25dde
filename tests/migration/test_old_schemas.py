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
from pubworks.store import claiming, doubts, jobs, schema
from pubworks.store.store import Store
from pubworks.testing.store import Calls

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
            client.submit = lambda draft, _: _store_only(client, draft)  # type: ignore[method-assign, assignment]
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
        (result,) = finished.result(timeout=10)
        assert result.data.c.get_counts() == {"01": 15}
        assert result.metadata == {"shots": 5, "circuit_metadata": {"from": "the past"}}
        with client.store.write() as connection:
            (claim,) = claiming.claim(connection, waiting.backend_name, "w/1", 60).claims
        assert (claim.job_id, claim.shots, claim.seed) == (waiting.job_id(), 5, 1)


def test_what_the_first_schema_had_at_a_provider_goes_on(tmp_path: Path) -> None:
    """A run in flight is asked about by its id; one in doubt is listed for a person."""
    database = sqlite3.connect(tmp_path / "pubworks.db")
    database.executescript((HERE / "r0001.sql").read_text())
    (batch_id,) = database.execute("SELECT id FROM batches WHERE state = 'PENDING'").fetchone()
    job_id = batch_id.rpartition("-")[0]
    for position, state, run in ((1, "IN_FLIGHT", "ACCEPTED"), (2, "HELD", "UNCERTAIN")):
        database.execute(
            "INSERT INTO batches SELECT ?, job_id, ?, backend, ?, shots, seed, slices, num_circuits, run_options, "
            "NULL, 'w/1', 1, 1, NULL, NULL FROM batches WHERE id = ?",
            (f"{job_id}-{position}", position, state, batch_id),
        )
        database.execute(
            "INSERT INTO provider_jobs (batch_id, attempt, state, worker, provider_job_id, claimed_at, accepted_at) "
            "VALUES (?, 1, ?, 'w/1', 'ibm-7', 1, 2)",
            (f"{job_id}-{position}", run),
        )
    database.execute("UPDATE batches SET lease_owner = NULL, lease_until = NULL WHERE state = 'HELD'")
    backend = database.execute("SELECT backend FROM batches WHERE id = ?", (batch_id,)).fetchone()[0]
    database.commit()
    database.close()
    _upgrade(tmp_path)
    calls = Calls(Store(f"sqlite:///{tmp_path / 'pubworks.db'}"), backend)
    assert calls.expire() == 1
    (claim,) = calls.take_up(calls.looks())
    assert (claim.batch_id, claim.attempt, claim.provider_job_id) == (f"{job_id}-1", 1, "ibm-7")
    assert [row.id for row in calls.do(doubts.held)] == [f"{job_id}-2"]
    calls.do(doubts.resolve, f"{job_id}-2", "resubmit")
    assert [claim.batch_id for claim in calls.taken(most=9).claims] == [batch_id, f"{job_id}-2"]
    calls.store.close()


def _upgrade(folder: Path) -> None:
    store = Store(f"sqlite:///{folder / 'pubworks.db'}")
    store.upgrade()
    store.check_schema()
    store.close()


if __name__ == "__main__":
    write_newest()
