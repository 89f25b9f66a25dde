"""Metrics: what the processes count, how the fleet stands, and the page that explains them."""

from __future__ import annotations

from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from pubworks.metrics import process, vocabulary
from pubworks.metrics.fleet import FleetCollector
from pubworks.metrics.process import Counts
from pubworks.metrics.vocabulary import OF_PROCESSES, OF_THE_FLEET, Metric
from pubworks.policy import Policy, Rate
from pubworks.settings import load_settings
from pubworks.store import fleet, limits
from pubworks.store.store import Store
from pubworks.telemetry import ACTIONS
from pubworks.testing.store import Calls, draft, one_each

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"


@pytest.fixture
def counted() -> CollectorRegistry:
    registry = CollectorRegistry()
    counts = Counts(registry)
    counts("batch.claimed", {"backend": "aer", "waited_s": 2.0})
    counts("batch.claimed", {"backend": "aer"})  # a later claim: its wait is known by other names
    counts("batch.done", {"backend": "aer", "circuits": 3, "shots": 300, "seconds": 0.1})
    counts("batch.trouble", {"backend": "aer", "cause": "REJECTED"})
    counts("store.away", {"error": "gone"})
    for method, more in (("GET", {"seconds": 0.3}), ("GET", {}), ("BREW", {"seconds": 0.3})):
        counts("api.answered", {"method": method, "path": "/v1/jobs", "status": 200, **more})
    return registry


def test_processes_count_what_is_logged(counted: CollectorRegistry) -> None:
    def value(name: str, **labels: str) -> float | None:
        return counted.get_sample_value(name, labels)

    assert value("pubworks_actions_total", action="batch.claimed") == 2
    assert value("pubworks_attempts_total", backend="aer", cause="OK") == 1
    assert value("pubworks_attempts_total", backend="aer", cause="REJECTED") == 1
    assert value("pubworks_circuits_total", backend="aer") == 3
    assert value("pubworks_shots_total", backend="aer") == 300
    assert value("pubworks_stage_seconds_sum", backend="aer", stage="queued") == 2.0
    assert value("pubworks_stage_seconds_count", backend="aer", stage="queued") == 1
    assert value("pubworks_stage_seconds_count", backend="aer", stage="store") == 1
    assert value("pubworks_requests_total", method="GET", status="200") == 2
    assert value("pubworks_requests_total", method="other", status="200") == 1, "anybody may make a method up"
    assert value("pubworks_request_seconds_count", method="GET") == 1, "a stream lasts as long as somebody watches"


def test_every_metric_of_the_processes_is_there(counted: CollectorRegistry) -> None:
    assert {family.name for family in counted.collect()} == {name.removesuffix("_total") for name in OF_PROCESSES}


def test_every_stage_is_measured_by_a_field_of_the_vocabulary() -> None:
    measured = process._STAGES
    assert {stage for stage, _ in measured.values()} == set(vocabulary.Stage)
    assert all({field, "backend"} <= set(ACTIONS[action].fields) for action, (_, field) in measured.items())


def look(store: Store, tmp_path: Path) -> CollectorRegistry:
    """Return how a fleet stands whose configuration knows the backend ``aria``."""
    backends = {"aria": {"factory": "lab:aria", "policy": {"breaker_failures": 2}}}
    registry = CollectorRegistry()
    registry.register(FleetCollector(load_settings(backends=backends), store, tmp_path))
    return registry


def test_the_fleet_is_read_from_the_database(store: Store, tmp_path: Path) -> None:
    calls = Calls(store, "aria")
    calls.submit(draft("j1", *one_each(5), backend="aria"))
    calls.fly(calls.take())
    calls.put_back(calls.take(), 100.0)
    calls.wait(60.0)
    calls.do(limits.set_quota, "aria", submit=Rate(60.0, 4), in_flight=7)
    for _ in range(2):
        calls.do(limits.failed, "aria", "503", Policy(breaker_failures=2))
    calls.do(fleet.sign_in, {"id": "w", "host": "h", "pid": 1, "concurrency": 1, "backends": ["aria"]})
    (tmp_path / "b-1.json").touch()
    registry = look(store, tmp_path)

    def value(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(f"pubworks_{name}", labels)

    assert value("batches", backend="aria", state="PENDING") == 4
    assert value("batches", backend="aria", state="IN_FLIGHT") == 1
    assert value("due_batches", backend="aria") == 3
    assert 60.0 <= (value("oldest_due_seconds", backend="aria") or 0.0) < 90.0
    assert value("workers", backend="aria") == 1
    assert value("in_flight_limit", backend="aria") == 7
    assert value("submissions_left", backend="aria") == 4
    assert value("requests_left", backend="aria") is None, "not limited"
    assert value("pause_seconds", backend="aria") == 0
    assert value("failures_in_a_row", backend="aria") == 2
    assert value("breaker_open", backend="aria") == 1
    assert value("spool_files") == 1
    assert value("database_up") == 1


def test_every_gauge_of_the_fleet_is_given_or_left_out(store: Store, tmp_path: Path) -> None:
    calls = Calls(store, "aria")
    calls.do(limits.set_quota, "aria", submit=Rate(60.0))
    assert {family.name for family in look(store, tmp_path).collect()} == OF_THE_FLEET.keys()


def test_a_backend_without_work_has_a_backlog_of_none(store: Store, tmp_path: Path) -> None:
    registry = look(store, tmp_path)
    assert registry.get_sample_value("pubworks_due_batches", {"backend": "aria"}) == 0
    assert registry.get_sample_value("pubworks_workers", {"backend": "aria"}) == 0


def test_without_the_database_the_rest_is_still_told(tmp_path: Path) -> None:
    away = Store("postgresql+psycopg://nobody@127.0.0.1:1/none")
    registry = look(away, tmp_path)
    assert registry.get_sample_value("pubworks_database_up") == 0
    assert registry.get_sample_value("pubworks_spool_files") == 0


def rows_of_metrics(metrics: dict[str, Metric]) -> list[str]:
    return [
        f"| `{name}` | {metric.kind} | {', '.join(f'`{label}`' for label in metric.labels) or 'none'} "
        f"| {metric.meaning} |"
        for name, metric in metrics.items()
    ]


@pytest.mark.parametrize(
    "rows",
    [
        rows_of_metrics(OF_PROCESSES),
        rows_of_metrics(OF_THE_FLEET),
        [f"| `{name}` | {', '.join(f'`{field}`' for field in action.fields)} | {action.meaning} |"
         for name, action in ACTIONS.items()],
    ],
    ids=["processes", "fleet", "actions"],
)  # fmt: skip
def test_the_page_shows_the_tables_of_the_code(rows: list[str]) -> None:
    assert "\n".join(rows) in PAGE.read_text(), "copy this into docs/metrics.md:\n" + "\n".join(rows)
