"""Jobs over HTTP: submitted, planned, found, fetched; the same as those of the client, bit for bit."""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from qiskit import QuantumCircuit, qpy
from qiskit.circuit import Parameter

from pubworks.client import Client, Estimator, Sampler
from pubworks.codec.results import decode
from pubworks.states import Scope
from pubworks.store import results
from pubworks.web import models

SEED = {"seed_simulator": 7}
GHZ = 'OPENQASM 3.0;\ninclude "stdgates.inc";\nqubit[2] q;\nbit[2] c;\nh q[0];\ncx q[0], q[1];\nc = measure q;\n'


def turn(measured: bool = True) -> QuantumCircuit:
    circuit = QuantumCircuit(1, name="turn")
    circuit.ry(Parameter("a"), 0)
    circuit.rz(Parameter("b"), 0)
    if measured:
        circuit.measure_all()
    return circuit


def as_qpy(*circuits: QuantumCircuit, version: int | None = None) -> bytes:
    buffer = io.BytesIO()
    qpy.dump(list(circuits), buffer, **({"version": version} if version else {}))
    return buffer.getvalue()


def as_npy(values: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.asarray(values), allow_pickle=True)
    return buffer.getvalue()


def upload(http: Any, job: dict[str, Any], path: str = "/v1/jobs", key: str | None = None, **parts: bytes) -> Any:
    files = {
        "job": (None, json.dumps({"backend": "basic", **job})),
        **{name: (name, part) for name, part in parts.items()},
    }
    return http.post(path, files=files, headers={"Idempotency-Key": key} if key else {})


@pytest.fixture(scope="module")
def worker(served: Any) -> Iterator[Client]:
    """A client in this process on the same database, which does the work."""
    with Client(served.client.settings) as client:
        client.start_embedded("basic")
        yield client


def stored(client: Client, job_id: str) -> dict[int, bytes]:
    with client.store.read() as connection:
        return results.load_results(connection, job_id)


def test_a_sampler_job_has_the_same_bits_as_one_of_the_client(served: Any, worker: Client) -> None:
    values = [[0.1, 0.2], [0.3, 0.4], [1.5, 2.5]]
    bell = QuantumCircuit(2, name="bell")
    bell.h(0)
    bell.cx(0, 1)
    bell.measure_all()
    pubs = [{"circuit": "c", "values": "v", "shots": 50}, {"circuit": "c", "index": 1}, {"circuit": "q"},
            {"circuit": "c", "values": values[0]}, {"circuit": "c", "index": 1, "shape": [2]}]  # fmt: skip
    with served.user("ann") as ann:
        answer = upload(
            ann, {"pubs": pubs, "options": {**SEED, "default_shots": 20}, "name": "n", "tags": ["t"]},
            c=as_qpy(turn(), bell), v=as_npy(values), q=GHZ.encode(),
        )  # fmt: skip
        assert answer.status_code == 201, answer.text
        job = answer.json()
        assert job.keys() == models.Submitted.model_fields.keys()
        assert (job["owner"], job["name"], job["tags"], job["num_pubs"]) == ("ann", "n", ["t"], 5)
        assert answer.headers["location"] == f"/v1/jobs/{job['id']}"
        theirs = worker.job(job["id"])
        theirs.result(30)
        inputs = theirs.inputs
        ours = Sampler("basic", options={**SEED, "default_shots": 20}, client=worker).run(inputs)
        ours.result(30)
        assert stored(worker, job["id"]) == stored(worker, ours.job_id())
        frames = ann.get(f"/v1/jobs/{job['id']}/results", params={"format": "bytes"}).content
        assert unframed(frames) == stored(worker, job["id"])
        document = ann.get(f"/v1/jobs/{job['id']}/results").json()
        assert [pub["pub"] for pub in document["pubs"]] == [0, 1, 2, 3, 4]
        assert document["missing"] == []
        counts = theirs.result()[1].data.meas.get_counts()
        assert document["pubs"][1]["registers"][0]["counts"] == [counts]
        array = np.load(io.BytesIO(ann.get(f"/v1/jobs/{job['id']}/results/0/meas.npy").content))
        np.testing.assert_array_equal(array, theirs.result()[0].data.meas.array)


def unframed(data: bytes) -> dict[int, bytes]:
    found, place, frame = {}, 0, struct.Struct("!IQ")
    while place < len(data):
        pub, size = frame.unpack_from(data, place)
        place += frame.size
        found[pub] = data[place : place + size]
        place += size
    return found


def test_an_estimator_job_has_the_same_numbers_as_one_of_the_client(served: Any, worker: Client) -> None:
    values, observables = [[0.1, 0.2], [0.3, 0.4]], ["Z", {"X": 0.5, "Y": 1.0}]
    with served.user("ann") as ann:
        pub = {"circuit": "c", "values": values, "observables": observables, "precision": 0.1}
        job = upload(ann, {"primitive": "estimator", "pubs": [pub], "options": SEED}, c=as_qpy(turn(False))).json()
        worker.job(job["id"]).result(30)
        ours = Estimator("basic", options=SEED, client=worker).run([(turn(False), observables, values, 0.1)])
        expected = ours.result(30)[0]
        found = decode(ann.get(f"/v1/jobs/{job['id']}/results/0", params={"format": "bytes"}).content)
        np.testing.assert_array_equal(found.data.evs, expected.data.evs)
        np.testing.assert_array_equal(found.data.stds, expected.data.stds)
        assert ann.get(f"/v1/jobs/{job['id']}/results/0").json()["evs"] == expected.data.evs.tolist()


