"""The parts of the simulated QPU that need no server."""

from __future__ import annotations

import io
import json
import re
import sys
import zlib
from pathlib import Path

import pytest
from pydantic import ValidationError
from qiskit import QuantumCircuit, qpy
from qiskit.providers.basic_provider import BasicSimulator

from pubworks.testing.qpu import compute
from pubworks.testing.qpu.faults import Chance
from pubworks.testing.qpu.settings import Fault, QpuSettings
from pubworks.testing.qpu.traffic import Bucket, Traffic

PAGE = Path(__file__).parents[2] / "docs" / "simulated-qpu.md"


def bell(name: str = "bell") -> QuantumCircuit:
    circuit = QuantumCircuit(2, name=name)
    circuit.h(0)
    circuit.cx(0, 1)
    circuit.measure_all()
    return circuit


def task(circuits: list[QuantumCircuit], **changes) -> bytes:
    buffer = io.BytesIO()
    qpy.dump(circuits, buffer, version=15)
    line = {"shots": 100, "seed": 5, "memory": True, "server_seed": 0} | changes
    return json.dumps(line).encode() + b"\n" + buffer.getvalue()


def answers(*tasks: bytes) -> list[bytes]:
    written = io.BytesIO()
    compute.serve(io.BytesIO(b"".join(len(one).to_bytes(4) + one for one in tasks)), written)
    written.seek(0)
    return [written.read(int.from_bytes(head)) for head in iter(lambda: written.read(4), b"")]


@pytest.mark.parametrize(
    "changes",
    [{"no_such": 1}, {"fail": 1.5}, {"drop_after_next": -1}, {"queue_s": [2, 1]}, {"queue_s": -1},
     {"max_circuits": 0}, {"advertised_max_shots": "some"}, {"retry_after": "often"}, {"error_status": 429}],
)  # fmt: skip
def test_wrong_settings_are_refused(changes) -> None:
    with pytest.raises(ValidationError):
        QpuSettings().changed(changes)


def test_a_change_keeps_the_other_settings() -> None:
    settings = QpuSettings().changed({"fail": 0.5, "queue_s": [1, 2]}).changed({"slow_next": 3})
    assert (settings.fail, settings.queue_s, settings.slow_next) == (0.5, (1, 2), 3)


def test_a_limit_is_advertised_as_it_is_or_otherwise_or_not_at_all() -> None:
    settings = QpuSettings(max_shots=100)
    assert settings.advertised("max_shots") == 100
    assert settings.changed({"advertised_max_shots": 500}).advertised("max_shots") == 500
    assert settings.changed({"advertised_max_shots": None}).advertised("max_shots") is None


def test_every_fault_has_a_probability_and_a_counter() -> None:
    assert [fault for fault in Fault if {fault, f"{fault}_next"} - QpuSettings.model_fields.keys()] == []


def test_counters_come_before_chance() -> None:
    chance = Chance(QpuSettings(fail_next=2))
    assert [chance.strikes(Fault.FAIL) for _ in range(4)] == [True, True, False, False]
    assert chance.settings.fail_next == 0


def draws(**settings) -> list[bool]:
    chance = Chance(QpuSettings(fail=0.5, **settings))
    found = []
    for _ in range(50):
        chance.strikes(Fault.SLOW)
        found.append(chance.strikes(Fault.FAIL))
    return found


def test_chance_is_seeded_and_faults_do_not_move_each_other() -> None:
    assert draws(seed=1) == draws(seed=1) == draws(seed=1, slow=0.5)
    assert draws(seed=1) != draws(seed=2)
    assert 10 < sum(draws(seed=1)) < 40


def test_seconds_are_drawn_from_their_span() -> None:
    chance, again = Chance(QpuSettings()), Chance(QpuSettings())
    drawn = [chance.seconds("run_s", (1, 3)) for _ in range(100)]
    assert drawn == [again.seconds("run_s", (1, 3)) for _ in range(100)]
    assert min(drawn) < 1.5 < 2.5 < max(drawn) <= 3
    assert chance.seconds("run_s", 4) == 4


def test_a_new_seed_starts_the_draws_anew() -> None:
    chance = Chance(QpuSettings(seed=1))
    first = chance.seconds("run_s", (0, 1))
    chance.use(QpuSettings(seed=2))
    assert chance.seconds("run_s", (0, 1)) != first
    chance.use(QpuSettings(seed=1))
    assert chance.seconds("run_s", (0, 1)) == first


def test_the_bucket_gives_a_burst_and_then_its_rate() -> None:
    bucket = Bucket.full(rate=2, burst=3, now=0)
    assert [bucket.take(0) for _ in range(4)] == [0, 0, 0, 0.5]
    assert bucket.take(0.25) == 0.25  # a refused request costs nothing
    assert bucket.take(0.5) == 0
    assert [bucket.take(100) for _ in range(4)] == [0, 0, 0, 0.5]  # never more than the burst
    assert Bucket.full(rate=2.5, burst=None, now=0).burst == 3


def test_the_window_of_one_second_slides() -> None:
    traffic = Traffic()
    for now in (0.0, 0.5, 0.9, 1.0, 1.1, 1.4, 3.0):
        traffic.arrive("status", now, rate=3)
    assert traffic.peak_per_second == 5  # from 0.5 to 1.4; 0.0 and 1.0 are not in one window
    assert traffic.over_rate == 2  # those of 1.1 and 1.4


def test_results_are_those_of_aer_with_the_same_seed() -> None:
    aer = pytest.importorskip("qiskit_aer").AerSimulator()
    (answer,) = answers(task([bell(), bell()]))
    direct = aer.run([bell(), bell()], shots=100, seed_simulator=5, memory=True).result()
    results = json.loads(zlib.decompress(answer[1:]))["results"]
    assert answer[:1] == compute.GOOD
    assert [item["data"]["memory"] for item in results] == [item.data.memory for item in direct.results]


def test_without_aer_qiskits_own_simulator_computes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "qiskit_aer", None)
    (answer,) = answers(task([bell()]))
    direct = BasicSimulator().run(bell(), shots=100, seed_simulator=5, memory=True).result()
    assert json.loads(zlib.decompress(answer[1:]))["results"][0]["data"]["memory"] == direct.results[0].data.memory


def test_what_cannot_be_computed_leaves_the_next_alone() -> None:
    bad, good = answers(b'{"shots": 1, "seed": 1, "memory": false, "server_seed": 0}\nnonsense', task([bell()]))
    assert bad.startswith(compute.BAD + b"Qiskit")
    assert good[:1] == compute.GOOD


def test_the_seed_of_a_job_without_one_is_its_content() -> None:
    other = bell()
    other.x(0)
    seed = compute.content_seed([bell("a")], 0)
    assert compute.content_seed([bell("b")], 0) == seed
    assert len({seed, compute.content_seed([bell()], 1), compute.content_seed([other], 0)}) == 3


@pytest.mark.skipif(not PAGE.exists(), reason="the documentation is not installed")
def test_the_page_names_every_setting() -> None:
    rows = re.findall(r"^\| (`.*?`) \|", PAGE.read_text(), re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert QpuSettings.model_fields.keys() - named == set()
