"""What a call has cost us: by the provider's own count, by the seconds that it ran, or by our list."""

from copy import deepcopy
from decimal import Decimal
from typing import Any

import pytest
from support.scripted_provider import SCRIPTED_TYPES
from support.small_registry import model, route, small_catalog

from gateway.planning import Candidate, make_plan
from gateway.pricing import actual_cost, charged_seconds, ran_seconds
from gateway.schemas import GenerateRequest
from providers.base import ImageUrl, Succeeded
from providers.discovery import Providers
from registry.load import load_registry
from registry.schema import Price

SMALL, LARGE = (1024, 1024), (2048, 2048)
DOUBLED = {"per_image": "0.04", "multipliers": [{"when": {"num_inference_steps": 50}, "factor": "2"}]}
FIRST = {"per_megapixel": "0.015", "first_megapixel": "0.03"}
COMPUTE = {"per_compute_second": "0.00125", "typical_seconds": "3"}
GPU = {"per_gpu_second": "0.0005", "typical_seconds": "6"}


def candidate(cost: dict[str, Any], **inputs: Any) -> Candidate:
    """The way a request for 1024x1024 goes, at this cost."""
    size = {"style": "width_height", "default": "1024x1024", "max": 4096}
    models = {
        name: model(route("first", provider_cost=deepcopy(cost), size=dict(size)), price={"per_image": "9"})
        for name in ("two", "org/keyed", "solo")
    }
    catalog = small_catalog(models)
    providers = Providers(catalog.data.providers, {}, "", SCRIPTED_TYPES)
    request = GenerateRequest(model="two", inputs={"prompt": "x", **inputs})
    return make_plan(catalog, providers, request, fresh_seed=3).candidates[0]


def done(**said: Any) -> Succeeded:
    return Succeeded(images=(ImageUrl(url="https://a.test/a.png"),), **said)


@pytest.mark.parametrize(
    ("cost", "said", "sizes", "billed", "listed"),
    [
        # The provider's units, which hold its multipliers, times the base rate.
        ({"per_megapixel": "0.025"}, {"billable_units": "4"}, [LARGE], 100_000, 100_000),
        ({"per_megapixel": "0.025"}, {"billable_units": "5"}, [LARGE], 125_000, 100_000),
        ({"per_image": "0.04"}, {"billable_units": "2"}, [SMALL, SMALL], 80_000, 80_000),
        ({"per_image": "0.04"}, {"billable_units": "0"}, [SMALL], 0, 40_000),
        ({"per_image": "0.2", "unit_price": "1"}, {"billable_units": "0.133"}, [SMALL], 133_000, 200_000),
        (COMPUTE, {"billable_units": "2.4", "run_seconds": 99.0}, [SMALL], 3_000, 3_750),
        ({"flat": "0.1"}, {"billable_units": "1"}, [SMALL, SMALL], 100_000, 100_000),
        # Its seconds, where it counts no units.
        (GPU, {"run_seconds": 4.0, "load_seconds": 10.0}, [SMALL], 7_000, 3_000),
        (GPU, {"run_seconds": 4.0}, [SMALL, SMALL], 2_000, 6_000),
        (COMPUTE, {"run_seconds": 2.0}, [SMALL], 2_500, 3_750),
        # Our list, where it says nothing, or units of which nobody knows what one costs.
        ({"per_megapixel": "0.025"}, {"run_seconds": 2.0}, [LARGE, SMALL], 125_000, 125_000),
        (GPU, {}, [SMALL], 3_000, 3_000),
        (FIRST, {"billable_units": "2.5"}, [LARGE], 75_000, 75_000),
        (FIRST | {"unit_price": "0.03"}, {"billable_units": "2.5"}, [LARGE], 75_000, 75_000),
        (FIRST | {"unit_price": "0.03"}, {"billable_units": "3"}, [LARGE], 90_000, 75_000),
    ],
)
def test_what_a_call_costs(
    cost: dict[str, Any], said: dict[str, Any], sizes: list[tuple[int, int]], billed: int, listed: int
) -> None:
    found = actual_cost(candidate(cost), done(**said), sizes)
    assert (found.cost_micros, found.listed_micros) == (billed, listed)
    assert found.billable_units == said.get("billable_units")


def test_units_hold_the_multipliers_already() -> None:
    chosen = candidate(DOUBLED, num_inference_steps=50)
    assert chosen.cost_micros == 80_000
    found = actual_cost(chosen, done(billable_units="2"), [SMALL])
    assert (found.cost_micros, found.listed_micros) == (80_000, 80_000)


def test_a_long_count_of_units_is_kept_short() -> None:
    units = "1." + "0" * 60 + "1"
    found = actual_cost(candidate({"per_image": "0.04"}), done(billable_units=units), [SMALL])
    assert (found.billable_units, found.cost_micros) == ("1.000000", 40_000)


@pytest.mark.parametrize(
    ("cost", "ran", "seconds"),
    [
        (COMPUTE, {"billable_units": "2.4", "run_seconds": 9.0}, "2.4"),
        (COMPUTE, {"run_seconds": 9.0, "load_seconds": 1.5}, "10.5"),
        (COMPUTE, {"run_seconds": "9.000", "load_seconds": "1.500"}, "10.500"),
        (COMPUTE, {}, None),
        # Units that are no seconds.
        (COMPUTE | {"unit_price": "1"}, {"billable_units": "2.4", "run_seconds": 9.0}, "9.0"),
        ({"per_image": "0.04"}, {"billable_units": "2", "run_seconds": 9.0}, "9.0"),
        ({"per_image": "0.04"}, {"billable_units": "2"}, None),
    ],
)
def test_the_seconds_that_a_call_is_charged_for(
    cost: dict[str, Any], ran: dict[str, Any], seconds: str | None
) -> None:
    nothing = {"run_seconds": None, "load_seconds": None, "billable_units": None}
    found = ran_seconds(candidate(cost), **{**nothing, **ran})
    assert found == (None if seconds is None else Decimal(seconds))


def test_calls_of_which_nobody_knows_took_what_is_typical() -> None:
    by_second = Price(per_gpu_second=Decimal("0.001"), typical_seconds=Decimal(6))
    calls = [(2, Decimal("1.5")), (1, None), (3, None), (0, Decimal(50)), (0, None)]
    assert charged_seconds(by_second, calls) == Decimal("25.5")
    assert charged_seconds(Price(per_image=Decimal(1)), calls) is None


def test_the_units_of_shipped_routes() -> None:
    """fal's GPT Image units are dollars; a unit of FLUX.2 pro is not known; all others are of the base rate."""
    catalogue = load_registry()
    gpt, first = (catalogue.models[name].routes[0] for name in ("gpt-image-1.5", "flux-2-pro"))
    assert gpt.provider_cost.unit_price == 1
    assert first.provider_cost.unit_price is None
    others = [
        route
        for one in catalogue.models.values()
        for route in one.routes
        if one.id not in ("gpt-image-1.5", "gpt-image-2", "flux-2-pro")
    ]
    assert {route.provider_cost.unit_price for route in others} == {None}
    assert {route.provider_cost.first_megapixel for route in others} == {None}
