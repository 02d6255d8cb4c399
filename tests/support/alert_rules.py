"""The alert rules, read with the metrics that they may name."""

from pathlib import Path
from typing import Any

import yaml
from support.metric_table import OTHERS, Metric, our_metrics, series
from support.promql_check import Checker

ROOT = Path(__file__).parents[2]
PROMETHEUS = ROOT / "deploy" / "prometheus"

Rule = dict[str, Any]


def read_rules(text: str | None = None) -> list[Rule]:
    """Every rule of a rules file, in order; of ours when none is given."""
    text = (PROMETHEUS / "alerts.yaml").read_text("utf-8") if text is None else text
    return [rule for group in yaml.safe_load(text)["groups"] for rule in group["rules"]]


def alerts() -> dict[str, Rule]:
    """The rules that alert, by name."""
    return {rule["alert"]: rule for rule in read_rules() if "alert" in rule}


def checked(rules: list[Rule]) -> tuple[Checker, dict[str, frozenset[str]]]:
    """What a look at all expressions found, and the labels that each rule's result has.

    A recorded series is known to the rules after it.
    """
    checker = Checker(series((*our_metrics(), *OTHERS)))
    results = {}
    for rule in rules:
        labels = checker.check(rule["expr"]) or frozenset()
        results[rule.get("alert") or rule["record"]] = labels
        if "record" in rule:
            checker.known[rule["record"]] = Metric(rule["record"], "gauge", labels)
    return checker, results
