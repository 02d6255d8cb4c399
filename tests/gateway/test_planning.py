"""What is decided before anything is spent."""

from typing import Any

import pytest
from support.scripted_provider import SCRIPTED_TYPES, script_of
from support.small_registry import model, route, small_catalog

from gateway.planning import MOST_FALLBACKS, Known, Plan, make_plan, price_words, usable
from gateway.problems import Problem
from gateway.schemas import GenerateRequest
from providers.base import Unavailable
from providers.discovery import Providers
from registry.errors import InvalidInputs, UnknownModel

CATALOG = small_catalog()


@pytest.fixture
def providers(tmp_path) -> Providers:
    return Providers(CATALOG.data.providers, {}, str(tmp_path), SCRIPTED_TYPES)


@pytest.fixture
def away(tmp_path) -> Any:
    """Takes a provider out of service."""

    def take(name: str) -> None:
        script_of(str(tmp_path), name).unavailable = Unavailable(reason=f"{name} is away", setting="X")

    return take


@pytest.fixture
def plan(providers) -> Any:
    def make(
        model: str | None = "solo",
        options: dict | None = None,
        intent: str | None = None,
        fallbacks: tuple[str, ...] | None = None,
        **inputs,
    ) -> Plan:
        request = GenerateRequest(
            model=model,
            intent=intent,
            inputs={"prompt": "x", **inputs},
            options=options or {},
            fallbacks=fallbacks,
        )
        return make_plan(CATALOG, providers, request, fresh_seed=11)

    return make


def routes(plan: Plan) -> list[str]:
    return [candidate.route.provider for candidate in plan.candidates]


def test_candidates_are_the_fitting_routes_in_order(plan) -> None:
    found = plan("two")
    assert routes(found) == ["first", "second"]
    assert [c.calls[0].payload["seed"] for c in found.candidates] == [11, 11]
    assert [c.cost_micros for c in found.candidates] == [20_000, 20_000]
    assert found.unavailable is None


def test_a_route_that_is_away_is_passed_over(plan, away) -> None:
    away("first")
    assert routes(plan("two")) == ["second"]


def test_a_fallback_that_cannot_honour_the_request_is_left_out(plan) -> None:
    assert routes(plan("narrow", seed=5, options={"on_unsupported": "error"})) == ["second"]
    assert routes(plan("narrow", seed=5)) == ["first", "second"]  # a hint: with a warning


def test_no_route_can_be_used(plan, away) -> None:
    away("first")
    away("second")
    found = plan("two")
    assert found.unavailable == Unavailable(reason="first is away", setting="X")
    assert routes(found) == ["first"]


def test_a_key_that_is_missing_is_named(plan) -> None:
    assert plan("org/keyed").unavailable.setting == "SCRIPT_KEY"


def test_usable_gives_the_first_reason(providers, away) -> None:
    assert usable(CATALOG.model("two"), providers) is None
    away("first")
    assert usable(CATALOG.model("two"), providers) is None
    away("second")
    assert usable(CATALOG.model("two"), providers).reason == "first is away"


def test_a_retired_model(plan, providers) -> None:
    with pytest.raises(Problem) as caught:
        plan("gone")
    document = caught.value.document
    assert (document.code, document.status) == ("unknown_model", 400)
    assert "gone" not in document.supported
    assert "solo" in document.supported
    assert usable(CATALOG.model("gone"), providers).reason == "it is retired"


def test_a_deprecated_model_warns(plan) -> None:
    assert plan("old").warnings == ("old is deprecated",)


def test_an_unknown_model(plan) -> None:
    with pytest.raises(UnknownModel):
        plan("nope")


@pytest.mark.parametrize(
    ("model", "intent", "rule", "served", "passed"),
    [
        ("solo", None, "model", "solo", []),
        ("only", None, "model", "solo", []),
        ("solo", "plain", "model", "solo", []),
        (None, "plain", "intent", "solo", ["org/keyed"]),
        (None, "odd", "default", "two", []),
        (None, None, "default", "two", []),
    ],
)
def test_routing(plan, model, intent, rule, served, passed) -> None:
    found = plan(model, intent=intent)
    assert (found.routing.rule, found.model.id) == (rule, served)
    assert [p.model for p in found.routing.passed_over] == passed
    assert found.routing.requested == (model or intent)
    assert any("odd" in warning for warning in found.warnings) == (intent == "odd")


