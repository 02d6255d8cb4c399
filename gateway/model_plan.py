"""Stations 5 to 8 of a request for one model, pure: which of its routes can serve, in which words, at what
price.
"""

from collections.abc import Callable, Sequence
from decimal import Decimal

import msgspec
from msgspec import Struct

from billing.money import to_micros
from billing.pricing import UNKNOWN_SIZE_EXPECTED, Quote, expected_inputs, quote
from gateway.controls import Controls, check_cost, check_time
from gateway.media.walk import picture_sizes
from gateway.schemas import RoutingView
from providers.base import Unavailable, revive_media
from providers.calls import PlannedCall
from providers.discovery import Providers
from providers.normalizer import ReportRow, Translation, fitting_routes, translate
from registry.catalog import Catalog
from registry.errors import Fault, InvalidInputs, pointer
from registry.inputs import FEATURE_WORDS, UnifiedInputs
from registry.prices import Size, billed_unit, call_dollars, price_for, reduced
from registry.prices_schema import UNITS
from registry.schema import Model, Price, PromptStyle, Route
from registry.validate import validate

__all__ = [
    "Asked",
    "Candidate",
    "Known",
    "Plan",
    "plan_model",
    "price_words",
    "priced",
    "revived_candidates",
    "usable",
]


class Known(Struct, frozen=True, kw_only=True):
    """What is known of routes from the jobs that ran on them."""

    shut: Callable[[Route], str | None] = lambda _: None
    """Why one is left alone for a while, although it is configured; None when it is not."""
    usual_s: Callable[[Route], float | None] = lambda _: None
    """Seconds that a job of it usually takes; None when nobody knows."""


class Candidate(Struct, frozen=True, kw_only=True):
    """One route that can serve the request, with the request in its words."""

    route: Route
    """Without its tables: what a provider needs of it."""
    calls: tuple[PlannedCall, ...]
    """Several where the endpoint makes fewer pictures at once than are wanted."""
    width: int | None
    height: int | None
    price: Price
    """What an image of it costs the caller; what holds for this request, without conditions."""
    ceiling_micros: int
    """The most that the caller pays when it serves."""
    cost_micros: int
    """What the provider is expected to bill."""
    report: tuple[ReportRow, ...]
    warnings: tuple[str, ...]
    revised_prompt: str | None = None
    """The prompt that is sent, where it is another than was asked for."""
    unit_price: Decimal | None = None
    """US dollars of one unit that the provider counts; None where that is not known."""

    @property
    def num_images(self) -> int:
        """Of all calls."""
        return sum(call.num_images for call in self.calls)

    @property
    def inputs(self) -> tuple[Size | None, ...]:
        """The size of each picture that goes into a call; None of one that nobody has fetched yet."""
        return picture_sizes(self.calls[0].payload)

    def quoted(self, price: Price | None = None) -> Quote:
        """What it costs the caller when it serves, as far as its inputs' sizes are known.

        Args:
            price: in place of its own.
        """
        return quote(
            price or self.price,
            width=self.width,
            height=self.height,
            num_images=self.num_images,
            inputs=self.inputs,
        )

    def expected_cost_micros(self) -> int:
        """What the provider should bill, as far as its inputs' sizes are known."""
        size = (
            UNKNOWN_SIZE_EXPECTED if self.width is None or self.height is None else (self.width, self.height)
        )
        return to_micros(self.call_dollars([[size] * call.num_images for call in self.calls]))

    def call_dollars(self, calls: Sequence[Sequence[Size]]) -> Decimal:
        """US dollars of calls by our list of the provider's prices, of the sizes of their pictures."""
        inputs = expected_inputs(self.inputs)
        cost = self.route.provider_cost
        return sum((call_dollars(cost, sizes, inputs) for sizes in calls), Decimal(0))


class Plan(Struct, frozen=True, kw_only=True):
    """Everything that is decided before anything is spent."""

    model: Model
    routing: RoutingView
    candidates: tuple[Candidate, ...]
    """The first is used; the rest are its fallbacks: of the same model, then of others."""
    report: tuple[ReportRow, ...]
    warnings: tuple[str, ...]
    price: Price
    """What holds for this request, without conditions."""
    quote: Quote
    unavailable: Unavailable | None
    """Set when no candidate's provider can be used now; then only an estimate is possible."""
    style: PromptStyle | None = None
    """In which the prompt was rewritten here: a language model may do better."""
    max_seconds: float | None = None
    """By when the job ends, counted from when it may run."""
    full_price: Price
    """As `price`, without what is taken off for waiting."""
    full_micros: int = 0
    """What is expected to be paid without what is taken off for waiting."""
    asked_micros: int | None = None
    """What it may cost as it was asked for, where this plan is of less (`allow_downgrade`)."""

    @property
    def fallbacks(self) -> tuple[str, ...]:
        """The other models that may serve, in order."""
        names = dict.fromkeys(candidate.route.model for candidate in self.candidates)
        return tuple(name for name in names if name != self.model.id)


class Asked(Struct, frozen=True, kw_only=True):
    """A request, apart from the model that serves it."""

    controls: Controls
    parts: dict[str, dict[str, object]]
    """`inputs` and `options` without the controls."""
    needs: frozenset[str]
    """What the intent cannot do without."""
    fresh_seed: int
    optimized: str | None = None
    """The prompt as a language model rewrote it."""
    percent_off: int = 0
    """Of each price."""
    price_list: str | None = None
    """By which the caller pays: a key of the registry's `price_lists`."""


