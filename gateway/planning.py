"""Stations 4 to 8 of a request, pure: which model, which inputs, which routes, at what price.

Estimate, dry run and the real request all come through `make_plan`; only what happens after
it differs.
"""

from decimal import Decimal
from typing import Any

import msgspec
from msgspec import Struct

from billing.money import to_micros
from billing.pricing import Quote, quote
from gateway.controls import Controls, check_cost, read_controls
from gateway.problems import Problem
from gateway.schemas import GenerateRequest, PassedOverView, RoutingView
from providers.base import Unavailable
from providers.discovery import Providers
from providers.normalizer import Policy, ReportRow, Translation, fitting_routes, translate
from registry.catalog import AUTO, Catalog, Selection
from registry.errors import Fault, InvalidInputs, pointer
from registry.inputs import FEATURE_WORDS, FOLDED, UnifiedInputs
from registry.prices import image_dollars, price_for
from registry.schema import Model, Price, Route
from registry.validate import validate

__all__ = ["Candidate", "Plan", "make_plan", "price_words", "usable"]


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
    price: Price
    """What holds for this request, without conditions."""
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

    A named model serves or its faults are told. Under an intent the first model serves that is available and
    can honour every input within `max_cost`; the answer says of each one before it why it did not.

    Raises:
        UnknownModel: no such model.
        InvalidInputs: every fault of the inputs at once; under an intent, of the model that comes first.
    """
    controls, parts = read_controls({"inputs": request.inputs, "options": request.options})
    intent, because = _intent(catalog, request)
    needs = frozenset(catalog.data.intents[intent].needs) if intent in catalog.data.intents else frozenset()
    planned: dict[str, Plan] = {}

    def why_not(model: Model) -> str | None:
        reason = usable(model, providers)
        if reason is not None:
            return reason.reason
        try:
            planned[model.id] = _plan_model(catalog, providers, model, controls, parts, needs, fresh_seed)
        except InvalidInputs as error:
            return error.faults[0].message
        return None

    selection = catalog.select(request.model, intent, why_not)
    model = selection.model
    if model.status == "retired":
        alive = [m.id for m in catalog.models.values() if m.status != "retired"]
        raise Problem(
            "unknown_model", f"{model.id} is retired. Supported: {', '.join(alive)}", supported=alive
        )
    plan = planned.get(model.id) or _plan_model(catalog, providers, model, controls, parts, needs, fresh_seed)
    return msgspec.structs.replace(
        plan, routing=_routing(selection, request, because), warnings=(*selection.warnings, *plan.warnings)
    )


def _plan_model(
    catalog: Catalog,
    providers: Providers,
    model: Model,
    controls: Controls,
    parts: dict[str, dict[str, Any]],
    needs: frozenset[str],
    fresh_seed: int,
) -> Plan:
    inputs = validate(parts, model, catalog.vocabulary)
    if not needs <= inputs.features:
        raise InvalidInputs(
            [
                Fault(
                    pointer=pointer("inputs", word),
                    code="missing",
                    message=f"this intent changes what it is given: it needs {word}",
                    allowed=catalog.vocabulary[word].about,
                )
                for word in (FEATURE_WORDS[feature] for feature in sorted(needs - inputs.features))
            ]
        )
    routes = fitting_routes(model.routes, inputs.features)
    if not routes:
        raise _nothing_fits(model, inputs)
    available = [route for route in routes if providers.unavailable(route) is None]
    translated = _translate(available or list(routes[:1]), inputs, catalog, fresh_seed, controls.policy)
    first_route, first = translated[0]
    price = price_for(model.price, first.effective)
    quoted = quote(price, width=first.width, height=first.height, num_images=first.num_images)
    check_cost(controls, quoted)
    return Plan(
        model=model,
        routing=RoutingView(rule="model", why="", requested=None, passed_over=()),
        candidates=tuple(_candidate(route, done) for route, done in translated),
        report=first.report,
        warnings=(*_status_warning(model), *first.warnings),
        price=price,
        quote=quoted,
        unavailable=None if available else providers.unavailable(first_route),
    )


def _intent(catalog: Catalog, request: GenerateRequest) -> tuple[str | None, str]:
    """The intent that chooses, if one does; of `auto`, the one that the prompt shows, and by what."""
    if request.model is not None or request.intent != AUTO:
        return (request.intent if request.model is None else None), ""
    prompt = request.inputs.get("prompt", request.options.get("prompt"))
    names = {s: n for n, term in catalog.vocabulary.items() for s in (n, *term.aliases)}
    given = {
        FOLDED.get(names.get(name, ""), names.get(name))
        for part in (request.inputs, request.options)
        for name, v in part.items()
        if v
    }
    features = frozenset(feature for feature, word in FEATURE_WORDS.items() if word in given)
    found, why = catalog.read_prompt(prompt if isinstance(prompt, str) else "", features)
    return found, f"{why}: {found}"


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
    cost = price_for(route.provider_cost, done.effective)
    return Candidate(
        route=msgspec.structs.replace(route, parameters={}, constants={}, provider_cost=cost),
        payload=done.payload,
        width=done.width,
        height=done.height,
        num_images=done.num_images,
        seed=done.seed,
        cost_micros=_expected_cost(cost, done),
    )


def _expected_cost(cost: Price, done: Translation) -> int:
    dollars = image_dollars(cost, done.width or 1024, done.height or 1024) * done.num_images
    return to_micros(dollars)


def _status_warning(model: Model) -> tuple[str, ...]:
    return (f"{model.id} is deprecated",) if model.status == "deprecated" else ()


def _routing(selection: Selection, request: GenerateRequest, because: str) -> RoutingView:
    return RoutingView(
        rule=AUTO if because else selection.rule,
        why=f"{because}; {selection.why}" if because else selection.why,
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
