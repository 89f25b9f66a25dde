"""Events as they happen: in order, none twice, none missing, to those who may see them."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any

import httpx
import pytest

from pubworks.store import feed


@contextmanager
def watching(http: Any, **asked: Any) -> Iterator[Iterator[dict[str, Any]]]:
    """Give the events of a stream, once it has begun."""
    headers = {"Last-Event-ID": str(asked.pop("last"))} if "last" in asked else {}
    with http.stream("GET", "/v1/events", params=asked, headers=headers) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = answer.iter_lines()
        assert next(lines) == ": here"
        yield (json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: "))


def test_what_happens_is_told_to_those_who_may_see_it(served: Any) -> None:
    with served.user("ann") as ann, served.user("ben") as ben, watching(ann) as seen, watching(ben) as other:
        mine = served.job(owner="ann")
        shared = served.job(owner="ann", shared=True)
        assert [(event["job"], event["what"]) for event in islice(seen, 4)] == [
            (mine, "submitted"), (mine, "finished"), (shared, "submitted"), (shared, "finished"),
        ]  # fmt: skip
        assert next(other)["job"] == shared


def test_others_are_told_of_a_job_from_when_it_is_shared_until_it_is_not(served: Any) -> None:
    job = served.job(owner="ann")
    with served.user("ann") as ann, served.user("ben") as ben, watching(ben) as told:
        assert ben.get("/v1/wait", params={"job": job}).status_code == 404
        served.client.job(job).shared = True
        assert ben.get(f"/v1/jobs/{job}").json()["shared"]
        with watching(ben, after=0, job=job) as all_of_it:
            assert [next(all_of_it)["what"] for _ in range(3)] == ["submitted", "finished", "shared"]
            assert ann.put(f"/v1/jobs/{job}/shared", json={"shared": False}).json()["shared"] is False
            assert next(all_of_it)["what"] == "unshared"
        assert "shared" in (event["what"] for event in told)
        assert next(told)["what"] == "unshared"
        assert ben.get(f"/v1/jobs/{job}").status_code == 404
        ann.post(f"/v1/jobs/{job}/cancel")
        served.client.job(served.job(owner="ben")).tags = ["last"]
        assert next(told)["job"] != job
        with watching(ben, after=0) as again:
            assert next(event["what"] for event in again if event["job"] == job) == "unshared"


def test_who_waits_for_a_job_is_not_told_its_state_when_it_is_not_shared_any_more(served: Any) -> None:
    job = served.job(owner="ann", shared=True)
    with served.user("ben") as ben:
        answer = ben.get("/v1/wait", params={"job": job})
        timer = threading.Timer(0.3, setattr, (served.client.job(job), "shared", False))
        timer.start()
        while answer.status_code == 200:
            after = answer.json()["after"]
            answer = ben.get("/v1/wait", params={"job": job, "after": after, "most_s": 20})
        timer.join()
    assert answer.status_code == 404
    with served.client.store.read() as connection:
        (event,) = [row for row in feed.after(connection, after, 100) if row.what == "unshared"]
    assert (event.job_id, event.id > after) == (job, True)


def test_who_comes_again_misses_nothing_and_gets_nothing_twice(served: Any) -> None:
    with served.user("clara") as clara:
        with watching(clara) as seen:
            jobs = [served.job(owner="clara") for _ in range(5)]
            first = [next(seen) for _ in range(3)]
        with watching(clara, last=first[-1]["id"]) as seen:
            jobs.append(served.job(owner="clara"))
            rest = [next(seen) for _ in range(9)]
        told = [event["job"] for event in first + rest]
        assert told == [job for job in jobs for _ in range(2)]
        ids = [event["id"] for event in first + rest]
        assert ids == sorted(set(ids))
        with watching(clara, after=0, job=jobs[2]) as seen:
            assert [next(seen)["what"] for _ in range(2)] == ["submitted", "finished"]
        assert clara.get("/v1/events", params={"job": "nobody"}).status_code == 404


def test_many_who_write_at_once_are_told_in_order(served: Any) -> None:
    with served.user("dora") as dora, watching(dora) as seen:
        made: list[str] = []
        threads = [threading.Thread(target=lambda: made.append(served.job(owner="dora"))) for _ in range(12)]
        for thread in threads:
            thread.start()
        found = [next(seen) for _ in range(24)]
        for thread in threads:
            thread.join()
    assert sorted({event["job"] for event in found}) == sorted(made)
    assert [event["id"] for event in found] == sorted({event["id"] for event in found})


def test_a_stream_ends_when_the_server_is_told_to(serve_on: Any) -> None:
    with serve_on() as served, served.user("ann") as ann, watching(ann) as seen:
        served.process.terminate()
        with pytest.raises((StopIteration, httpx.RemoteProtocolError)):
            next(seen)
        assert served.process.wait(20) == 0
