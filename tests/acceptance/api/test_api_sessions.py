"""Sessions over HTTP belong to who opened them; and the calls with which clients wait, cancel and go on with a job."""

from __future__ import annotations

import json
import os
import re
import socket
import threading
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.acceptance.api.breaking import breaking
from tests.acceptance.api.test_api_access import problem
from ulid import ULID

from pubworks.client import Client
from pubworks.states import Scope
from pubworks.store import jobs
from pubworks.store.tables import chunks
from pubworks.testing.store.calls import draft, one_each


def opened(http: Any, session_id: str | None = None, **asked: Any) -> Any:
    return http.put(f"/v1/sessions/{session_id or ULID()}", json={"backend": "basic", **asked})


def test_a_session_is_opened_once_and_is_its_owners(served: Any) -> None:
    name = str(ULID())
    with served.user("ann") as ann, served.user("ben") as ben, served.user("olga", Scope.OPERATE) as olga:
        first, again = (opened(ann, name, mode="batch", max_time_s=60).json() for _ in range(2))
        assert {**first, "now": 0} == {**again, "now": 0}
        assert (first["owner"], first["mode"], first["status"], first["max_time_s"]) == ("ann", "batch", "Pending", 60)
        assert [one["id"] for one in ann.get("/v1/sessions").json()["sessions"]] == [name]
        assert ben.get("/v1/sessions").json() == {"sessions": []}
        assert name in [one["id"] for one in olga.get("/v1/sessions", params={"mode": "batch"}).json()["sessions"]]
        for answer in (
            opened(ben, name), ben.get(f"/v1/sessions/{name}"), ben.post(f"/v1/sessions/{name}/close"),
            ben.post(f"/v1/sessions/{name}/cancel"),
            ben.post("/v1/jobs", files={"job": (None, json.dumps({"backend": "basic", "pubs": [], "session": name}))}),
        ):  # fmt: skip
            assert problem(answer) == (403, "NotAllowed", "FAILED")
        assert problem(ben.get(f"/v1/sessions/{name[-6:]}")) == (404, "SessionNotFound", "NOT_FOUND")
        opened(ann)
        assert "Several" not in ben.get("/v1/sessions/0").text, "those that fit are another's"
        own = opened(ben, f"{name[:-1]}{'1' if name[-1] == '0' else '0'}").json()["id"]
        assert ben.get(f"/v1/sessions/{name[:-1]}").json()["id"] == own
        job = ann.post("/v1/jobs", files={"job": (None, json.dumps({"backend": "basic", "pubs": [], "session": name}))})
        assert job.json()["session"] == name
        assert ann.get(f"/v1/sessions/{name[-8:]}").json()["jobs"] == {"DONE": 1}
        assert [olga.post(f"/v1/sessions/{name}/close").json()["closed"] for _ in range(2)] == [True, False]
        assert ann.post(f"/v1/sessions/{name}/cancel").json()["cancelled"] == 0


@pytest.mark.parametrize("asked", [{"backend": "nothing"}, {"mode": "other"}, {"max_time_s": 0}, {"more": 1}])
def test_a_wrong_session_is_refused(served: Any, asked: dict[str, Any]) -> None:
    with served.user("ann") as ann, served.user("rita", Scope.READ) as rita:
        assert opened(ann, **asked).status_code == 422
        assert opened(ann, "short").status_code == 422
        assert problem(opened(rita)) == (403, "NotAllowed", "FAILED")


def test_who_waits_is_answered_once_something_happens_that_they_may_see(served: Any) -> None:
    with served.user("wanda") as wanda, served.user("walt") as walt:
        job = served.job(owner="wanda")
        now = wanda.get("/v1/wait").json()
        assert (now["id"], now["status"]) == (None, None)
        assert wanda.get("/v1/wait", params={"job": job[-9:], "after": 0}).json()["status"] == "DONE"
        found: list[Any] = []
        asked = {"after": now["after"], "most_s": 20}
        waiting = threading.Thread(target=lambda: found.append(wanda.get("/v1/wait", params=asked).json()))
        waiting.start()
        served.job(owner="walt")
        served.job(owner="wanda")
        waiting.join(15)
        assert found[0]["after"] > now["after"]
        quiet = walt.get("/v1/wait", params={"after": found[0]["after"] + 100, "most_s": 0.1})
        assert quiet.json()["after"] >= found[0]["after"]
        assert walt.get("/v1/wait", params={"job": job}).status_code == 404


