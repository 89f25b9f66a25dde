"""Uploads are read in processes that have little, and end without harm."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pubworks.errors import SubmissionError
from pubworks.ledger import parcels
from pubworks.store.records import BatchDraft, JobDraft, PubDraft, Slice
from pubworks.web.reader import Reader

ASKED = {
    "primitive": "sampler", "options": {}, "shots": None, "precision": None, "name": None, "tags": [], "job_id": "J",
    "idempotency_key": None,
    "target": {"name": "b", "num_qubits": None, "max_circuits": None, "configured": {}, "learned": {}, "behaviour": {}},
}  # fmt: skip
PUB = {"circuit": "c", "index": 0, "values": None, "shape": None, "observables": None, "shots": 5, "precision": None}
GHZ = b"OPENQASM 3.0;\nqubit[1] q;\nbit[1] c;\nc = measure q;\n"

blobs = st.none() | st.binary(max_size=20)
json_values = st.recursive(st.none() | st.integers() | st.text(), lambda inner: st.dictionaries(st.text(), inner))
pubs = st.builds(
    PubDraft, circuit=st.text(), shape=st.lists(st.integers(0, 9)).map(tuple), size=st.integers(), shots=st.integers(),
    parameter_values=blobs, readout=st.just({"num_clbits": 1}), circuit_metadata=json_values, measurement=blobs,
)  # fmt: skip
slices = st.builds(Slice, *[st.integers()] * 4)
batches = st.builds(BatchDraft, st.integers(), st.none() | st.integers(), st.lists(slices).map(tuple), st.integers())
drafts = st.builds(
    JobDraft, st.text(), st.none() | st.text(), st.text(), st.text(), st.just({"seed_simulator": 1}),
    st.dictionaries(st.text(), st.binary(max_size=20)), st.lists(pubs, max_size=3).map(tuple),
    st.lists(batches, max_size=3).map(tuple), tags=st.lists(st.text()).map(tuple),
)  # fmt: skip


@given(drafts)
def test_a_job_comes_back_as_it_went(draft: JobDraft) -> None:
    buffer = io.BytesIO()
    parcels.write(buffer, *parcels.pack_draft(draft))
    buffer.seek(0)
    assert parcels.unpack_draft(*parcels.read(buffer, 1 << 20)) == draft


@given(drafts, st.data())
def test_half_a_parcel_is_none(draft: JobDraft, data: Any) -> None:
    buffer = io.BytesIO()
    parcels.write(buffer, *parcels.pack_draft(draft))
    whole = buffer.getvalue()
    end = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(EOFError):
        parcels.read(io.BytesIO(whole[:end]), 1 << 20)
    with pytest.raises(EOFError):
        parcels.read(io.BytesIO(whole), 1)


@pytest.fixture(scope="module")
def reader() -> Iterator[Reader]:
    reader = Reader()
    yield reader
    reader.close()


def test_an_upload_becomes_a_job(reader: Reader) -> None:
    draft, warned = reader.draft({**ASKED, "pubs": [PUB]}, {"c": GHZ})
    assert (draft.id, draft.backend, draft.pubs[0].shots, len(draft.batches), warned) == ("J", "b", 5, 1, [])


def test_what_qiskit_warns_of_is_told(reader: Reader) -> None:
    _, warned = reader.draft({**ASKED, "pubs": [PUB]}, {"c": b"OPENQASM 3.0;\nqubit[1] q;\n"})
    assert "no output classical registers" in warned[0]


def test_a_defect_is_told_as_one_and_the_process_goes_on(reader: Reader) -> None:
    with pytest.raises(RuntimeError, match="KeyError"):
        reader.draft({"target": {}}, {})
    test_an_upload_becomes_a_job(reader)


def test_what_takes_too_long_is_killed_and_the_next_upload_is_read() -> None:
    reader = Reader(read_s=1e-6)
    with pytest.raises(SubmissionError, match="takes more memory, or longer"):
        reader.draft({**ASKED, "pubs": [PUB]}, {"c": GHZ})
    reader._read_s = 60.0
    test_an_upload_becomes_a_job(reader)
    reader.close()


def test_the_process_has_no_secret_and_ends_with_the_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PUBWORKS_DATABASE", "postgresql://lab:s3cret@db/x")
    reader = Reader()
    process = reader._slots.get()
    assert process is not None
    reader._slots.put(process)
    pid = process._process.pid
    assert b"s3cret" not in Path(f"/proc/{pid}/environ").read_bytes()
    reader.close()
    assert not Path(f"/proc/{pid}").exists()


def test_a_confined_process_may_neither_write_nor_take_much(tmp_path: Path) -> None:
    code = """
import signal
from pubworks.web.confined import MEMORY_BYTES, confine
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
confine()
try:
    bytearray(MEMORY_BYTES)
except MemoryError:
    print("no memory", flush=True)
try:
    open("x", "wb", buffering=0).write(b"x")
except OSError:
    print("no file", flush=True)
"""
    command = [sys.executable, "-c", code]
    ran = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=60, check=True, cwd=tmp_path)
    assert ran.stdout.splitlines() == ["no memory", "no file"]
