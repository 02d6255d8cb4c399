"""Stations 4 to 8 of a request, pure: which model, which inputs, which routes, at what price.

Estimate, dry run and the real request all come through `make_plan`; only what happens after
it differs.
"""

import copy

import msgspec

from gateway.controls import Affordable, read_controls
from gateway.downgrade import Parts, check_least, lower, told
from gateway.model_plan import Asked, Candidate, Known, Plan, plan_model, price_words, usable
from gateway.problems import Problem
from gateway.schemas import GenerateRequest, PassedOverView, RoutingView
from providers.discovery import Providers
from registry.catalog import AUTO, Catalog, PassedOver, Selection
from registry.errors import InvalidInputs
from registry.inputs import FEATURE_WORDS, FOLDED
from registry.schema import Model

__all__ = ["MOST_FALLBACKS", "Candidate", "Known", "Plan", "make_plan", "price_words", "usable"]

MOST_FALLBACKS = 3
"""Other models that may serve when the first fails."""
NOTHING_KNOWN = Known()


def make_plan(
    catalog: Catalog,
    providers: Providers,
    request: GenerateRequest,
    *,
    fresh_seed: int,
    known: Known = NOTHING_KNOWN,
    optimized: str | None = None,
    percent_off: int = 0,
    price_list: str | None = None,
    affordable: Affordable | None = None,
) -> Plan:
    """Decide how a request would be served.

    A named model serves or its faults are told. Under an intent the first model serves that is available and
    can honour every input within `max_cost`; the answer says of each one before it why it did not. Other
    models are fallbacks under an intent, where they cost no more than what is quoted, or as the caller lists
    them.

    Args:
        catalog: the registry.
        providers: say which routes are available.
        request: what is asked for.
        fresh_seed: the seed to send when the caller gave none.
        known: of routes, from the jobs that ran on them: those that fail again and again are passed over
            while others can serve, those that take longer than `max_seconds` always.
        optimized: the prompt as a language model rewrote it.
        percent_off: of each price.
        price_list: by which the caller pays: a key of the registry's `price_lists`.
        affordable: what the caller has for it; heeded where the request has `allow_downgrade`.

    Raises:
        UnknownPriceList: the registry does not have that one.
        UnknownModel: no such model.
        InvalidInputs: every fault of the inputs at once; under an intent, of the model that comes first.
    """
    planner = _Planner(catalog, providers, request, fresh_seed, known, optimized, percent_off, price_list)
    return planner.within(affordable) if planner.asked.controls.allow_downgrade else planner.plan()


