"""Large uploads: on disk and in the confined process, not in the memory of the server; and nothing of them stays."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import numpy as np
from benchmarks import memory
from qiskit.circuit.library import efficient_su2
from tests.acceptance.api.conftest import Served
from tests.acceptance.api.test_api_jobs import GHZ, as_npy, as_qpy, upload

from pubworks.states import Scope
from pubworks.testing.servers import eventually

#: Bytes of an upload, and how much of that the server may grow by.
SIZE, PART = 60_000_000, 0.25

#: An upload of one part, until its first byte.
HEAD = b'--x\r\nContent-Disposition: form-data; name="c"\r\n\r\n'
KIND = {"Content-Type": "multipart/form-data; boundary=x"}


def on_disk(served: Served) -> list[str]:
    """Return the uploads that the server has open."""
    folder = str(served.client.settings.data_dir)
    found = []
    for link in Path(f"/proc/{served.process.pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found.append(str(link.readlink()))
    return [name for name in found if name.startswith(folder) and name.endswith("(deleted)")]


def test_a_large_upload_is_not_in_the_memory_of_the_server(serve_on: Any) -> None:
    circuit = efficient_su2(10, reps=2)
    circuit.measure_all()
    shape = (SIZE // 8 // circuit.num_parameters, circuit.num_parameters)
    values = np.random.default_rng(7).uniform(0, 6, shape)
    job, qpy = {"pubs": [{"circuit": "c", "values": "v"}]}, as_qpy(circuit)
    with serve_on() as served, served.user("ann") as ann:
        pid = served.process.pid
        assert upload(ann, job, c=qpy, v=as_npy(values[:10])).status_code == 201
        idle = memory.in_use(pid)

        def grows(path: str, status: int, values: np.ndarray, **more: Any) -> None:
            asked = {**job, **more}
            peak = memory.peak(pid, lambda: answers.append(upload(ann, asked, path, c=qpy, v=as_npy(values))))
            assert answers[-1].status_code == status, answers[-1].text
            assert peak - idle < PART * SIZE

        answers: list[httpx.Response] = []
        grows("/v1/plan", 200, values)
        grows("/v1/jobs", 422, values[:, 1:])
        grows("/v1/jobs", 201, np.resize(values[:50], shape))  # what is stored is compressed
        eventually(lambda: not on_disk(served))


def test_uploads_that_fail_leave_nothing(serve_on: Any) -> None:
    with serve_on(api_max_upload_bytes=5_000_000) as served, served.user("ann") as ann:
        for _ in range(3):
            answers = [
                ann.post("/v1/jobs", content=_endless(6_000_000), headers=KIND),
                upload(ann, {"pubs": []}, v=bytes(6_000_000)),
                upload(ann, {"pubs": 5}, v=bytes(3_000_000)),
                ann.post("/v1/jobs", content=HEAD + bytes(3_000_000) + b"\r\n--x\r\nNo: name\r\n\r\n", headers=KIND),
            ]
            assert [answer.status_code for answer in answers] == [413, 413, 422, 400]
            _leave(served, 3_000_000)
        eventually(lambda: not on_disk(served))
        assert upload(ann, {"pubs": [{"circuit": "c"}]}, c=GHZ.encode()).status_code == 201


def test_an_upload_without_a_length_is_as_one_with_it(serve_on: Any) -> None:
    with serve_on() as served, served.user("ann") as ann:
        job = {"backend": "basic", "pubs": [{"circuit": "c"}]}
        files = {"job": (None, json.dumps(job)), "c": ("c", GHZ.encode())}
        request = httpx.Request("POST", served.url, files=files)
        body, kind = request.read(), request.headers["content-type"]
        answer = ann.post(
            "/v1/jobs", content=(body[i : i + 7] for i in range(0, len(body), 7)), headers={"Content-Type": kind}
        )
        assert "content-length" not in answer.request.headers
        assert answer.status_code == 201


def _endless(size: int) -> Iterator[bytes]:
    yield HEAD
    for _ in range(size // 10_000):
        yield bytes(10_000)


def _leave(served: Served, size: int) -> None:
    """Begin an upload and go before it is whole, once it is on disk."""
    parts = urlsplit(served.url)
    token = served.token("ben", Scope.SUBMIT)
    head = f"POST /v1/jobs HTTP/1.1\r\nHost: lab\r\nAuthorization: Bearer {token}\r\nContent-Length: {size}\r\n"
    with socket.create_connection((parts.hostname, parts.port)) as connection:
        connection.sendall(f"{head}Content-Type: {KIND['Content-Type']}\r\n\r\n".encode() + HEAD + bytes(size // 2))
        eventually(lambda: on_disk(served))
