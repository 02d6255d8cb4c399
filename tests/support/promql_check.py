"""Does a PromQL expression make sense: are its metrics and labels there, and can both sides match?"""

import re
from collections.abc import Callable, Mapping

import promql_parser as promql
from support.metric_table import VALUES, Metric

from providers.errors import ProviderError

Labels = frozenset[str] | None
"""Of a vector; None of a number."""

OVER_COUNTERS = {"rate", "irate", "increase"}
SETS = {"and", "or", "unless"}
ADDING = {"sum", "avg"}
OUTCOMES = "gateway_attempts_total"


class Checker:
    """Reads expressions against known series; `metrics` are those that were met, `faults` what was wrong."""

    def __init__(self, known: Mapping[str, Metric]) -> None:
        self.known = known
        self.metrics: set[str] = set()
        self.faults: list[str] = []

    def check(self, text: str) -> Labels:
        """The labels that the expression's result has."""
        return self._labels(promql.parse(text), rated=False)

    def fault(self, text: str) -> Labels:
        self.faults.append(text)
        return frozenset()

    def _labels(self, node: object, *, rated: bool) -> Labels:
        readers: dict[type, Callable[..., Labels]] = {
            promql.VectorSelector: self._selector,
            promql.AggregateExpr: self._aggregate,
            promql.BinaryExpr: self._binary,
            promql.Call: self._call,
        }
        if type(node) in readers:
            return readers[type(node)](node, rated=rated)
        if isinstance(node, promql.MatrixSelector):
            return self._selector(node.vector_selector, rated=rated)
        if isinstance(node, promql.ParenExpr | promql.SubqueryExpr | promql.UnaryExpr):
            return self._labels(node.expr, rated=rated)
        if isinstance(node, promql.NumberLiteral | promql.StringLiteral):
            return None
        return self.fault(f"{type(node).__name__} is not known here")

    def _selector(self, node: promql.VectorSelector, *, rated: bool) -> Labels:
        metric = self.known.get(node.name or "")
        if metric is None:
            return self.fault(f"there is no metric {node.name}")
        self.metrics.add(metric.name)
        if (metric.kind == "counter") != rated:
            self.fault(f"{metric.name} is a {metric.kind}: rated={rated}")
        for matcher in node.matchers.matchers:
            self._matcher(metric, matcher)
        return metric.labels

    def _matcher(self, metric: Metric, matcher: promql.Matcher) -> None:
        if matcher.name not in metric.labels:
            self.fault(f"{metric.name} has no label {matcher.name}")
        base = re.sub("_(bucket|sum|count)$", "", metric.name)
        allowed = VALUES.get((base, matcher.name))
        if (metric.name, matcher.name) == (OUTCOMES, "outcome"):
            allowed = {"succeeded"} | codes(ProviderError)
        for value in matcher.value.split("|") if allowed else ():
            if value not in allowed:
                self.fault(f"{metric.name} never has {matcher.name}={value}")

    def _aggregate(self, node: promql.AggregateExpr, *, rated: bool) -> Labels:
        inner = self._labels(node.expr, rated=rated)
        inside = self.known.get(innermost(node.expr))
        if str(node.op) in ADDING and inside is not None and inside.shared:
            self.fault(f"{node.op} of {inside.name}, which is the same from each process")
        modifier = node.modifier
        if modifier is None:
            # topk leaves each series as it is.
            return inner if str(node.op) in ("topk", "bottomk") else frozenset()
        named = frozenset(modifier.labels)
        if inner is None or not named <= inner:
            return self.fault(f"{node.op} by {sorted(named)} of what has {sorted(inner or ())}")
        return named if modifier.type == promql.AggModifierType.By else inner - named

    def _binary(self, node: promql.BinaryExpr, *, rated: bool) -> Labels:
        left, right = (self._labels(side, rated=rated) for side in (node.lhs, node.rhs))
        if left is None or right is None:
            return right if left is None else left
        matching = node.modifier.matching if node.modifier else None
        if matching is None:
            if left != right:
                self.fault(f"{node.op}: {sorted(left)} never match {sorted(right)}")
            return left
        named = frozenset(matching.labels)
        if not named <= left & right:
            self.fault(f"{node.op} on {sorted(named)} of {sorted(left)} and {sorted(right)}")
        return left if str(node.op) in SETS else named

    def _call(self, node: promql.Call, *, rated: bool) -> Labels:
        name = node.func.name
        inside = [self._labels(arg, rated=rated or name in OVER_COUNTERS) for arg in node.args]
        vectors = [labels for labels in inside if labels is not None]
        if name == "time":
            return None
        if name == "vector":
            return frozenset()
        if name == "absent":
            matchers = node.args[0].matchers.matchers
            return frozenset(m.name for m in matchers if m.op == promql.MatchOp.Equal)
        if len(vectors) != 1:
            return self.fault(f"{name}() of {len(vectors)} vectors")
        if name == "histogram_quantile":
            if "le" not in vectors[0]:
                self.fault("histogram_quantile() of what has no le")
            return vectors[0] - {"le"}
        return vectors[0]


def innermost(node: object) -> str:
    """The series that an expression reads before anything is put together; empty when it puts together itself."""
    while not isinstance(node, promql.VectorSelector):
        if isinstance(node, promql.ParenExpr | promql.SubqueryExpr | promql.UnaryExpr):
            node = node.expr
        elif isinstance(node, promql.MatrixSelector):
            node = node.vector_selector
        elif isinstance(node, promql.BinaryExpr):
            node = node.lhs
        elif isinstance(node, promql.Call) and node.args:
            node = node.args[-1]
        else:
            return ""
    return node.name or ""


def codes(cls: type[ProviderError]) -> set[str]:
    """The code of an error and of all kinds of it."""
    return {cls.code} | {code for kind in cls.__subclasses__() for code in codes(kind)}