class _Planner:
    """One request under way."""

    def __init__(
        self,
        catalog: Catalog,
        providers: Providers,
        request: GenerateRequest,
        fresh_seed: int,
        known: Known,
        optimized: str | None,
        percent_off: int,
        price_list: str | None,
    ) -> None:
        self.catalog, self.providers, self.request, self.known = catalog, providers, request, known
        controls, parts = read_controls({"inputs": request.inputs, "options": request.options})
        self.intent, self.because = _intent(catalog, request)
        intent = catalog.data.intents.get(self.intent or "")
        needs = frozenset(intent.needs) if intent is not None else frozenset()
        self.asked = Asked(
            controls=controls,
            parts=parts,
            needs=needs,
            fresh_seed=fresh_seed,
            optimized=optimized,
            percent_off=percent_off,
            price_list=price_list,
        )
        self.planned: dict[str, Plan] = {}
        # An alias that is not known is told before anything else is.
        named = (catalog.model(name) for name in request.fallbacks or ())
        self.listed = tuple({model.id: model for model in named}.values())

    def plan(self) -> Plan:
        """The plan of what was asked for."""
        return self.serve(self.choose())

    def within(self, affordable: Affordable | None) -> Plan:
        """The plan of what was asked for, or of less where that costs more than `max_cost` or than the caller
        has: of the model that would serve.
        """
        controls, parts = self.asked.controls, self.asked.parts
        free = self.variant(parts, None)
        try:
            selection = self.choose()
            asked = self.serve(selection)
        except InvalidInputs as error:
            if any(fault.code != "too_expensive" for fault in error.faults):
                raise
            selection = free.choose()
            asked = free.serve(selection)
        else:
            if affordable is None or asked.quote.ceiling_micros <= affordable.micros:
                return asked
        limits = [affordable] if affordable is not None else []
        if controls.max_micros is not None:
            limits.append(Affordable(micros=controls.max_micros, of="max_cost"))
        most = min(limits, key=lambda one: one.micros)
        model = selection.model
        lowered = lower(
            free.of(model),
            parts,
            self.catalog.vocabulary,
            most.micros,
            lambda tried: self.variant(tried, None).of(model),
        )
        check_least(controls, lowered.plan.quote)
        # Fallbacks that cost more are none.
        least = max(most.micros, lowered.plan.quote.ceiling_micros)
        return told(self.variant(lowered.parts, least).serve(selection), asked, lowered, most)

    def variant(self, parts: Parts, most: int | None) -> "_Planner":
        """The same request with other settings, which may cost so much."""
        other = copy.copy(self)
        controls = msgspec.structs.replace(self.asked.controls, max_micros=most)
        other.asked = msgspec.structs.replace(self.asked, parts=parts, controls=controls)
        other.planned = {}
        return other

    def serve(self, selection: Selection) -> Plan:
        """The plan of the model that was chosen, with its fallbacks."""
        model = selection.model
        if model.status == "retired":
            alive = list(self.catalog.alive)
            raise Problem(
                "unknown_model", f"{model.id} is retired. Supported: {', '.join(alive)}", supported=alive
            )
        plan = self.of(model)
        return msgspec.structs.replace(
            self.with_fallbacks(plan, selection),
            routing=_routing(selection, self.request, self.because),
            warnings=(*selection.warnings, *plan.warnings),
        )

    def of(self, model: Model) -> Plan:
        """The plan of one model, worked out once."""
        if model.id not in self.planned:
            self.planned[model.id] = plan_model(self.catalog, self.providers, model, self.asked, self.known)
        return self.planned[model.id]

    def choose(self) -> Selection:
        """The model that serves: one whose provider is shut only when there is no other."""
        if self.request.model is not None:
            return self.named()
        chosen = self.catalog.select(None, self.intent, self.why_not)
        if self.why_not(chosen.model) is not None:
            again = self.catalog.select(None, self.intent, self.why_not_open)
            return again if self.why_not_open(again.model) is None else chosen
        return chosen

    def named(self) -> Selection:
        """The named model; where it is not available, the first fallback of the caller's that can serve."""
        selection = self.catalog.select(self.request.model, None, self.why_not)
        for heeds_shut in (True, False) if self.listed else (False,):
            passed: list[PassedOver] = []
            for model in (selection.model, *self.listed):
                reason = self.obstacle(model, selection.model, heeds_shut)
                if reason is None:
                    why = selection.why if not passed else "a fallback that the request lists"
                    return Selection(model=model, rule="model", why=why, passed_over=tuple(passed))
                passed.append(PassedOver(model=model.id, reason=reason))
        return selection

    def obstacle(self, model: Model, first: Model, heeds_shut: bool) -> str | None:
        """Why a named or listed model does not serve. The faults that the first finds in the inputs are told,
        and not a reason to take another.
        """
        if model is not first:
            reason = self.why_not_open(model)
        else:
            unavailable = usable(model, self.providers)
            reason = None if unavailable is None else unavailable.reason
        return reason or (self.known.shut(self.of(model).candidates[0].route) if heeds_shut else None)

    def why_not_open(self, model: Model) -> str | None:
        """Why a model cannot serve, whether its routes are shut or not."""
        reason = usable(model, self.providers)
        if reason is not None:
            return reason.reason
        try:
            unavailable = self.of(model).unavailable
        except InvalidInputs as error:
            return error.faults[0].message
        # A route of it can be used, but none that fits the inputs.
        return None if unavailable is None else unavailable.reason

    def why_not(self, model: Model) -> str | None:
        """Why a model does not serve now."""
        return self.why_not_open(model) or self.known.shut(self.of(model).candidates[0].route)

    def with_fallbacks(self, plan: Plan, selection: Selection) -> Plan:
        """A plan with the candidates of other models behind its own.

        Those that the caller lists may cost more than what is quoted: the ceiling covers them. Those of an
        intent may not: nobody said yes to more.
        """
        if self.request.fallbacks is None:
            names = [self.catalog.models[name] for name in selection.rest]
            most: int | None = plan.quote.ceiling_micros
        else:
            names, most = [model for model in self.listed if model.id != plan.model.id], None
        others: list[Plan] = []
        for model in names:
            if len(others) == MOST_FALLBACKS:
                break
            if self.why_not_open(model) is None:
                other = self.of(model)
                if most is None or other.quote.ceiling_micros <= most:
                    others.append(other)
        ceiling = max(one.quote.ceiling_micros for one in (plan, *others))
        return msgspec.structs.replace(
            plan,
            candidates=tuple(candidate for one in (plan, *others) for candidate in one.candidates),
            quote=msgspec.structs.replace(plan.quote, ceiling_micros=ceiling),
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


def _routing(selection: Selection, request: GenerateRequest, because: str) -> RoutingView:
    return RoutingView(
        rule=AUTO if because else selection.rule,
        why=f"{because}; {selection.why}" if because else selection.why,
        requested=request.model or request.intent,
        passed_over=tuple(PassedOverView(model=p.model, reason=p.reason) for p in selection.passed_over),
    )
