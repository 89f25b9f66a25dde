"""Uploads are read in processes that have little, and end without harm."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fastapi.exceptions import RequestValidationError
from hypothesis import given
from hypothesis import strategies as st

from pubworks.errors import SubmissionError
from pubworks.ledger import parcels
from pubworks.store.records import BatchDraft, JobDraft, PubDraft, Slice
from pubworks.web.reader import Reader

KNOWN = {
    "job_id": "J", "idempotency_key": None, "stored": True,
    "target": {"name": "b", "num_qubits": None, "max_circuits": None, "configured": {}, "learned": {}, "behaviour": {}},
}  # fmt: skip
JOB = b'{"backend": "b", "pubs": [{"circuit": "c", "shots": 5}]}'
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


@given(st.lists(st.binary(max_size=30)), st.data())
def test_blobs_in_files_are_written_as_those_in_memory(blobs: list[bytes], data: Any) -> None:
    file, mixed = io.BytesIO(b"before" + b"".join(blobs) + b"behind"), list[Any]()
    place = len("before")
    for blob in blobs:
        mixed.append(parcels.Span(file, place, len(blob)) if data.draw(st.booleans()) else blob)
        place += len(blob)
    written, expected = io.BytesIO(), io.BytesIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parcels, "_CHUNK", data.draw(st.integers(1, 40)))
        parcels.write(written, {"a": 1}, mixed)
    parcels.write(expected, {"a": 1}, blobs)
    assert written.getvalue() == expected.getvalue()


def test_a_file_that_ends_too_early_is_told() -> None:
    with pytest.raises(EOFError):
        parcels.write(io.BytesIO(), None, [parcels.Span(io.BytesIO(b"abc"), 1, 3)])


def known(_backend: str) -> dict[str, Any]:
    return KNOWN


@pytest.fixture(scope="module")
def reader() -> Iterator[Reader]:
    reader = Reader()
    yield reader
    reader.close()


def test_an_upload_becomes_a_job(reader: Reader) -> None:
    draft, warned = reader.draft({"job": JOB, "c": GHZ}, known)
    assert (draft.id, draft.backend, draft.pubs[0].shots, len(draft.batches), warned) == ("J", "b", 5, 1, [])


def test_what_qiskit_warns_of_is_told(reader: Reader) -> None:
    _, warned = reader.draft({"job": JOB, "c": b"OPENQASM 3.0;\nqubit[1] q;\n"}, known)
    assert "no output classical registers" in warned[0]


def test_a_defect_is_told_as_one_and_the_process_goes_on(reader: Reader) -> None:
    with pytest.raises(RuntimeError, match="KeyError"):
        reader.draft({"job": JOB}, lambda _: {})
    test_an_upload_becomes_a_job(reader)


def test_who_does_not_know_the_backend_ends_it_and_the_process_goes_on(reader: Reader) -> None:
    def unknown(backend: str) -> dict[str, Any]:
        raise OSError(f"no {backend}")

    first = reader._slots.queue[-1]
    with pytest.raises(OSError, match="no b"):
        reader.draft({"job": JOB, "c": GHZ}, unknown)
    test_an_upload_becomes_a_job(reader)
    assert reader._slots.queue[-1] is first


def test_a_plan_has_neither_circuits_nor_values(reader: Reader) -> None:
    whole, _ = reader.draft({"job": JOB, "c": GHZ}, known)
    planned, _ = reader.draft({"job": JOB, "c": GHZ}, lambda _: {**KNOWN, "stored": False})
    assert planned == replace(whole, circuits={})


def test_a_request_that_is_none_is_told_shortly(reader: Reader) -> None:
    job = {"pubs": [], "backend": "b", **{"x" * 9999 + str(number): 1 for number in range(9)}}
    with pytest.raises(RequestValidationError) as told:
        reader.draft({"job": json.dumps(job).encode()}, known)
    assert [len(item["loc"][1]) for item in told.value.errors()] == [200] * 3
    with pytest.raises(RequestValidationError, match="json_invalid"):
        reader.draft({}, known)


def test_a_process_that_ended_while_nothing_was_read_is_replaced(reader: Reader) -> None:
    test_an_upload_becomes_a_job(reader)
    idle = reader._slots.queue[-1]
    assert idle is not None
    idle.end()
    os.waitid(os.P_PID, idle._process.pid, os.WEXITED | os.WNOWAIT)
    test_an_upload_becomes_a_job(reader)


class Deadly(parcels.Span):
    """A blob at whose third chunk a process ends."""

    process: Any = None

    def chunks(self) -> Iterator[bytes]:
        for number, chunk in enumerate(super().chunks()):
            if number == 2:
                self.process.end()
            yield chunk


def test_a_process_that_ends_while_it_is_sent_to_is_replaced(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    test_an_upload_becomes_a_job(reader)
    monkeypatch.setattr(Deadly, "process", reader._slots.queue[-1])
    with pytest.raises(SubmissionError, match="ends the reader"):
        reader.draft({"job": JOB, "c": Deadly(io.BytesIO(bytes(10_000_000)), 0, 10_000_000)}, known)
    test_an_upload_becomes_a_job(reader)


def test_what_takes_too_long_is_killed_and_the_next_upload_is_read() -> None:
    reader = Reader(read_s=1e-6)
    with pytest.raises(SubmissionError, match="takes more memory, or longer"):
        reader.draft({"job": JOB, "c": GHZ}, known)
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