def revived_candidates(candidates: Sequence[Candidate]) -> tuple[Candidate, ...]:
    """Candidates as they were read from the database, with the media of their calls."""
    return tuple(
        msgspec.structs.replace(
            one,
            calls=tuple(
                msgspec.structs.replace(call, payload=revive_media(call.payload)) for call in one.calls
            ),
        )
        for one in candidates
    )


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


def plan_model(catalog: Catalog, providers: Providers, model: Model, asked: Asked, known: Known) -> Plan:
    """How one model would serve a request.

    Routes that are shut come after the others.

    Raises:
        InvalidInputs: every fault of the inputs at once.
        UnknownPriceList: the registry does not have the list by which the caller pays.
    """
    inputs = validate(asked.parts, model, catalog.vocabulary)
    _check_needs(asked.needs, inputs, catalog)
    routes = fitting_routes(model.routes, inputs.features)
    if not routes:
        raise _nothing_fits(model, inputs)
    available = sorted(
        (route for route in routes if providers.unavailable(route) is None),
        key=lambda r: known.shut(r) is not None,
    )
    translated = _translate(available or list(routes[:1]), inputs, catalog, asked, known)
    first_route, first = translated[0]
    own = catalog.price(model, asked.price_list)
    candidates = tuple(_candidate(model, route, done, own, asked.percent_off) for route, done in translated)
    serves, full = candidates[0], price_for(own, first.effective)
    quoted = serves.quoted()
    check_cost(asked.controls, quoted)
    return Plan(
        model=model,
        routing=RoutingView(rule="model", why="", requested=None, passed_over=()),
        # A later route that charges more (by a rate of its parameters) is no fallback: nobody said yes to it.
        candidates=tuple(one for one in candidates if one.ceiling_micros <= quoted.ceiling_micros),
        report=first.report,
        warnings=serves.warnings,
        price=serves.price,
        quote=quoted,
        unavailable=None if available else providers.unavailable(first_route),
        style=first_route.prompt_style if first.rewritten else None,
        max_seconds=asked.controls.max_seconds,
        full_price=full,
        full_micros=serves.quoted(full).price_micros,
    )


def _check_needs(needs: frozenset[str], inputs: UnifiedInputs, catalog: Catalog) -> None:
    missing = [FEATURE_WORDS[feature] for feature in sorted(needs - inputs.features)]
    if missing:
        raise InvalidInputs(
            [
                Fault(
                    pointer=pointer("inputs", word),
                    code="missing",
                    message=f"this intent changes what it is given: it needs {word}",
                    allowed=catalog.vocabulary[word].about,
                )
                for word in missing
            ]
        )


def _nothing_fits(model: Model, inputs: UnifiedInputs) -> InvalidInputs:
    ways = " or ".join(" and ".join(sorted(route.when)) for route in model.routes)
    given = ", ".join(sorted(inputs.features)) or "none of them"
    message = f"{model.id} runs with {ways}; the request has {given}"
    return InvalidInputs([Fault(pointer="/inputs", code="missing", message=message, allowed=ways)])


def _translate(
    routes: list[Route], inputs: UnifiedInputs, catalog: Catalog, asked: Asked, known: Known
) -> list[tuple[Route, Translation]]:
    """The request in the words of each route that can honour it in time; the first one's faults if none."""
    done: list[tuple[Route, Translation]] = []
    refused: InvalidInputs | None = None
    for route in routes:
        try:
            translated = translate(
                inputs,
                route,
                catalog.vocabulary,
                fresh_seed=asked.fresh_seed,
                policy=asked.controls.policy,
                optimized=asked.optimized,
            )
            check_time(asked.controls, known.usual_s(route))
        except InvalidInputs as error:
            refused = refused or error
            continue
        done.append((route, translated))
    if not done and refused is not None:
        raise refused
    return done


def _candidate(model: Model, route: Route, done: Translation, own: Price, percent_off: int) -> Candidate:
    """A route that can serve; `own` is what the model costs this caller, with its conditions."""
    cost = price_for(route.provider_cost, done.effective)
    price = price_for(own, done.effective)
    candidate = Candidate(
        route=msgspec.structs.replace(
            route, parameters={}, constants={}, provider_cost=cost, prompt_style=None
        ),
        calls=done.calls,
        width=done.width,
        height=done.height,
        price=reduced(price, percent_off) if percent_off else price,
        ceiling_micros=0,
        cost_micros=0,
        report=done.report,
        warnings=(*_status_warning(model), *done.warnings),
        revised_prompt=done.revised_prompt,
        unit_price=billed_unit(route.provider_cost),
    )
    return priced(candidate)


def priced(candidate: Candidate) -> Candidate:
    """A candidate with what it may cost and what its provider should bill, by what is known now."""
    return msgspec.structs.replace(
        candidate,
        ceiling_micros=candidate.quoted().ceiling_micros,
        cost_micros=candidate.expected_cost_micros(),
    )


def _status_warning(model: Model) -> tuple[str, ...]:
    return (f"{model.id} is deprecated",) if model.status == "deprecated" else ()


def price_words(price: Price) -> str:
    """A price for people: `0.03 USD per megapixel`."""
    for unit in UNITS:
        rate: Decimal | None = getattr(price, unit)
        if rate is not None:
            return f"{rate} USD {'a job' if unit == 'flat' else unit.replace('_', ' ')}"
    return ""
