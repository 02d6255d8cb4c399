"""Stations 4 to 8 of a request, pure: which model, which inputs, which routes, at what price.

Estimate, dry run and the real request all come through `make_plan`; only what happens after
it differs.
"""

from decimal import Decimal
from typing import Any, get_args

import msgspec
from msgspec import Struct

from billing.money import to_micros
from billing.pricing import Quote, quote
from gateway.problems import Problem
from gateway.schemas import GenerateRequest, PassedOverView, RoutingView
from providers.base import Unavailable
from providers.discovery import Providers
from providers.normalizer import Policy, ReportRow, Translation, fitting_routes, translate
from registry.catalog import Catalog, Selection
from registry.errors import Fault, InvalidInputs, pointer
from registry.inputs import UnifiedInputs
from registry.prices import image_dollars
from registry.schema import Model, Price, Route
from registry.validate import validate

__all__ = ["Candidate", "Plan", "make_plan", "price_words", "usable"]

CONTROLS = ("on_unsupported",)


class Candidate(Struct, frozen=True, kw_only=True):
    """One route that can serve the request, with the request in its words."""

    route: Route
    """Without its tables: what a provider needs of it."""
    payload: dict[str, Any]
    width: int | None
    height: int | None
    num_images: int
    seed: int | None
    cost_micros: int
    """What the provider is expected to bill."""


class Plan(Struct, frozen=True, kw_only=True):
    """Everything that is decided before anything is spent."""

    model: Model
    routing: RoutingView
    candidates: tuple[Candidate, ...]
    """The first is used; the rest are its fallbacks on the same model."""
    report: tuple[ReportRow, ...]
    warnings: tuple[str, ...]
    quote: Quote
    unavailable: Unavailable | None
    """Set when no candidate's provider can be used now; then only an estimate is possible."""


def usable(model: Model, providers: Providers) -> Unavailable | None:
    """Why no route of a model can be used now; None when one can."""
    if model.status == "retired":
        return Unavailable(reason="it is retired")
    first: Unavailable | None = None
    for route in model.routes:
        reason = providers.unavailable(route)
        if reason is None:
            return None
        first = first or reason
    return first or Unavailable(reason="it has no route")


def make_plan(catalog: Catalog, providers: Providers, request: GenerateRequest, *, fresh_seed: int) -> Plan:
    """Decide how a request would be served.

    Raises:
        UnknownModel: no such model.
        InvalidInputs: every fault of the inputs at once.
    """
    selection = catalog.select(request.model, request.intent, lambda m: _reason(usable(m, providers)))
    model = selection.model
    if model.status == "retired":
        alive = [m.id for m in catalog.models.values() if m.status != "retired"]
        raise Problem(
            "unknown_model", f"{model.id} is retired. Supported: {', '.join(alive)}", supported=alive
        )
    policy, parts = _controls({"inputs": request.inputs, "options": request.options})
    inputs = validate(parts, model, catalog.vocabulary)
    routes = fitting_routes(model.routes, inputs.features)
    if not routes:
        raise _nothing_fits(model, inputs)
    available = [route for route in routes if providers.unavailable(route) is None]
    translated = _translate(available or list(routes[:1]), inputs, catalog, fresh_seed, policy)
    first_route, first = translated[0]
    warnings = (*selection.warnings, *_status_warning(model), *first.warnings)
    return Plan(
        model=model,
        routing=_routing(selection, request),
        candidates=tuple(_candidate(route, done) for route, done in translated),
        report=first.report,
        warnings=warnings,
        quote=quote(model.price, width=first.width, height=first.height, num_images=first.num_images),
        unavailable=None if available else providers.unavailable(first_route),
    )


def _reason(unavailable: Unavailable | None) -> str | None:
    return unavailable.reason if unavailable else None


def _controls(parts: dict[str, dict[str, Any]]) -> tuple[Policy | None, dict[str, dict[str, Any]]]:
    """What steers us and is no parameter of a model, from either part, and the rest."""
    rest = {part: {k: v for k, v in given.items() if k not in CONTROLS} for part, given in parts.items()}
    policy: Policy | None = None
    for part, given in parts.items():
        wanted = given.get("on_unsupported")
        if wanted is None:
            continue
        at = pointer(part, "on_unsupported")
        if wanted not in get_args(Policy):
            allowed = ", ".join(get_args(Policy))
            message = f"{wanted!r} is no policy"
            raise InvalidInputs([Fault(pointer=at, code="not_allowed", message=message, allowed=allowed)])
        if policy not in (None, wanted):
            message = "on_unsupported has two values"
            raise InvalidInputs([Fault(pointer=at, code="conflicting_values", message=message)])
        policy = wanted
    return policy, rest


def _nothing_fits(model: Model, inputs: UnifiedInputs) -> InvalidInputs:
    ways = " or ".join(" and ".join(sorted(route.when)) for route in model.routes)
    given = ", ".join(sorted(inputs.features)) or "none of them"
    message = f"{model.id} runs with {ways}; the request has {given}"
    return InvalidInputs([Fault(pointer="/inputs", code="missing", message=message, allowed=ways)])


def _translate(
    routes: list[Route], inputs: UnifiedInputs, catalog: Catalog, fresh_seed: int, policy: Policy | None
) -> list[tuple[Route, Translation]]:
    """The request in the words of each route that can honour it; the first one's faults if none can."""
    done: list[tuple[Route, Translation]] = []
    refused: InvalidInputs | None = None
    for route in routes:
        try:
            translated = translate(inputs, route, catalog.vocabulary, fresh_seed=fresh_seed, policy=policy)
        except InvalidInputs as error:
            refused = refused or error
            continue
        done.append((route, translated))
    if not done and refused is not None:
        raise refused
    return done


def _candidate(route: Route, done: Translation) -> Candidate:
    return Candidate(
        route=msgspec.structs.replace(route, parameters={}, constants={}),
        payload=done.payload,
        width=done.width,
        height=done.height,
        num_images=done.num_images,
        seed=done.seed,
        cost_micros=_expected_cost(route.provider_cost, done),
    )


def _expected_cost(cost: Price, done: Translation) -> int:
    dollars = image_dollars(cost, done.width or 1024, done.height or 1024) * done.num_images
    return to_micros(dollars)


def _status_warning(model: Model) -> tuple[str, ...]:
    return (f"{model.id} is deprecated",) if model.status == "deprecated" else ()


def _routing(selection: Selection, request: GenerateRequest) -> RoutingView:
    return RoutingView(
        rule=selection.rule,
        why=selection.why,
        requested=request.model or request.intent,
        passed_over=tuple(PassedOverView(model=p.model, reason=p.reason) for p in selection.passed_over),
    )


def price_words(price: Price) -> str:
    """A price for people: `0.03 USD per megapixel`."""
    for unit in ("per_image", "per_megapixel", "per_gpu_second"):
        rate: Decimal | None = getattr(price, unit)
        if rate is not None:
            return f"{rate} USD {unit.replace('_', ' ')}"
    return ""
