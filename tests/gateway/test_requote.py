"""The quote once more, when the sizes of the input pictures are known."""

from typing import Any

import msgspec
import pytest
from support.scripted_provider import SCRIPTED_TYPES
from support.small_registry import model, route, small_catalog

from gateway.media.walk import picture_sizes, replaced
from gateway.planning import Plan, make_plan
from gateway.requote import requoted
from gateway.schemas import GenerateRequest
from providers.base import MediaRef
from providers.discovery import Providers
from registry.errors import InvalidInputs, UnknownPriceList

INPUTS = {"per_megapixel": "0.02", "input_megapixels": True}
TAKES = {"image_url": {}, "reference_image_urls": {}, "loras": {"shape": "loras"}}
COUNTS = {"price": INPUTS}
COSTS = {"provider_cost": {"per_megapixel": "0.01", "input_megapixels": True}, "parameters": TAKES}
FLAT = {"provider_cost": {"per_image": "0.01"}, "parameters": TAKES}
MODELS: dict[str, Any] = {
    "two": model(route("first", **COSTS), route("second", **COSTS), **COUNTS),
    "solo": model(route("second", **FLAT), price={"per_image": "0.08"}),
    "plain": model(route("first", **FLAT), price={"per_image": "0.05"}),
    "org/keyed": model(route("second", **FLAT), price={"per_image": "0.2"}),
}
CATALOG = small_catalog(msgspec.json.decode(msgspec.json.encode(MODELS)))  # YAML's anchors are not taken


def plan(request: GenerateRequest, **more: Any) -> Plan:
    providers = Providers(CATALOG.data.providers, {"SCRIPT_KEY": "k"}, "", SCRIPTED_TYPES)
    return make_plan(CATALOG, providers, request, fresh_seed=3, **more)


def asked(model: str = "two", fallbacks: list[str] | None = None, **options: Any) -> GenerateRequest:
    inputs = {"prompt": "x", "image_url": "upl_1", "reference_image_urls": ["upl_2"], "size": "64x48"}
    return GenerateRequest(model=model, inputs=inputs, options=options, fallbacks=fallbacks)


def seen(found: Plan, edge: int) -> Plan:
    """The plan with its input pictures fetched, each so many pixels wide and high."""

    def look(ref: MediaRef, kind: str) -> MediaRef:
        return msgspec.structs.replace(ref, width=edge, height=edge) if kind == "image" else ref

    candidates = tuple(
        msgspec.structs.replace(
            one,
            calls=tuple(
                msgspec.structs.replace(call, payload=replaced(call.payload, look)) for call in one.calls
            ),
        )
        for one in found.candidates
    )
    return msgspec.structs.replace(found, candidates=candidates)


def money(found: Plan) -> tuple[int, int, int]:
    return found.quote.price_micros, found.quote.ceiling_micros, found.candidates[0].cost_micros


def test_sizes_are_expected_then_known() -> None:
    request = asked()
    before = plan(request)
    assert before.candidates[0].inputs == (None, None)
    # 1 MP out and 1 MP of each input expected; 4 of each held.
    assert money(before) == (60_000, 180_000, 30_000)
    assert money(requoted(seen(before, 512), request)) == (60_000, 60_000, 30_000)
    after = requoted(seen(before, 1025), request)
    assert money(after) == (100_000, 100_000, 50_000)
    assert [one.ceiling_micros for one in after.candidates] == [100_000, 100_000]
    assert requoted(after, request) == after


def test_what_a_window_takes_off_stays_off() -> None:
    request = asked()
    after = requoted(seen(plan(request, percent_off=20), 2048), request)
    assert (after.quote.price_micros, after.full_micros) == (144_000, 180_000)


def test_a_large_input_is_held_for_as_it_is() -> None:
    request = asked()
    assert money(requoted(seen(plan(request), 4096), request)) == (660_000, 660_000, 330_000)


def test_never_above_max_cost() -> None:
    request = asked(max_cost="0.2")
    before = plan(request)
    assert requoted(seen(before, 2048), request).quote.ceiling_micros == 180_000
    with pytest.raises(InvalidInputs) as caught:
        requoted(seen(before, 4096), request)
    (fault,) = caught.value.faults
    assert (fault.pointer, fault.code) == ("/options/max_cost", "too_expensive")
    assert "0.66" in fault.message


def test_a_price_that_counts_no_inputs_stays() -> None:
    request = asked("solo")
    before = seen(plan(request), 4096)
    assert requoted(before, request) is before


def test_a_listed_fallback_may_cost_more_and_is_held_for() -> None:
    request = asked(fallbacks=["org/keyed", "plain"])
    after = requoted(seen(plan(request), 64), request)
    assert [one.route.model for one in after.candidates] == ["two", "two", "org/keyed", "plain"]
    assert (after.quote.price_micros, after.quote.ceiling_micros) == (60_000, 200_000)


def test_a_listed_fallback_that_counts_inputs_is_held_for_at_their_size_or_left_out() -> None:
    request = asked("plain", fallbacks=["two"], max_cost="0.2")
    before = plan(request)
    assert requoted(seen(before, 2048), request).quote.ceiling_micros == 180_000
    after = requoted(seen(before, 4096), request)
    assert ([one.route.model for one in after.candidates], after.quote.ceiling_micros) == (["plain"], 50_000)


def test_under_an_intent_another_model_that_costs_more_now_is_left_out() -> None:
    """Nobody said yes to more than the first model costs."""
    request = GenerateRequest(intent="mixed", inputs=asked().inputs)
    before = plan(asked(fallbacks=["plain"]))
    assert [one.route.model for one in before.candidates] == ["two", "two", "plain"]
    cheap = requoted(seen(before, 64), request)
    assert [one.route.model for one in cheap.candidates] == ["two", "two", "plain"]
    dear = msgspec.structs.replace(
        before, candidates=(before.candidates[2], *before.candidates[:2]), quote=before.quote
    )
    left = requoted(seen(dear, 4096), request)
    assert ([one.route.model for one in left.candidates], left.quote.ceiling_micros) == (["plain"], 50_000)


def test_the_sizes_of_pictures_alone_count() -> None:
    payload = {
        "image": MediaRef(url="a", width=3, height=4),
        "loras": [{"path": MediaRef(url="b", width=9, height=9), "scale": 1.0}],
        "more": [MediaRef(url="c"), MediaRef(url="d", width=5, height=6)],
    }
    assert picture_sizes(payload) == ((3, 4), None, (5, 6))


def test_an_unknown_price_list_is_told() -> None:
    with pytest.raises(UnknownPriceList, match="'partner'"):
        plan(asked(), price_list="partner")