def test_one_key_is_one_job_for_each_user(served: Any) -> None:
    job = {"pubs": [{"circuit": "c"}], "backend": "basic"}
    with served.user("ann") as ann, served.user("ben") as ben:
        first, again, other = (upload(user, job, key="k", c=GHZ.encode()) for user in (ann, ann, ben))
        assert (first.status_code, again.status_code, other.status_code) == (201, 200, 201)
        assert first.json()["id"] == again.json()["id"] != other.json()["id"]
        changed = upload(ann, {**job, "shots": 5}, key="k", c=GHZ.encode())
        assert (changed.status_code, changed.json()["code"]) == (422, "USAGE")


def test_a_plan_stores_nothing_and_is_what_the_job_becomes(served: Any) -> None:
    job = {"pubs": [{"circuit": "c", "shots": shots} for shots in (10, 20)]}
    with served.user("peter") as peter:
        plan = upload(peter, job, path="/v1/plan", c=GHZ.encode()).json()
        assert peter.get("/v1/jobs").json()["jobs"] == []
        assert upload(peter, job, c=GHZ.encode()).json()["num_batches"] == plan["num_batches"] == 2


@pytest.mark.parametrize(
    ("job", "parts", "told"),
    [
        ({"pubs": [{"circuit": "c"}]}, {}, "no part 'c'"),
        ({"pubs": [{"circuit": "c"}]}, {"c": b"nonsense"}, "not OpenQASM 3"),
        ({"pubs": [{"circuit": "c"}]}, {"c": b"QISKIT" + bytes([12]) + bytes(100)}, "QPY version 12 is refused"),
        ({"pubs": [{"circuit": "c"}]}, {"c": as_qpy(turn())[:80]}, "damaged"),
        ({"pubs": [{"circuit": "c"}]}, {"c": as_qpy(turn())}, "parameter"),
        ({"pubs": [{"circuit": "c", "index": 1}]}, {"c": as_qpy(turn())}, "none of them"),
        ({"pubs": [{"circuit": "c", "values": [1.0]}]}, {"c": as_qpy(turn())}, "do not end with 2"),
        ({"pubs": [{"circuit": "c", "values": [[1.0, 2], [3]]}]}, {"c": as_qpy(turn())}, "values"),
        ({"pubs": [{"circuit": "c", "values": "v"}]}, {"c": as_qpy(turn()), "v": as_npy([None, object])}, "values"),
        ({"pubs": [{"circuit": "c", "values": "v"}]}, {"c": as_qpy(turn()), "v": as_npy([1.0, np.nan])}, "finite"),
        ({"pubs": [{"circuit": "c", "observables": "Z"}]}, {"c": GHZ.encode()}, "observables is not for"),
        ({"pubs": [{"circuit": "c"}], "options": {"no": 1}}, {"c": GHZ.encode()}, "no"),
        ({"pubs": [{"circuit": "c"}], "backend": "nowhere"}, {"c": GHZ.encode()}, "Unknown backend"),
        ({"pubs": [{"circuit": "c"}], "backend": "live.1"}, {"c": GHZ.encode()}, "Unknown backend"),
        ({"pubs": [{"circuit": "c", "shape": [10**6, 10**6]}]}, {"c": GHZ.encode()}, ""),
        ({"pubs": [{"circuit": ""}]}, {}, "job.pubs.0.circuit"),
        ({"primitive": "teleporter", "pubs": []}, {}, "job.primitive"),
    ],
)
def test_what_cannot_be_submitted_is_told_and_stores_nothing(
    served: Any, job: dict[str, Any], parts: dict[str, bytes], told: str
) -> None:
    with served.user("eve") as eve:
        answer = upload(eve, job, **parts)
        assert (answer.status_code, answer.json()["code"]) == (422, "USAGE"), answer.text
        assert told in answer.json()["detail"]
        assert eve.get("/v1/jobs").json()["jobs"] == []


def test_results_that_are_not_there_are_told(served: Any) -> None:
    with served.user("ann") as ann:
        job = upload(ann, {"pubs": [{"circuit": "c"}]}, c=GHZ.encode(), key="never run").json()["id"]
        with served.user("olga", Scope.OPERATE) as olga:
            olga.post(f"/v1/jobs/{job}/cancel")
        assert ann.get(f"/v1/jobs/{job}").json()["status"] in ("CANCELLED", "DONE")
        assert ann.get(f"/v1/jobs/{job}/results/5").json()["code"] == "FAILED"
        assert ann.get(f"/v1/jobs/{job}/results/0/nothing.npy").status_code == 409


def test_pages_follow_each_other_to_the_end(served: Any) -> None:
    ids = [served.job(owner="paul", name=f"n{number}") for number in range(5)]
    with served.user("paul") as paul:
        for descending in (True, False):
            found, cursor = [], None
            while True:
                asked = {"limit": 2, "descending": descending, **({"cursor": cursor} if cursor else {})}
                page = paul.get("/v1/jobs", params=asked).json()
                found += [job["id"] for job in page["jobs"]]
                cursor = page["next"]
                if cursor is None:
                    break
            assert found == sorted(ids, reverse=descending)
        assert [job["id"] for job in paul.get("/v1/jobs", params={"name": "n3"}).json()["jobs"]] == [ids[3]]