@pytest.mark.parametrize("part", ["inputs", "options"])
@pytest.mark.parametrize("policy", ["warn", "drop", "error", None])
def test_the_policy_is_read_from_either_part(plan, part, policy) -> None:
    more = {"on_unsupported": policy}
    found = plan(**more) if part == "inputs" else plan(options=more)
    assert "on_unsupported" not in found.candidates[0].calls[0].payload


@pytest.mark.parametrize(
    ("given", "pointer", "code"),
    [
        ({"options": {"on_unsupported": "shout"}}, "/options/on_unsupported", "not_allowed"),
        ({"on_unsupported": ["warn"]}, "/inputs/on_unsupported", "not_allowed"),
        ({"on_unsupported": "warn", "options": {"on_unsupported": "drop"}}, "/options/on_unsupported",
         "conflicting_values"),
        ({"options": {"max_cost": "much"}}, "/options/max_cost", "not_allowed"),
        ({"options": {"max_cost": True}}, "/options/max_cost", "not_allowed"),
        ({"options": {"max_cost": 0.029999}}, "/options/max_cost", "too_expensive"),
        ({"max_cost": 1, "options": {"max_cost": 2}}, "/options/max_cost", "conflicting_values"),
        ({"image_url": "https://a.test/i.png"}, "/inputs/image_url", "unsupported_parameter"),
    ],
)  # fmt: skip
def test_what_cannot_be_honoured(plan, given, pointer, code) -> None:
    with pytest.raises(InvalidInputs) as caught:
        plan(**given)
    assert [(f.pointer, f.code) for f in caught.value.faults] == [(pointer, code)]


def test_no_route_fits(plan) -> None:
    with pytest.raises(InvalidInputs) as caught:
        plan("edit")
    (fault,) = caught.value.faults
    assert (fault.pointer, fault.code, fault.allowed) == ("/inputs", "missing", "image")


@pytest.mark.parametrize(("count", "price"), [(1, 30_000), (4, 120_000)])
def test_the_quote(plan, count, price) -> None:
    quote = plan(num_images=count).quote
    assert (quote.price_micros, quote.ceiling_micros) == (price, price)


def test_a_candidate_is_small_and_keeps_what_a_provider_needs(plan) -> None:
    candidate = plan().candidates[0]
    assert candidate.route.parameters == {}
    assert candidate.route.endpoint == "first/make"
    assert (candidate.width, candidate.height, candidate.num_images, candidate.calls[0].seed) == (
        64,
        48,
        1,
        11,
    )


def test_the_same_request_gives_the_same_plan(plan) -> None:
    assert plan("two", seed=5) == plan("two", seed=5)


def test_prices_for_people() -> None:
    assert price_words(CATALOG.model("solo").price) == "0.03 USD per image"


def served(plan: Plan) -> tuple[str, tuple[str, ...], list[str]]:
    """Who serves, who may, and who was passed over."""
    return plan.model.id, plan.fallbacks, [over.model for over in plan.routing.passed_over]


def test_the_fallbacks_of_an_intent_cost_no_more(plan) -> None:
    found = plan(None, intent="ranked")
    assert served(found) == ("solo", ("cheap",), [])
    assert found.quote.ceiling_micros == 30_000


def test_a_callers_fallbacks_may_cost_more_and_the_ceiling_says_so(plan) -> None:
    found = plan("solo", fallbacks=("dear", "cheap"))
    assert served(found) == ("solo", ("dear", "cheap"), [])
    assert (found.quote.price_micros, found.quote.ceiling_micros) == (30_000, 50_000)


def test_max_cost_holds_for_fallbacks_too(plan) -> None:
    found = plan("solo", {"max_cost": 0.04}, fallbacks=("dear", "cheap"))
    assert served(found) == ("solo", ("cheap",), [])


def test_a_fallback_that_cannot_honour_the_request_is_none(plan) -> None:
    assert served(plan("solo", fallbacks=("edit", "gone", "cheap", "only", "solo"))) == (
        "solo",
        ("cheap",),
        [],
    )


