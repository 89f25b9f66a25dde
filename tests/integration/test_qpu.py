"""The simulated QPU over HTTP, through its provider and its adapter: every setting does what it says."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import pytest
import requests
from qiskit import QuantumCircuit, transpile
from qiskit.providers import JobStatus, JobTimeoutError

from pubworks.testing.qpu import backend as qpu_backend
from pubworks.testing.qpu.adapter import QpuAdapter
from pubworks.testing.qpu.client import QpuError
from pubworks.testing.qpu.compute import simulator
from pubworks.testing.qpu.process import RunningQpu, running_qpu
from pubworks.testing.qpu.provider import GATES, QpuBackend, QpuProvider
from pubworks.testing.servers import eventually

NOWHERE = "http://127.0.0.1:9"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningQpu]:
    with running_qpu(log=tmp_path_factory.mktemp("qpu") / "log.jsonl", fail_text="It broke.") as running:
        yield running


@pytest.fixture
def qpu(server: RunningQpu) -> RunningQpu:
    server.reset()
    return server


@pytest.fixture
def backend(qpu: RunningQpu) -> Iterator[QpuBackend]:
    made = connect(qpu)
    yield made
    made.client.close()


def connect(qpu: RunningQpu, **options) -> QpuBackend:
    """Return a backend as the server describes it now."""
    return qpu_backend(qpu.url, **{"poll_s": 0.01, **options})


def bell(name: str = "bell") -> QuantumCircuit:
    circuit = QuantumCircuit(2, name=name)
    circuit.h(0)
    circuit.cx(0, 1)
    circuit.measure_all()
    return circuit


def refusal(backend: QpuBackend, *circuits: QuantumCircuit, **options) -> QpuError:
    with pytest.raises(QpuError) as caught:
        backend.run(list(circuits) or [bell()], **options)
    return caught.value


def done(job) -> None:
    eventually(lambda: job.status() == JobStatus.DONE)


class TestResults:
    def test_equal_those_of_the_simulator_with_the_same_seed(self, backend) -> None:
        twice = QuantumCircuit(3, 4, name="twice")
        twice.rx(0.3, range(3))
        twice.measure(0, 0)
        twice.reset(0)
        twice.ry(1.1, 0)
        twice.measure(range(3), range(1, 4))
        circuits = [bell(), twice]
        ours = backend.run(circuits, shots=300, seed_simulator=11, memory=True).result()
        direct = simulator().run(circuits, shots=300, seed_simulator=11, memory=True).result()
        for index in range(2):
            assert ours.get_memory(index) == direct.get_memory(index)
            assert ours.get_counts(index) == direct.get_counts(index)
            assert ours.results[index].header["creg_sizes"] == direct.results[index].header["creg_sizes"]
        assert [item.header["name"] for item in ours.results] == ["bell", "twice"]

    def test_have_no_memory_unless_asked(self, backend) -> None:
        assert not hasattr(backend.run(bell()).result().results[0].data, "memory")

    def test_without_a_seed_depend_on_content_alone(self, backend, qpu) -> None:
        first, again = (backend.run(bell(name)).result().results[0].data.counts for name in ("one", "two"))
        qpu.set(seed=1)
        other = backend.run(bell()).result().results[0].data.counts
        assert first == again != other

    def test_options_are_defaults(self, backend) -> None:
        backend.set_options(shots=50, seed_simulator=3, job_name="kept")
        job = backend.run(bell())
        assert job.result().get_counts() == backend.run(bell(), seed=3, shots=50).result().get_counts()
        assert backend.find_jobs("kept")[0] == job.job_id()

    def test_unknown_options_are_refused(self, backend) -> None:
        with pytest.raises(TypeError):
            backend.run(bell(), no_such=1)

    def test_every_gate_of_the_target_is_computed(self, backend) -> None:
        circuit = QuantumCircuit(3)
        for name in GATES:
            gate = backend.target.operation_from_name(name)
            if name not in ("measure", "delay"):
                circuit.append(gate.__class__(*[0.1] * len(gate.params)), range(gate.num_qubits))
        circuit.delay(10, 0)
        circuit.barrier()
        circuit.measure_all()
        assert transpile(circuit, backend, optimization_level=0).count_ops() == circuit.count_ops()
        assert sum(backend.run(circuit, shots=10).result().get_counts().values()) == 10


class TestRequests:
    def test_every_call_is_one_request(self, backend, qpu) -> None:
        job = backend.run(bell(), job_name="one")
        done(job)
        calls = (
            ("submit", lambda: backend.run(bell(), job_name="one")),
            ("status", job.status),
            ("result", job.result),
            ("list", lambda: backend.find_jobs("one")),
            ("statuses", lambda: backend.statuses([job.job_id()])),
            ("cancel", job.cancel),
            ("backend", lambda: QpuProvider(qpu.url).get_backend()),
        )
        for kind, call in calls:
            before = qpu.counts()
            call()
            after = qpu.counts()
            assert after["requests"] == before["requests"] + 1, kind
            assert after["by_kind"][kind] == before["by_kind"].get(kind, 0) + 1

    def test_a_handle_is_free(self, backend, qpu) -> None:
        before = qpu.counts()
        backend.retrieve_job("any")
        assert qpu.counts() == before

    def test_errors_of_the_connection_are_not_wrapped(self) -> None:
        with pytest.raises(requests.ConnectionError):
            QpuProvider(NOWHERE).get_backend()

    def test_errors_of_http_have_their_cause(self, backend, qpu) -> None:
        qpu.set(error_before_next=1, error_status=502)
        error = refusal(backend)
        assert (error.status_code, error.response.status_code) == (502, 502)
        assert isinstance(error.__cause__, requests.HTTPError)

    def test_the_backend_has_a_name(self, qpu) -> None:
        with pytest.raises(LookupError, match="'sim'"):
            qpu_backend(qpu.url, "other")

    def test_need_the_token(self, qpu) -> None:
        qpu.set(token="secret")
        with pytest.raises(QpuError) as caught:
            QpuProvider(qpu.url, "wrong").get_backend()
        assert caught.value.status_code == 401
        assert QpuProvider(qpu.url, "secret").get_backend().name == "sim"

    def test_nonsense_is_refused(self, qpu) -> None:
        for body in (b"", b"[]\n", b'{"circuits": []}\n', b"\xff\n"):
            assert requests.post(f"{qpu.url}/jobs", data=body, timeout=5).status_code == 400
        assert requests.get(f"{qpu.url}/jobs/none", timeout=5).status_code == 404
        assert requests.get(f"{qpu.url}/elsewhere", timeout=5).status_code == 404


class TestTime:
    def test_jobs_wait_run_and_end(self, backend, qpu) -> None:
        qpu.set(paused=True)
        job = backend.run(bell())
        assert job.status() == JobStatus.QUEUED
        with pytest.raises(JobTimeoutError):
            job.result(timeout=0)
        qpu.set(paused=False, run_s=30)
        done(job)  # its run time was drawn when it came
        slow = backend.run(bell())
        eventually(lambda: slow.status() == JobStatus.RUNNING)
        first, second = qpu.ledger()["jobs"]
        assert first["accepted"] <= first["started"] <= first["done"]
        assert (second["run_s"], second["done"]) == (30, None)

    def test_the_queue_takes_its_time(self, backend, qpu) -> None:
        qpu.set(queue_s=0.3, run_s=0.2)
        backend.run(bell()).result()
        (row,) = qpu.ledger()["jobs"]
        assert row["started"] - row["accepted"] > 0.29
        assert row["done"] - row["started"] > 0.19

    def test_spans_are_drawn_from_the_seed(self, backend, qpu) -> None:
        def drawn() -> list[float]:
            qpu.reset()
            qpu.set(paused=True, queue_s=[1, 5], run_s=[2, 3])
            for _ in range(3):
                backend.run(bell())
            return [(row["queue_s"], row["run_s"]) for row in qpu.ledger()["jobs"]]

        first = drawn()
        assert first == drawn()
        assert len(set(first)) == 3
        assert all(1 <= queue <= 5 and 2 <= run <= 3 for queue, run in first)

    def test_every_answer_takes_its_latency(self, backend, qpu) -> None:
        qpu.set(latency_s=0.2)
        began = time.monotonic()
        backend.find_jobs("none")
        assert time.monotonic() - began > 0.19


class TestLimits:
    @pytest.mark.parametrize(
        ("limit", "status", "code", "number"),
        [("max_circuits", 400, "too_many_circuits", 1), ("max_shots", 400, "too_many_shots", 99),
         ("num_qubits", 400, "too_many_qubits", 1), ("max_payload_bytes", 413, "payload_too_large", 200)],
    )  # fmt: skip
    def test_are_enforced_and_named_or_not(self, backend, qpu, limit, status, code, number) -> None:
        qpu.set(**{limit: number})
        named = refusal(backend, bell(), bell(), shots=100)
        assert (named.status_code, named.code) == (status, code)
        assert f"at most {number} " in str(named)
        qpu.set(names_limits=False)
        unnamed = refusal(backend, bell(), bell(), shots=100)
        assert (unnamed.status_code, unnamed.code) == (status, "invalid_job")
        assert str(number) not in str(unnamed).replace(str(status), "")
        assert qpu.ledger()["jobs"] == []

    def test_at_the_limit_is_allowed(self, backend, qpu) -> None:
        backend.run([bell(), bell()], shots=100)
        size = qpu.ledger()["jobs"][0]["payload_bytes"]
        qpu.set(max_circuits=2, max_shots=100, num_qubits=2, max_payload_bytes=size)
        backend.run([bell(), bell()], shots=100)
        qpu.set(max_payload_bytes=size - 1)
        assert refusal(backend, bell(), bell(), shots=100).status_code == 413

    def test_are_advertised(self, qpu) -> None:
        qpu.set(max_circuits=3, max_shots=100, num_qubits=7)
        there = connect(qpu)
        assert (there.max_circuits, there.max_shots, there.num_qubits) == (3, 100, 7)
        qpu.set(advertised_max_circuits=30, advertised_max_shots=None, advertised_max_payload_bytes=5)
        there = connect(qpu)
        assert (there.max_circuits, there.max_shots, there.description["max_payload_bytes"]) == (30, None, 5)
        assert refusal(there, *[bell()] * 4).code == "too_many_circuits"

    def test_of_jobs_counts_those_not_over(self, backend, qpu) -> None:
        qpu.set(max_jobs=2, paused=True)
        first, second = backend.run(bell()), backend.run(bell())
        error = refusal(backend)
        assert (error.status_code, error.code) == (429, "too_many_jobs")
        assert error.response.headers["Retry-After"] == "1"
        first.cancel()
        backend.run(bell())
        assert refusal(backend).code == "too_many_jobs"
        qpu.set(paused=False)
        second.result()
        backend.run(bell())

    def test_of_requests_is_a_bucket(self, backend, qpu) -> None:
        qpu.set(requests_per_second=0.01, burst=2)
        backend.find_jobs("a")
        backend.find_jobs("a")
        with pytest.raises(QpuError) as caught:
            backend.find_jobs("a")
        assert (caught.value.status_code, caught.value.code) == (429, "too_many_requests")
        assert 95 < int(caught.value.response.headers["Retry-After"]) <= 100
        assert qpu.counts()["over_rate"] == 3  # by the rate alone, without the burst
        assert qpu.counts()["by_code"] == {"too_many_requests": 1}

    def test_a_rate_that_is_kept_is_seen_so(self, backend, qpu) -> None:
        qpu.set(requests_per_second=1000)
        for _ in range(20):
            backend.find_jobs("a")
        assert qpu.counts()["over_rate"] == 0
        assert 1 <= qpu.counts()["peak_per_second"] <= 21


class TestRetryAfter:
    def after(self, backend, qpu, **settings) -> str | None:
        qpu.set(too_many_next=1, **settings)
        return refusal(backend).response.headers.get("Retry-After")

    def test_is_seconds_or_a_date_or_nothing(self, backend, qpu) -> None:
        assert self.after(backend, qpu, retry_after_s=7) == "7"
        date = parsedate_to_datetime(self.after(backend, qpu, retry_after="date"))
        assert 2 < (date - datetime.now(UTC)).total_seconds() <= 8
        assert self.after(backend, qpu, retry_after="none") is None
        assert qpu.ledger()["jobs"] == []

    def test_of_maintenance(self, backend, qpu) -> None:
        qpu.set(maintenance_until=time.time() + 1000)
        error = refusal(backend)
        assert (error.status_code, error.code) == (503, "maintenance")
        assert 990 < int(error.response.headers["Retry-After"]) <= 1000
        qpu.set(maintenance_retry_after=False)
        assert "Retry-After" not in refusal(backend).response.headers
        qpu.set(maintenance_until=time.time() - 1)
        backend.run(bell())


class TestFaults:
    def test_an_error_before_acceptance_leaves_no_job(self, backend, qpu) -> None:
        qpu.set(error_before_next=1)
        assert refusal(backend).status_code == 503
        assert qpu.ledger()["jobs"] == []
        backend.run(bell())

    def test_an_error_after_acceptance_leaves_one_job(self, backend, qpu) -> None:
        qpu.set(error_after_next=1)
        assert refusal(backend, job_name="t").status_code == 503
        assert backend.find_jobs("t") == [row["id"] for row in qpu.ledger()["jobs"]]

    @pytest.mark.parametrize(("fault", "jobs"), [("drop_before_next", 0), ("drop_after_next", 1)])
    def test_a_dropped_answer(self, backend, qpu, fault, jobs) -> None:
        qpu.set(**{fault: 1})
        with pytest.raises(requests.ConnectionError):
            backend.run(bell())
        assert len(qpu.ledger()["jobs"]) == jobs
        assert qpu.counts()["by_status"]["dropped"] == 1
        assert backend.run(bell()).result().success

    def test_a_slow_answer_times_out_and_leaves_one_job(self, qpu) -> None:
        hasty = connect(qpu, timeout_s=(3, 0.2))
        qpu.set(slow_next=1, slow_s=0.5)
        with pytest.raises(requests.ReadTimeout):
            hasty.run(bell(), job_name="slow")
        assert [row["tag"] for row in qpu.ledger()["jobs"]] == ["slow"]

    def test_a_slow_answer_is_an_answer(self, backend, qpu) -> None:
        qpu.set(slow_next=1, slow_s=0.1)
        assert backend.run(bell()).result().success

    def test_reading_fails(self, backend, qpu) -> None:
        job = backend.run(bell())
        qpu.set(error_read_next=2)
        for read in (job.status, job.result):
            with pytest.raises(QpuError) as caught:
                read()
            assert caught.value.status_code == 503
        assert job.result().success

    def test_chances_are_those_of_the_seed(self, backend, qpu) -> None:
        def states(seed: int) -> list[str]:
            qpu.reset()
            qpu.set(seed=seed, fail=0.5)
            jobs = [backend.run(bell(), shots=1) for _ in range(12)]
            eventually(lambda: all(job.in_final_state() for job in jobs))
            return [row["state"] for row in qpu.ledger()["jobs"]]

        first = states(1)
        assert set(first) == {"done", "failed"}
        assert states(1) == first
        assert states(2) != first

    @pytest.mark.parametrize("settings", [{"fail_next": 1}, {"fail_circuits": ["bad*"]}])
    def test_a_job_fails(self, backend, qpu, settings) -> None:
        qpu.set(**settings)
        job = backend.run([bell(), bell("bad-12")])
        with pytest.raises(QpuError, match=r"It broke\."):
            job.result()
        assert job.status() == JobStatus.ERROR
        assert backend.run(bell()).result().success

    def test_an_invalid_circuit_is_refused_and_named_or_not(self, backend, qpu) -> None:
        qpu.set(invalid_circuits=["bad*"])
        error = refusal(backend, bell(), bell("bad-12"))
        assert (error.status_code, error.code) == (400, "invalid_circuit")
        assert "bad" not in str(error)
        qpu.set(names_invalid=True)
        assert "'bad-12'" in str(refusal(backend, bell(), bell("bad-12")))
        assert qpu.ledger()["jobs"] == []

    @pytest.mark.parametrize("status", [404, 410])
    def test_a_result_is_lost(self, backend, qpu, status) -> None:
        qpu.set(lose_result_next=1, lost_status=status)
        job = backend.run(bell())
        done(job)
        with pytest.raises(QpuError) as caught:
            job.result()
        assert (caught.value.status_code, caught.value.code) == (status, "result_lost")
        assert job.status() == JobStatus.DONE

    def test_a_result_comes_once(self, backend, qpu) -> None:
        qpu.set(result_once=True)
        job = backend.run(bell())
        assert job.result().success
        with pytest.raises(QpuError) as caught:
            job.result()
        assert caught.value.status_code == 410
        assert qpu.ledger()["jobs"][0]["fetched"] == 1

    def test_fewer_shots_come_back(self, backend, qpu) -> None:
        qpu.set(shots_fraction=0.7)
        result = backend.run(bell(), shots=100, memory=True).result()
        assert len(result.get_memory()) == sum(result.get_counts().values()) == 70
        assert qpu.ledger()["done_shots"] == {"bell": 70}

    def test_what_cannot_be_computed_fails_alone(self, backend, qpu) -> None:
        odd = QuantumCircuit(1, 1)
        odd.append(QuantumCircuit(1, name="riddle").to_gate(), [0])
        odd.measure(0, 0)
        with pytest.raises(QpuError, match="riddle"):
            backend.run(odd).result()
        assert backend.run(bell()).result().success


class TestAbilities:
    def test_jobs_may_be_found_by_their_key_only(self, backend, qpu) -> None:
        qpu.set(find_by_id=False)
        job = backend.run(bell())
        assert job.result().success
        with pytest.raises(QpuError) as caught:
            backend.retrieve_job(job.job_id()).status()
        assert (caught.value.status_code, caught.value.code) == (404, "no_such_job")
        assert backend.statuses([job.job_id()]) == {}
        assert not QpuAdapter(connect(qpu)).detachable

    def test_another_process_goes_on_with_a_job(self, backend, qpu) -> None:
        job = connect(qpu).retrieve_job(backend.run(bell(), seed=2).job_id())
        assert job.result().get_counts() == backend.run(bell(), seed=2).result().get_counts()

    def test_tags_are_found_oldest_first_after_the_delay(self, backend, qpu) -> None:
        adapter = QpuAdapter(backend)
        old, new = (adapter.run([bell()], 10, None, {}, tag="mine").job_id() for _ in range(2))
        backend.run(bell(), job_name="other")
        assert adapter.find("mine") == [old, new]
        assert adapter.find("nobody's") == []
        qpu.set(listing_delay_s=100)
        assert adapter.find("mine") == []
        qpu.set(find_by_tag=False)
        assert adapter.find("mine") is None

    def test_many_are_asked_about_at_once(self, backend, qpu) -> None:
        adapter = QpuAdapter(backend)
        qpu.set(paused=True)
        ids = [backend.run(bell()).job_id() for _ in range(3)]
        backend.retrieve_job(ids[1]).cancel()
        assert adapter.statuses([*ids, "unknown"]) == dict(
            zip(ids, [JobStatus.QUEUED, JobStatus.CANCELLED, JobStatus.QUEUED], strict=True)
        )
        assert (adapter.status_batch, qpu.counts()["by_kind"]["statuses"]) == (200, 1)
        assert len(backend.statuses([f"{number:032}" for number in range(200)])) == 0
        with pytest.raises(QpuError, match="At most 200 ids"):
            backend.statuses([f"{number:032}" for number in range(201)])

    def test_or_one_by_one(self, qpu) -> None:
        qpu.set(batched_status=False, paused=True)
        there = connect(qpu)
        adapter, job = QpuAdapter(there), there.run(bell())
        assert adapter.status_batch == 1
        assert adapter.statuses([job.job_id()]) == {job.job_id(): JobStatus.QUEUED}
        assert adapter.statuses(["unknown"]) == {}
        with pytest.raises(QpuError, match="one job at a time"):
            there.statuses([job.job_id()])

    def test_errors_are_not_taken_for_answers(self, backend, qpu) -> None:
        adapter, job = QpuAdapter(backend), backend.run(bell())
        qpu.set(error_read=1)
        for ask in (lambda: adapter.find("t"), lambda: adapter.statuses([job.job_id()])):
            with pytest.raises(QpuError):
                ask()

    def test_jobs_are_cancelled(self, backend, qpu) -> None:
        qpu.set(paused=True)
        job = backend.run(bell())
        assert job.cancel()
        assert not job.cancel()
        assert job.status() == JobStatus.CANCELLED
        with pytest.raises(QpuError, match="cancelled"):
            job.result()
        qpu.set(cancel=False)
        with pytest.raises(QpuError, match="cannot be cancelled"):
            backend.run(bell()).cancel()

    def test_a_running_job_is_cancelled_without_harm_to_the_next(self, backend, qpu) -> None:
        wide = QuantumCircuit(16)
        wide.h(range(16))
        wide.measure_all()
        jobs = [backend.run(wide, shots=20000, seed=index) for index in range(3)]
        eventually(lambda: jobs[0].status() != JobStatus.QUEUED)
        jobs[0].cancel()
        assert backend.run(bell(), seed=1, shots=64).result().get_counts().keys() <= {"00", "11"}


class TestLedger:
    def test_adds_up_shots_and_cost(self, backend, qpu) -> None:
        qpu.set(price_per_shot=0.01, fail_circuits=["bad"])
        backend.run([bell("a"), bell("b"), bell("a")], shots=10).result()
        done(job := backend.run(bell("a"), shots=5, job_name="t", seed=9))
        backend.run(bell("bad"), shots=7)
        eventually(lambda: qpu.ledger()["jobs"][-1]["state"] == "failed")
        qpu.set(paused=True)
        backend.run(bell("c"), shots=100).cancel()
        ledger = qpu.ledger()
        assert ledger["accepted_shots"] == {"a": 25, "b": 10, "bad": 7, "c": 100}
        assert ledger["done_shots"] == {"a": 25, "b": 10}
        assert ledger["cost"] == pytest.approx(0.01 * (30 + 5 + 7))  # what was cancelled in the queue costs nothing
        assert [row["fetched"] for row in ledger["jobs"]] == [1, 0, 0, 0]
        row = ledger["jobs"][1]
        assert (row["id"], row["tag"], row["circuits"], row["shots"], row["seed"]) == (job.job_id(), "t", ["a"], 5, 9)

    def test_control_is_not_counted_and_not_limited(self, qpu) -> None:
        qpu.set(requests_per_second=0.001, burst=1, maintenance_until=time.time() + 99, token="t", too_many=1)
        for _ in range(3):
            assert qpu.counts()["requests"] == 0

    def test_reset_goes_back_to_the_start(self, backend, qpu) -> None:
        qpu.set(paused=True, fail_text="other", max_jobs=1)
        backend.run(bell())
        qpu.reset()
        assert (qpu.ledger()["jobs"], qpu.counts()["requests"]) == ([], 0)
        assert qpu.settings()["fail_text"] == "It broke."
        assert backend.run(bell()).result().success

    def test_wrong_settings_change_nothing(self, qpu) -> None:
        before = qpu.settings()
        with pytest.raises(QpuError, match="no_such"):
            qpu.set(no_such=1, seed=7)
        assert qpu.settings() == before
