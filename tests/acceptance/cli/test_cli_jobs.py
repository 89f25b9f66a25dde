"""Submitting, watching, fetching and cancelling jobs from the command line."""

from __future__ import annotations

import json
import signal
from typing import Any

import numpy as np
import pytest
from qiskit.primitives import BitArray

SHEET = {
    "id", "name", "tags", "primitive", "backend", "session", "status", "num_pubs", "num_batches",
    "batches_left", "created_at", "started_at", "finished_at", "pubs_done", "batches", "reasons", "workers", "waits",
    "shots", "backends", "estimated_s_left", "owner", "shared",
}  # fmt: skip


def test_submit_stores_and_returns_watch_runs_and_result_shows(place: Any) -> None:
    submitted = place.run("submit", "bell.qpy", "--backend", "basic", "--seed", "7", "--shots", "100")
    job_id = submitted.out.strip()
    assert submitted.out == f"{job_id}\n"
    assert f"pubworks watch {job_id}" in submitted.err
    assert place.status(job_id) == "QUEUED", "submit must not run anything"
    assert place.run("result", job_id).code == 4

    watched = place.run("watch", job_id[-6:])
    assert (watched.code, watched.out) == (0, "")
    assert "DONE" in watched.err

    table = place.run("result", job_id)
    assert table.code == 0
    assert table.out.splitlines()[1].split()[:4] == ["0", "-", "meas", "100"]
    [pub] = place.run("result", job_id, "--json").json["pubs"]
    [register] = pub["registers"]
    assert (register["name"], register["num_bits"], register["shots"]) == ("meas", 2, 100)
    assert sum(register["counts"][0].values()) == 100


def test_files_are_pubs_in_order_and_results_are_written_without_pickle(place: Any) -> None:
    np.save(place.folder / "values.npy", [[0.0, 0.0], [np.pi, 0.0]])
    ran = place.run("submit", "mixed.qpy", "ghz.qasm", "-b", "basic", "--values", "values.npy", "--wait", "--json")
    assert (ran.code, ran.json["status"], set(ran.json)) == (0, "DONE", SHEET)
    assert place.run("result", ran.json["id"], "-o", "out.npz").code == 0
    with np.load("out.npz", allow_pickle=False) as stored:
        assert json.loads(str(stored["info"]))["id"] == ran.json["id"]
        turned = BitArray(stored["pub0.meas"], int(stored["pub0.meas.num_bits"]))
        assert turned.get_counts(0) == {"0": 1024}
        assert turned.get_counts(1) == {"1": 1024}
        assert int(stored["pub2.c.num_bits"]) == 3
    assert place.run("result", ran.json["id"], "-o", "out.json").code == 0
    written = json.loads((place.folder / "out.json").read_text())
    assert [pub["shape"] for pub in written["pubs"]] == [[2], [], []]
    assert written["pubs"][0]["registers"][0]["counts"] == [{"0": 1024}, {"1": 1024}]


def test_a_folder_is_read_by_name_and_values_by_parameter(place: Any) -> None:
    folder = place.folder / "circuits"
    folder.mkdir()
    for name in ("turn.qpy", "bell.qpy", "ghz.qasm"):
        (place.folder / name).rename(folder / name)
    (place.folder / "values.json").write_text('{"b": [0, 0, 0], "a": [0, 3.141592653589793, 0], "other": [1, 2, 3]}')
    job_id = place.submit(folder, "--backend", "basic", "--values", "values.json", "--wait")
    pubs = place.run("result", job_id, "--json").json["pubs"]
    assert [pub["registers"][0]["num_bits"] for pub in pubs] == [2, 3, 1], "bell, ghz, turn"
    assert pubs[2]["registers"][0]["counts"] == [{"0": 1024}, {"1": 1024}, {"0": 1024}]


def test_a_job_that_fails_in_part_gives_the_rest_and_says_so(place: Any) -> None:
    np.save("values.npy", [0.1, 0.2])
    ran = place.run("submit", "mixed.qpy", "--backend", "picky", "--values", "values.npy", "--wait")
    job_id = ran.out.strip()
    assert ran.code == 1
    assert "one qubit is too few" in ran.err
    result = place.run("result", job_id, "--json")
    assert result.code == 1
    assert [pub["pub"] for pub in result.json["pubs"]] == [1]
    assert [item["pub"] for item in result.json["missing"]] == [0]
    assert "one qubit is too few" in place.run("status", job_id).out


def test_list_filters_and_find_wants_one_job(place: Any) -> None:
    assert "No jobs yet" in place.run("list").err
    ids = [place.submit("bell.qpy", "--backend", name) for name in ("basic", "picky", "basic")]
    assert [job["id"] for job in place.run("list", "--json").json["jobs"]] == ids[::-1]
    assert len(place.run("list", "--limit", 1, "--json").json["jobs"]) == 1
    assert [job["id"] for job in place.run("list", "--backend", "picky", "--json").json["jobs"]] == [ids[1]]
    assert place.run("list", "--status", "done", "--json").json == {"jobs": []}
    assert all(job_id in place.run("list").out for job_id in ids)
    ambiguous = place.run("status", ids[0][:4])
    assert (ambiguous.code, "Several jobs" in ambiguous.err) == (3, True)


def test_cancel_asks_unless_told_not_to(place: Any) -> None:
    job_id = place.submit("bell.qpy", "--backend", "basic")
    refused = place.run("cancel", job_id)
    assert (refused.code, "--yes" in refused.err, place.status(job_id)) == (2, True, "QUEUED")
    assert place.run("cancel", job_id, "--yes").code == 0
    assert place.status(job_id) == "CANCELLED"
    assert "already" in place.run("cancel", job_id).err
    assert place.run("result", job_id).code == 1
    assert place.run("watch", job_id).code == 1


def test_waiting_for_too_short_a_time_ends_with_its_own_code(place: Any) -> None:
    job_id = place.submit("bell.qpy", "--backend", "endless")
    ran = place.run("result", job_id, "--timeout", "0.1")
    assert (ran.code, f"pubworks watch {job_id}" in ran.err) == (4, True)


def test_ctrl_c_detaches_and_leaves_the_job(place: Any, finish: Any) -> None:
    job_id = place.submit("bell.qpy", "--backend", "endless")
    watching = place.start("watch", job_id, "--json")
    assert json.loads(watching.stdout.readline())["id"] == job_id
    watching.send_signal(signal.SIGINT)
    ran = finish(watching)
    assert ran.code == 130
    assert f"pubworks cancel {job_id}" in ran.err
    assert "Traceback" not in ran.err
    assert place.status(job_id) in ("QUEUED", "RUNNING")


@pytest.mark.parametrize("name", ["out.txt", "out.pickle", "nowhere/out.npz"])
def test_results_go_to_files_of_known_kinds_only(place: Any, name: str) -> None:
    job_id = place.submit("bell.qpy", "--backend", "basic")
    assert place.run("result", job_id, "-o", name, "--wait").code == 2
    assert place.status(job_id) == "QUEUED", "a wrong name is told before the wait"