def test_a_listed_model_serves_when_the_named_one_is_away(plan, away) -> None:
    away("first")
    found = plan("solo", fallbacks=("edit", "dear"))
    assert served(found) == ("dear", (), ["solo", "edit"])
    assert found.routing.why == "a fallback that the request lists"
    assert found.quote.ceiling_micros == 50_000


def test_a_retired_model_may_be_named_with_a_fallback(plan) -> None:
    assert served(plan("gone", fallbacks=("solo",))) == ("solo", (), ["gone"])


def test_the_faults_of_a_named_model_are_told_although_another_could_serve(plan) -> None:
    with pytest.raises(InvalidInputs):
        plan("solo", fallbacks=("cheap",), width=9999)


def test_an_unknown_fallback_is_refused(plan) -> None:
    with pytest.raises(UnknownModel, match="nosuch"):
        plan("solo", fallbacks=("nosuch",))


def test_no_more_than_three_other_models(providers) -> None:
    names = [f"m{n}" for n in range(MOST_FALLBACKS + 2)]
    catalog = small_catalog({**{n: model(route("first")) for n in (*names, "two", "solo", "org/keyed")}})
    request = GenerateRequest(model="solo", inputs={"prompt": "x"}, fallbacks=tuple(names))
    assert make_plan(catalog, providers, request, fresh_seed=1).fallbacks == tuple(names[:MOST_FALLBACKS])


def test_a_candidates_report_is_its_own(plan) -> None:
    """`narrow` has a route without a seed, then one with it."""
    first, second = plan("narrow", {"on_unsupported": "drop"}, seed=5).candidates
    assert [{row.name: row.how for row in one.report}["seed"] for one in (first, second)] == [
        "dropped",
        "exact",
    ]


def test_a_model_whose_fitting_route_is_away_is_passed_over(providers, away) -> None:
    """Another route of it could be used, but for another input."""
    by_image = route("second", when=["image"], parameters={"image_url": {}})
    catalog = small_catalog(
        {
            **{name: model(route("sure")) for name in ("two", "org/keyed", "cheap")},
            "solo": model(by_image, route("first")),
        }
    )
    away("first")
    found = make_plan(
        catalog, providers, GenerateRequest(intent="ranked", inputs={"prompt": "x"}), fresh_seed=1
    )
    assert served(found) == ("cheap", (), ["solo"])
    assert found.routing.passed_over[0].reason == "first is away"


def in_time(providers, seconds: dict[str, float], **request: Any) -> Plan:
    """A plan where the providers named usually take so many seconds."""
    known = Known(usual_s=lambda found: seconds.get(found.provider))
    body = GenerateRequest(inputs={"prompt": "x", "max_seconds": 10}, **request)
    return make_plan(CATALOG, providers, body, fresh_seed=1, known=known)


def test_under_an_intent_what_takes_too_long_is_passed_over(providers) -> None:
    found = in_time(providers, {"first": 12.0, "second": 3.0}, intent="ranked")
    assert served(found) == ("dear", ("cheap",), ["solo"])
    assert found.routing.passed_over[0].reason == "it usually takes 12 seconds, more than max_seconds"
    assert found.max_seconds == 10


def test_a_named_model_that_takes_too_long_is_refused(providers) -> None:
    with pytest.raises(InvalidInputs) as caught:
        in_time(providers, {"first": 12.0}, model="solo")
    assert [(f.pointer, f.code) for f in caught.value.faults] == [("/inputs/max_seconds", "too_slow")]


def test_of_one_model_the_route_that_is_quick_enough_serves(providers) -> None:
    assert routes(in_time(providers, {"first": 12.0}, model="two")) == ["second"]


def test_what_nobody_knows_is_tried(providers) -> None:
    assert routes(in_time(providers, {}, model="two")) == ["first", "second"]


@pytest.mark.parametrize("seconds", [0, 0.5, 86_401, True, "10"])
def test_what_is_no_time_is_refused(plan, seconds) -> None:
    with pytest.raises(InvalidInputs) as caught:
        plan(options={"max_seconds": seconds})
    assert [(f.pointer, f.code) for f in caught.value.faults] == [("/options/max_seconds", "not_allowed")]
