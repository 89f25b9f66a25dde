"""What a client sends to a server is the same bytes, however often it is sent, and little of them at once."""

from __future__ import annotations

import io
import math
from typing import Any, cast

import httpx
import numpy as np
from benchmarks import memory
from hypothesis import given
from hypothesis import strategies as st
from qiskit import QuantumCircuit
from qiskit.circuit import ParameterVector
from tests.unit.test_sampler_equals_reference import pubs as sampler_pubs

from pubworks.client import Client, Sampler
from pubworks.codec.arrays import decompress
from pubworks.ledger.upload import Part, files_of
from pubworks.planning.target import Target


class Desk:
    """Stands for the client, and keeps what would be submitted."""

    def enter(self, backend: str) -> str:
        return backend

    def target(self, name: str) -> Target:
        return Target(name)

    def new_id(self) -> str:
        return "J"

    def submit(self, draft: Any, pubs: Any) -> None:
        self.kept = draft, pubs


def drafted(work: list[Any]) -> tuple[Any, Any]:
    desk = Desk()
    Sampler("b", client=cast("Client", desk)).run(work)
    return desk.kept


def sent(files: Any) -> httpx.Request:
    return httpx.Request("POST", "http://lab", files=files, headers={"Content-Type": "multipart/form-data; boundary=x"})


def turned(name: str = "turned") -> QuantumCircuit:
    circuit = QuantumCircuit(1, name=name)
    for parameter in ParameterVector("a", 40):
        circuit.rx(parameter, 0)
    circuit.measure_all()
    return circuit


def as_npy(values: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, np.ascontiguousarray(values))
    return file.getvalue()


@given(st.lists(sampler_pubs(), min_size=1, max_size=3), st.sampled_from([(0, 40), (2, 3, 40), (7, 40)]))
def test_the_bytes_are_those_of_circuits_and_values_however_often_they_are_sent(
    work: list[Any], shape: tuple[int, ...]
) -> None:
    values = np.asfortranarray(np.linspace(0, 6, math.prod(shape)).reshape(shape))
    draft, pubs = drafted([*work, (turned(), values)])
    files = files_of(draft, pubs, "k")
    request = sent(files)
    assert isinstance(request.stream, httpx.SyncByteStream)
    bodies = [b"".join(request.stream) for _ in range(2)]
    circuits = {name: decompress(data) for name, data in draft.circuits.items()}
    known = {**circuits, f"values{len(work)}": as_npy(values)}
    assert known.keys() <= dict(files).keys()
    whole = [(name, (name, known.get(name) or _bytes(part))) for name, (_, part) in files]
    assert bodies == [sent(whole).read()] * 2
    assert int(request.headers["content-length"]) == len(bodies[0])


def _bytes(part: bytes | Part) -> bytes:
    if isinstance(part, bytes):
        return part
    part.seek(0)
    return b"".join(iter(lambda: part.read(1), b""))


def test_one_pub_at_a_time_is_unpacked() -> None:
    circuits = [turned(f"c{number}") for number in range(8)]
    for number, circuit in enumerate(circuits):
        circuit.metadata = {"long": f"{number}" * 2_000_000}
    size = 1_600_000
    draft, pubs = drafted([(circuit, np.zeros((size // 320, 40))) for circuit in circuits])
    bodies: list[int] = []

    def send() -> None:
        request = sent(files_of(draft, pubs, None))
        assert isinstance(request.stream, httpx.SyncByteStream)
        bodies.append(sum(len(chunk) for chunk in request.stream))

    peak = memory.of_python(send)
    assert bodies[0] > 8 * (size + 2_000_000)
    assert peak < 2 * (size + 2_000_000)
