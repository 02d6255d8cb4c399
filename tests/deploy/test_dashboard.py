"""The Grafana dashboard: its queries make sense, every metric is on it, its panels have their places."""

import json
import re
from itertools import combinations
from typing import Any

import pytest
import yaml
from support.alert_rules import ROOT
from support.metric_table import OTHERS, our_metrics, series
from support.promql_check import Checker

GRAFANA = ROOT / "deploy" / "grafana"
DASHBOARD: dict[str, Any] = json.loads((GRAFANA / "image-gateway.json").read_text("utf-8"))
PANELS: list[dict[str, Any]] = DASHBOARD["panels"]
SHOWN = [panel for panel in PANELS if panel["type"] != "row"]
QUERIES = [
    pytest.param(target["expr"], id=f"{panel['id']}-{target['refId']}")
    for panel in SHOWN
    for target in panel["targets"]
]

NOT_SHOWN = {"process_virtual_memory_bytes": "address space, which says nothing of what is used"}
"""Metrics that no panel has, with the reason."""


def filled(expression: str) -> str:
    """An expression as Grafana sends it."""
    values = {"$__rate_interval": "5m", "$job": "image-gateway", "$model": ".*"}
    for name, value in values.items():
        expression = expression.replace(name, value)
    assert "$" not in expression
    return expression


def checker() -> Checker:
    return Checker(series((*our_metrics(), *OTHERS)))


@pytest.mark.parametrize("expression", QUERIES)
def test_each_query_names_what_there_is(expression: str) -> None:
    found = checker()
    found.check(filled(expression))
    assert found.faults == []
    assert found.metrics


@pytest.mark.parametrize("expression", QUERIES)
def test_each_query_is_of_the_chosen_installation_alone(expression: str) -> None:
    selectors = re.findall(r"\b(?:gateway|process)_\w+(\{[^}]*\})?", expression)
    assert all('job="$job"' in selector for selector in selectors)


def test_every_metric_is_shown() -> None:
    found = checker()
    for parameter in QUERIES:
        found.check(filled(str(parameter.values[0])))
    shown = {re.sub("_(bucket|sum|count)$", "", name) for name in found.metrics}
    assert {metric.name for metric in our_metrics()} - shown == set(NOT_SHOWN)


def test_it_is_a_dashboard_that_grafana_loads() -> None:
    assert DASHBOARD["schemaVersion"] >= 39
    assert (DASHBOARD["uid"], DASHBOARD["title"]) == ("image-gateway", "image-gateway")
    assert "id" not in DASHBOARD  # Grafana gives its own
    names = [variable["name"] for variable in DASHBOARD["templating"]["list"]]
    assert names == ["datasource", "job", "model"]
    for thing in (*SHOWN, *(target for panel in SHOWN for target in panel["targets"])):
        assert thing["datasource"] == {"type": "prometheus", "uid": "${datasource}"}


def test_each_panel_has_a_title_and_a_unit_and_its_own_id() -> None:
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)
    for panel in SHOWN:
        assert panel["title"]
        assert panel["type"] in ("stat", "timeseries", "table")
        assert panel["type"] == "table" or panel["fieldConfig"]["defaults"]["unit"]
        references = [target["refId"] for target in panel["targets"]]
        assert len(set(references)) == len(references)


def test_money_is_shown_in_dollars() -> None:
    money = [p for p in SHOWN if p["type"] != "table" and "_micros" in json.dumps(p["targets"])]
    assert len(money) >= 8
    for panel in money:
        assert panel["fieldConfig"]["defaults"]["unit"] == "currencyUSD", panel["title"]
        assert all("/ 1e6" in target["expr"] for target in panel["targets"])


def test_panels_have_their_places() -> None:
    places = [panel["gridPos"] for panel in PANELS]
    for place in places:
        assert place["x"] >= 0
        assert place["w"] > 0
        assert place["x"] + place["w"] <= 24
    for one, other in combinations(places, 2):
        apart = (
            one["x"] + one["w"] <= other["x"]
            or other["x"] + other["w"] <= one["x"]
            or one["y"] + one["h"] <= other["y"]
            or other["y"] + other["h"] <= one["y"]
        )
        assert apart, (one, other)


def test_what_a_person_asks_first_is_on_top() -> None:
    first_row = next(panel["gridPos"]["y"] for panel in PANELS if panel["type"] == "row")
    top = " ".join(p["targets"][0]["expr"] for p in SHOWN if p["gridPos"]["y"] < first_row)
    for metric in ("info", "queue_oldest_seconds", "jobs_ended_total", "provider_cost_micros_total"):
        assert f"gateway_{metric}{{" in top


def test_grafana_is_told_where_both_are() -> None:
    provisioning = GRAFANA / "provisioning"
    source = yaml.safe_load((provisioning / "datasources" / "prometheus.yaml").read_text("utf-8"))
    assert source["datasources"][0]["type"] == "prometheus"
    boards = yaml.safe_load((provisioning / "dashboards" / "image-gateway.yaml").read_text("utf-8"))
    assert boards["providers"][0]["options"]["path"] == "/var/lib/grafana/dashboards"