def test_many_jobs_are_cancelled_by_their_owner_alone(served: Any) -> None:
    with served.user("carl") as carl, served.user("olga", Scope.OPERATE) as olga:
        shared = json.dumps({"backend": "basic", "pubs": [], "tags": ["mass"], "shared": True})
        assert olga.post("/v1/jobs", files={"job": (None, shared)}).status_code == 201
        assert carl.post("/v1/jobs/cancel", json={"tags": ["mass"]}).json() == {"cancelled": 0}
        assert carl.post("/v1/jobs/cancel", json={}).status_code == 422
        nothing = carl.post("/v1/jobs/cancel", json={"session": "nothing"})
        assert problem(nothing) == (404, "SessionNotFound", "NOT_FOUND")


def test_the_parts_of_a_job_are_for_those_who_may_see_it(served: Any) -> None:
    job = served.job(owner="paul")
    with served.user("paul") as paul, served.user("mary") as mary:
        for path in ("pubs", "pubs/0", "pubs/0/chunks", "inputs", "results?format=bytes&first=1&pub=0"):
            assert paul.get(f"/v1/jobs/{job}/{path}").status_code == 200
            assert mary.get(f"/v1/jobs/{job}/{path}").status_code == 404
        assert paul.get(f"/v1/jobs/{job}/pubs").json() == {"id": job, "finished": [], "missing": {}}
        known = paul.get("/v1/backends/basic").json()
        assert (known["name"], known["factory"]) == ("basic", None)
        assert paul.get("/v1/backends/nothing").status_code == 422


def test_who_cancels_their_session_leaves_the_jobs_of_others_in_it(served: Any) -> None:
    with served.user("ines") as ines, served.user("olga", Scope.OPERATE) as olga:
        name = opened(ines).json()["id"]
        theirs, mine = (
            replace(draft(served.client.new_id(), *one_each(1), backend="basic", session=name), owner=owner)
            for owner in ("olga", "ines")
        )
        for job in (theirs, mine):
            with served.client.store.write() as connection:
                jobs.submit(connection, job)
        assert ines.post(f"/v1/sessions/{name}/cancel").json()["cancelled"] == 1
        assert [olga.get(f"/v1/jobs/{job.id}").json()["status"] for job in (theirs, mine)] == ["QUEUED", "CANCELLED"]
        assert olga.post(f"/v1/sessions/{name}/cancel").json()["cancelled"] == 1


def test_counts_that_come_during_a_download_make_none_twice(served: Any) -> None:
    job = replace(draft(served.client.new_id(), *one_each(1), backend="basic"), owner="paul")

    def store(*first_shots: int) -> None:
        with served.client.store.write() as connection:
            for shot in first_shots:
                row = {"batch_id": f"{job.id}-0", "job_id": job.id, "pub": 0, "first": 0, "end": 1, "shots": 10}
                data = bytes([shot]) * (5 << 20)
                connection.execute(chunks.insert().values(position=shot, first_shot=shot, outcomes=data, **row))

    with served.client.store.write() as connection:
        jobs.submit(connection, job)
    store(0, 20, 40)
    with (
        breaking(served.url) as way, Client(way.url, token=served.token("paul", Scope.READ)) as paul,
        paul.ledger.chunks(job.id, 0) as found,
    ):  # fmt: skip
        paul.ledger.close()
        way.breaks.append(("answer", 11 << 20))  # in the third
        seen = [next(found).first_shot for _ in range(2)]
        store(10, 30)
        assert [*seen, *(chunk.first_shot for chunk in found)] == [0, 20, 30, 40]
        assert len(way.broken) == 1


def test_who_fetches_inputs_slowly_has_them_on_disk(serve_on: Any) -> None:
    def megabytes() -> int:
        return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{served.process.pid}/status").read_text())[1]) >> 10  # type: ignore[index]

    with serve_on() as served, ExitStack() as readers:
        job = replace(draft(served.client.new_id(), *one_each(1), backend="basic"), owner="paul")
        job = replace(job, pubs=(replace(job.pubs[0], parameter_values=os.urandom(50 << 20)),))
        with served.client.store.write() as connection:
            jobs.submit(connection, job)
        narrow = httpx.HTTPTransport(socket_options=[(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)])
        token = {"Authorization": f"Bearer {served.token('paul', Scope.READ)}"}
        paul = readers.enter_context(httpx.Client(base_url=served.url, headers=token, transport=narrow, timeout=60))
        with served.user("paul") as fast:
            size = len(fast.get(f"/v1/jobs/{job.id}/inputs").content)
        before = megabytes()
        slow = [readers.enter_context(paul.stream("GET", f"/v1/jobs/{job.id}/inputs")).iter_raw() for _ in range(6)]
        assert all(next(answer) for answer in slow)
        assert size > 50 << 20
        assert megabytes() - before < 200, "each has 50 MiB to come"
