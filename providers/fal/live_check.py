"""Holds every fal route of a registry against what fal says today. Pure."""

from collections.abc import Mapping

from msgspec import Struct

from providers.fal.catalogue import Known
from providers.fal.findings import Finding, Level
from providers.fal.openapi import EndpointSchema, SchemaError, read_schema
from providers.fal.price_diff import diff_price
from providers.fal.schema_diff import diff_schema
from registry.schema import Catalogue, Model, Route

__all__ = ["LiveReport", "compare", "fal_routes"]


class LiveReport(Struct, frozen=True, kw_only=True, rename="camel"):
    """What came out."""

    endpoints: int
    """Those that were looked at."""
    unread: tuple[str, ...]
    """Those of them whose document is missing or cannot be read: their fields were not compared."""
    findings: tuple[Finding, ...]
    """In the order of the registry, of an endpoint what breaks first."""

    @property
    def breaks(self) -> int:
        """How many findings break something."""
        return sum(finding.level == "breaks" for finding in self.findings)


def fal_routes(data: Catalogue) -> list[tuple[Model, Route]]:
    """The routes to fal of a registry, each endpoint of a model once; a retired model has none."""
    fal = {name for name, row in data.providers.items() if row.type == "fal"}
    found: list[tuple[Model, Route]] = []
    for model in data.models.values():
        if model.status != "retired":
            found += [(model, route) for route in model.routes if route.provider in fal]
    return found


def compare(data: Catalogue, known: Mapping[str, Known]) -> LiveReport:
    """What differs between a registry and fal.

    Args:
        data: the registry.
        known: what fal says of each endpoint that it has, by id.
    """
    routes = fal_routes(data)
    schemas, unread = _read(known)
    findings: list[Finding] = []
    for model, route in routes:
        here = known.get(route.endpoint)
        if here is None:
            findings.append(_gone(model, route))
            continue
        found = list(_of_state(model, route, here, unread))
        if route.endpoint in schemas:
            found += diff_schema(model, route, data.vocabulary, schemas[route.endpoint])
        found += diff_price(model, route, here.price)
        findings += sorted(found, key=lambda finding: finding.level != "breaks")
    return LiveReport(
        endpoints=len({route.endpoint for _, route in routes}),
        unread=tuple(unread),
        # Two routes of a model may lead to one endpoint in the same way.
        findings=tuple({(f.model, f.endpoint, f.code, f.message): f for f in findings}.values()),
    )


def _read(known: Mapping[str, Known]) -> tuple[dict[str, EndpointSchema], dict[str, str]]:
    """The schemas by endpoint, and why the others cannot be read."""
    schemas: dict[str, EndpointSchema] = {}
    unread: dict[str, str] = {}
    for name, one in known.items():
        try:
            if one.document is None:
                unread[name] = "fal shows no document"
            else:
                schemas[name] = read_schema(one.document, name)
        except SchemaError as error:
            unread[name] = str(error)
    return schemas, unread


def _of_state(model: Model, route: Route, known: Known, unread: Mapping[str, str]) -> list[Finding]:
    found = []
    if known.status == "deprecated":
        found.append(
            _finding(
                "note",
                "endpoint_deprecated",
                model,
                route,
                "fal calls it deprecated: it serves, and may go",
                "look for what follows it on fal's page of the model; `status: deprecated` warns callers",
            )
        )
    if route.endpoint in unread:
        found.append(
            _finding(
                "note",
                "not_read",
                model,
                route,
                f"its fields were not compared: {unread[route.endpoint]}",
                "look at fal's page of the model",
            )
        )
    return found


def _gone(model: Model, route: Route) -> Finding:
    only = len(model.routes) == 1
    return _finding(
        "breaks",
        "endpoint_removed",
        model,
        route,
        "fal has no such endpoint (any more)",
        f"{'write `status: retired`' if only else 'take the route out'}, or name what follows it "
        "(`gateway registry import fal ENDPOINT` proposes its rows)",
    )


def _finding(level: Level, code: str, model: Model, route: Route, message: str, todo: str) -> Finding:
    return Finding(
        level=level, code=code, model=model.id, endpoint=route.endpoint, message=message, todo=todo
    )
