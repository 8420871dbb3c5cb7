"""ops/: the alerts and the board use metrics that exist, each alert is tested and has its entry in the runbook. Prometheus reads them in tests/integration/test_monitoring_rules.py."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.support.paths import ROOT
from vyry.telemetry import render_metrics


OPS = ROOT / "ops"
ALERTS = {
    rule["alert"]: rule
    for group in yaml.safe_load((OPS / "alerts.yml").read_text(encoding="utf-8"))["groups"]
    for rule in group["rules"]
}
ALERT_TESTS = yaml.safe_load((OPS / "alerts_test.yml").read_text(encoding="utf-8"))["tests"]
BOARD = json.loads((OPS / "grafana.json").read_text(encoding="utf-8"))
RUNBOOK = (ROOT / "docs/operations.md").read_text(encoding="utf-8").partition("\n## Runbook\n")[2].partition("\n## ")[0]
ENTRIES = dict(re.findall(r"^### (\w+)\n((?:- .*\n)+)", RUNBOOK, re.MULTILINE))


def panels() -> list[dict[str, Any]]:
    return [panel for panel in BOARD["panels"] if panel["type"] != "row"]


def expressions() -> Iterator[str]:
    yield from (rule["expr"] for rule in ALERTS.values())
    yield from (target["expr"] for panel in panels() for target in panel["targets"])


def series() -> set[str]:
    """Every series that a process may serve, by the types of its metrics."""
    endings = {"histogram": ("_bucket", "_count", "_sum"), "counter": ("",), "gauge": ("",)}
    families = re.findall(r"^# TYPE (vyry_\w+) (\w+)", render_metrics().decode(), re.MULTILINE)
    return {name + ending for name, kind in families for ending in endings[kind]}


def test_every_metric_of_the_alerts_and_the_board_exists() -> None:
    used = {name for expression in expressions() for name in re.findall(r"\bvyry_\w+", expression)}

    assert used - series() == set()


def test_the_board_shows_every_metric() -> None:
    shown = {
        name for panel in panels() for target in panel["targets"] for name in re.findall(r"vyry_\w+", target["expr"])
    }
    families = set(re.findall(r"^# TYPE (vyry_\w+) ", render_metrics().decode(), re.MULTILINE))

    assert {name for name in families if not any(each.startswith(name) for each in shown)} == set()


def test_grafana_can_import_the_board() -> None:
    assert BOARD.keys() >= {"title", "uid", "schemaVersion", "panels", "templating", "time"}
    assert len({panel["id"] for panel in BOARD["panels"]}) == len(BOARD["panels"])
    for panel in panels():
        assert panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        references = [target["refId"] for target in panel["targets"]]
        assert len(set(references)) == len(references) > 0


def test_no_two_panels_of_the_board_overlap() -> None:
    places = [
        (x, y)
        for panel in BOARD["panels"]
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]

    assert len(set(places)) == len(places)


def test_each_alert_has_a_case_in_which_it_fires_and_one_in_which_it_is_quiet() -> None:
    outcomes = {
        (check["alertname"], bool(check["exp_alerts"])) for test in ALERT_TESTS for check in test["alert_rule_test"]
    }

    assert outcomes == {(name, fires) for name in ALERTS for fires in (True, False)}


def test_each_alert_says_how_bad_it_is_in_one_sentence() -> None:
    assert {rule["labels"]["severity"] for rule in ALERTS.values()} == {"critical", "warning"}
    assert [name for name, rule in ALERTS.items() if not rule["annotations"]["summary"].endswith(".")] == []


def test_each_alert_has_its_entry_in_the_runbook_and_each_entry_its_alert() -> None:
    assert list(ENTRIES) == list(ALERTS)


@pytest.mark.parametrize("alert", ALERTS)
def test_an_entry_says_what_it_means_what_to_look_at_and_what_to_do(alert: str) -> None:
    begins = [line.split(":")[0] for line in ENTRIES[alert].splitlines()]

    assert begins == ["- **Meaning**", "- **Look at**", "- **Do**"]


def test_grafana_is_provisioned_with_the_board_and_the_data_source_of_the_compose_file() -> None:
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))["services"]
    provider = yaml.safe_load((OPS / "grafana/provisioning/dashboards/vyry.yml").read_text())["providers"][0]
    source = yaml.safe_load((OPS / "grafana/provisioning/datasources/prometheus.yml").read_text())["datasources"][0]

    assert f"./ops/grafana.json:{provider['options']['path']}/vyry.json:ro" in services["grafana"]["volumes"]
    assert (source["type"], source["url"]) == ("prometheus", "http://prometheus:9090")
    assert {services[name]["profiles"][0] for name in ("prometheus", "grafana")} == {"monitoring"}
