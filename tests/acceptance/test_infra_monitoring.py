"""Alerts and the board: their queries can be read, and ask for metrics that there are."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

from pubworks.backends.causes import Cause
from pubworks.cli.main import app
from pubworks.metrics.vocabulary import OF_PROCESSES, OF_THE_FLEET, Kind
from pubworks.states import BatchState
from pubworks.telemetry import ACTIONS

INFRA = Path(__file__).parents[2] / "infra"
METRICS = OF_PROCESSES | OF_THE_FLEET
RULES = [rule for group in yaml.safe_load((INFRA / "prometheus" / "alerts.yml").read_text())["groups"]
         for rule in group["rules"]]  # fmt: skip
BOARD = json.loads((INFRA / "grafana" / "dashboards" / "pubworks.json").read_text())

#: Names of series: those of the metrics, and of the parts of histograms.
SERIES = {
    part: metric
    for name, metric in METRICS.items()
    for part in ([f"{name}_bucket", f"{name}_sum", f"{name}_count"] if metric.kind == Kind.HISTOGRAM else [name])
}
VALUES = {"state": set(BatchState), "action": set(ACTIONS), "cause": {"OK", "UNREADABLE", *Cause}}


def queries() -> Iterator[tuple[str, str]]:
    """Yield (where it stands, query), with the board's variables filled in."""
    for rule in RULES:
        yield rule["alert"], rule["expr"]
    for panel in BOARD["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"].replace("$backend", ".*").replace("$__rate_interval", "1m")


@pytest.mark.parametrize(("place", "query"), list(queries()))
def test_a_query_can_be_read_and_asks_for_what_there_is(place: str, query: str) -> None:
    promql_parser.parse(query)
    names = set(re.findall(r"pubworks_\w+", query))
    assert names
    assert names <= SERIES.keys()
    for name, selectors in re.findall(r"(pubworks_\w+)\{([^}]*)\}", query):
        for label, text in re.findall(r"(\w+)[!=]?[=~]\"([^\"]*)\"", selectors):
            assert label in SERIES[name].labels
            assert set(text.split("|")) <= VALUES.get(label, {text})
    grouped = {label for labels in re.findall(r"by \(([^)]*)\)", query) for label in labels.split(", ")}
    known = {label for name in names for label in SERIES[name].labels}
    assert grouped <= known | {"le", "instance"}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_says_what_is_wrong_and_what_to_do(rule: dict[str, Any]) -> None:
    assert rule.keys() <= {"alert", "expr", "for", "labels", "annotations"}
    assert rule["labels"]["severity"] in ("critical", "warning")
    assert rule["annotations"].keys() == {"summary", "description"}
    commands = {command.name or command.callback.__name__ for command in app.registered_commands if command.callback}
    commands |= {group.name or "" for group in app.registered_groups}
    assert set(re.findall(r"pubworks ([a-z]+)", rule["annotations"]["description"])) <= commands


def test_the_board_uses_the_data_source_that_is_set_up() -> None:
    (source,) = yaml.safe_load((INFRA / "grafana/provisioning/datasources/pubworks.yml").read_text())["datasources"]
    uids = {panel["datasource"]["uid"] for panel in BOARD["panels"]}
    uids |= {target["datasource"]["uid"] for panel in BOARD["panels"] for target in panel["targets"]}
    assert uids == {source["uid"]}
    services = yaml.safe_load((INFRA / "compose.yaml").read_text())["services"]
    assert source["url"] == "http://prometheus:9090"
    (provider,) = yaml.safe_load((INFRA / "grafana/provisioning/dashboards/pubworks.yml").read_text())["providers"]
    assert f"./grafana/dashboards:{provider['options']['path']}:ro" in services["grafana"]["volumes"]


def test_panels_have_titles_and_do_not_overlap() -> None:
    panels = BOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len({panel["title"] for panel in panels}) == len(panels)
    cells = [
        {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        for at in (panel["gridPos"] for panel in panels)
    ]
    assert not [True for first, second in combinations(cells, 2) if first & second]
    assert max(x for cell in cells for x, _ in cell) == 23


def test_prometheus_asks_every_worker_and_server_at_the_port_where_it_answers() -> None:
    configuration = yaml.safe_load((INFRA / "prometheus" / "prometheus.yml").read_text())
    (place,) = configuration["scrape_configs"][0]["dns_sd_configs"]
    services = yaml.safe_load((INFRA / "compose.yaml").read_text())["services"]
    assert place["names"] == ["worker", "server"]
    assert str(place["port"]) == services["worker"]["environment"]["PUBWORKS_METRICS_PORT"]
    assert services["server"]["command"][-2:] == ["--metrics-port", str(place["port"])]
    assert all((INFRA / "prometheus" / name).is_file() for name in configuration["rule_files"])
