"""`allow_downgrade`: the nearest settings that can be paid, and an account of them."""

from typing import Any

import pytest
from support.scripted_provider import SCRIPTED_TYPES
from support.small_registry import MODELS, model, route, small_catalog

from billing.pricing import quote
from gateway.controls import Affordable
from gateway.planning import Plan, make_plan
from gateway.schemas import GenerateRequest
from providers.discovery import Providers
from registry.errors import InvalidInputs


def graded() -> dict[str, Any]:
    """The parameters of a route with three qualities."""
    return {"quality": {"enum": ["low", "medium", "high"], "default": "high"}}


def by_area(**more: int) -> dict[str, Any]:
    """The size rule of a route that takes most sizes."""
    return {"style": "width_height", "default": "1024x1024", "min": 64, "max": 4096, "multiple_of": 8, **more}


def free(**more: Any) -> dict[str, Any]:
    """A route whose provider bills nothing: these prices are not about that."""
    return route("first", provider_cost={"per_image": "0"}, **more)


BY_GRADE = {
    "per_image": "0.20",
    "rates": [
        {"when": {"quality": "low"}, "per_image": "0.01"},
        {"when": {"quality": "medium"}, "per_image": "0.05"},
    ],
}
BY_SHAPE = {"style": "aspect_ratio", "choices": ["1:1", "16:9"], "resolutions": ["1K", "0.5K", "2K", "4K"]}
SIZES = ["2048x1024", "1024x1024", "1024x512"]
CATALOG = small_catalog(
    {
        **MODELS,
        "graded": model(free(parameters=graded()), price=BY_GRADE),
        "area": model(free(size=by_area()), price={"per_megapixel": "0.03"}),
        "tall": model(free(size=by_area(min_pixels=921_600)), price={"per_megapixel": "0.03"}),
        "shape": model(
            free(size=BY_SHAPE),
            price={
                "per_image": "0.08",
                "rates": [
                    {"when": {"resolution": "0.5K"}, "per_image": "0.06"},
                    {"when": {"resolution": "2K"}, "per_image": "0.12"},
                    {"when": {"resolution": "4K"}, "per_image": "0.16"},
                ],
            },
        ),
        "sized": model(
            free(size={"style": "choice", "default": "1024x1024", "choices": SIZES}),
            price={"per_megapixel": "0.10"},
        ),
        "both": model(
            free(size=by_area(), parameters=graded()),
            price={
                "per_megapixel": "0.10",
                "rates": [{"when": {"quality": "low"}, "per_megapixel": "0.04"}],
            },
        ),
    }
)
BALANCE = "the balance"


@pytest.fixture
def plan(tmp_path) -> Any:
    """The plan of a request of somebody who has so many micro-dollars."""
    providers = Providers(CATALOG.data.providers, {}, str(tmp_path), SCRIPTED_TYPES)

    def make(has: int | None, name: str | None = "solo", *, allow: bool = True, **more: Any) -> Plan:
        options = {"allow_downgrade": allow, **more.pop("options", {})}
        extra = {k: more.pop(k) for k in ("intent", "fallbacks") if k in more}
        request = GenerateRequest(model=name, inputs={"prompt": "x", **more}, options=options, **extra)
        affordable = None if has is None else Affordable(micros=has, of=BALANCE)
        return make_plan(CATALOG, providers, request, fresh_seed=11, affordable=affordable)

    return make


def rows(plan: Plan, *names: str) -> list[tuple[Any, ...]]:
    return [(row.name, row.how, row.requested, row.sent) for row in plan.report if row.name in names]


def test_what_can_be_paid_is_left_as_it_is(plan) -> None:
    for has in (None, 800_000):
        found = plan(has, "graded", n=4)
        assert (found.quote.ceiling_micros, found.asked_micros, found.warnings) == (800_000, None, ())
        assert found == plan(None, "graded", allow=False, n=4)


def test_without_leave_nothing_is_lowered(plan) -> None:
    assert plan(10, "graded", allow=False).quote.ceiling_micros == 200_000


@pytest.mark.parametrize(
    ("has", "quality", "count"),
    [(799_999, "medium", 4), (200_000, "medium", 4), (199_999, "low", 4), (40_000, "low", 4),
     (39_999, "low", 3), (10_000, "low", 1)],
)  # fmt: skip
def test_quality_goes_first_then_pictures(plan, has, quality, count) -> None:
    found = plan(has, "graded", n=4)
    (candidate,) = found.candidates
    assert candidate.calls[0].payload["quality"] == quality
    assert candidate.num_images == count
    assert found.quote.ceiling_micros <= has
    assert found.asked_micros == 800_000


def test_the_answer_says_what_was_lowered_why_and_from_what(plan) -> None:
    found = plan(39_999, "graded", n=4)
    told = {row.name: row for row in found.report if row.how == "clamped"}
    assert {name: (row.requested_as, row.requested, row.sent) for name, row in told.items()} == {
        "quality": (None, None, "low"),
        "num_images": ("n", 4, 3),
    }
    assert {row.why for row in told.values()} == {
        "allow_downgrade: as asked for it may cost 0.80 USD, and the balance allows 0.039999 USD"
    }
    assert found.warnings == (
        "allow_downgrade: quality low in place of high, 3 pictures in place of 4: it may cost 0.03 USD in place "
        "of 0.80 USD; the balance allows 0.039999 USD",
    )
    # What serves it says so too.
    assert found.candidates[0].report == found.report
    assert found.candidates[0].warnings == found.warnings


def test_what_lowers_no_price_is_not_lowered(plan) -> None:
    found = plan(50_000, "both", quality="high")
    assert rows(found, "quality") == [("quality", "clamped", "high", "low")]
    found = plan(30_000, "solo", n=2, size="512x512")
    assert (found.candidates[0].width, found.candidates[0].num_images) == (512, 1)


def test_the_lower_quality_of_what_is_asked_for_is_where_it_starts(plan) -> None:
    found = plan(49_999, "graded", quality="medium")
    assert rows(found, "quality") == [("quality", "clamped", "medium", "low")]


@pytest.mark.parametrize(
    ("has", "resolution", "width"),
    [(159_999, "2K", 2728), (119_999, "1K", 1365), (80_000, "1K", 1365), (79_999, "0.5K", 683)],
)
def test_resolutions_keep_the_shape(plan, has, resolution, width) -> None:
    found = plan(has, "shape", resolution="4K", aspect_ratio="16:9")
    payload = found.candidates[0].calls[0].payload
    assert (payload["resolution"], payload["aspect_ratio"]) == (resolution, "16:9")
    assert abs((found.candidates[0].width or 0) - width) <= 4
    assert rows(found, "resolution", "aspect_ratio") == [
        ("resolution", "clamped", "4K", resolution),
        ("aspect_ratio", "exact", "16:9", "16:9"),
    ]


def test_pixels_become_a_lower_resolution(plan) -> None:
    found = plan(80_000, "shape", size="4096x4096")
    assert found.candidates[0].calls[0].payload["resolution"] == "1K"
    assert rows(found, "size", "width", "height") == [("size", "clamped", "4096x4096", "1024x1024")]


@pytest.mark.parametrize(
    ("has", "size"),
    [(89_999, (2048, 1024)), (60_000, (2048, 1024)), (59_999, (1448, 720)), (30_000, (1448, 720))],
)
def test_fewer_megapixels_of_the_same_shape(plan, has, size) -> None:
    found = plan(has, "area", width=2400, height=1200)
    width, height = found.candidates[0].width, found.candidates[0].height
    assert width / height == pytest.approx(2, rel=0.02)
    assert found.quote.ceiling_micros <= has
    assert abs(width - size[0]) <= 8
    assert rows(found, "width", "height") == [
        ("width", "clamped", 2400, width),
        ("height", "clamped", 1200, height),
    ]
    assert not rows(found, "size", "aspect_ratio")


def test_a_resolution_in_pixels_goes_down_by_its_classes(plan) -> None:
    found = plan(479_999, "area", resolution="4K")
    assert (found.candidates[0].width, found.candidates[0].height) == (2048, 2048)
    assert rows(found, "resolution") == [("resolution", "clamped", "4K", "2048x2048")]


def test_the_models_own_size_may_be_lowered(plan) -> None:
    found = plan(100_000, "sized", size="2048x1024")
    # Of the same shape; 1024x1024 costs as much and is another.
    assert (found.candidates[0].width, found.candidates[0].height) == (1024, 512)
    assert rows(found, "size") == [("size", "clamped", "2048x1024", "1024x512")]


def test_no_edge_below_512_and_none_below_the_routes_least(plan) -> None:
    found = plan(30_000, "area", width=4096, height=512)
    assert (found.candidates[0].width, found.candidates[0].height) == (4096, 512)
    found = plan(30_000, "tall", width=1400, height=1400)
    assert found.candidates[0].width * found.candidates[0].height >= 921_600
    assert found.quote.ceiling_micros == 30_000


def test_size_comes_before_pictures(plan) -> None:
    found = plan(60_000, "area", size="2048x2048", n=2)
    assert (found.candidates[0].width, found.candidates[0].num_images) == (1024, 2)


def test_under_max_cost(plan) -> None:
    found = plan(None, "graded", options={"max_cost": 0.05})
    assert (found.quote.ceiling_micros, found.asked_micros) == (50_000, 200_000)
    assert "max_cost allows 0.05 USD" in found.warnings[0]
    assert plan(20_000, "graded", options={"max_cost": 0.05}).quote.ceiling_micros == 10_000


def test_more_than_max_cost_at_the_least(plan) -> None:
    with pytest.raises(InvalidInputs) as caught:
        plan(5, "graded", options={"max_cost": 0.001}, n=2)
    (fault,) = caught.value.faults
    assert (fault.pointer, fault.code) == ("/options/max_cost", "too_expensive")
    assert fault.message == "the least that it may cost is 0.01 USD, more than max_cost"
    assert fault.allowed == "0.01 or more, not 0.001"


def test_more_than_there_is_at_the_least_is_for_the_hold_to_refuse(plan) -> None:
    found = plan(5, "graded", n=2)
    assert (found.quote.ceiling_micros, found.asked_micros) == (10_000, 400_000)
    found = plan(5, "solo")
    assert (found.quote.ceiling_micros, found.asked_micros) == (30_000, None)
    assert found.warnings == (
        "allow_downgrade: nothing less costs less than 0.03 USD, and the balance allows 0.000005 USD",
    )


def test_a_fallback_that_costs_too_much_is_left_out_first(plan) -> None:
    found = plan(30_000, "solo", fallbacks=("dear", "cheap"))
    assert (found.fallbacks, found.quote.ceiling_micros, found.asked_micros) == (("cheap",), 30_000, 50_000)
    assert "without dear as a fallback" in found.warnings[0]
    assert [row.how for row in found.report if row.how == "clamped"] == []


def test_under_an_intent_the_order_stands(plan) -> None:
    """`ranked` is solo, dear, cheap; two pictures of the first are too much, and one is made of it."""
    found = plan(30_000, None, intent="ranked", n=2)
    assert (found.model.id, found.candidates[0].num_images) == ("solo", 1)
    assert found.routing.rule == "intent"
    # Where the next one keeps to max_cost there is no error, and nothing is lowered.
    found = plan(None, None, intent="ranked", options={"max_cost": 0.055}, n=2)
    assert (found.model.id, found.candidates[0].num_images) == ("cheap", 2)
    # Where none does it is the first.
    found = plan(None, None, intent="ranked", options={"max_cost": 0.03}, n=2)
    assert (found.model.id, found.candidates[0].num_images, found.asked_micros) == ("solo", 1, 60_000)


def test_other_faults_are_told(plan) -> None:
    with pytest.raises(InvalidInputs) as caught:
        plan(5, "graded", nonsense=1)
    assert [fault.code for fault in caught.value.faults] == ["unknown_parameter"]


@pytest.mark.parametrize("part", ["inputs", "options"])
def test_it_is_read_from_either_part(plan, part) -> None:
    more = {"allow_downgrade": True} if part == "inputs" else {}
    found = plan(50_000, "graded", options={} if part == "options" else {"allow_downgrade": True}, **more)
    assert found.quote.ceiling_micros == 50_000


@pytest.mark.parametrize("value", ["yes", 1, 0, [True]])
def test_neither_yes_nor_no(plan, value) -> None:
    with pytest.raises(InvalidInputs) as caught:
        plan(5, "graded", options={"allow_downgrade": value})
    assert [(f.pointer, f.code) for f in caught.value.faults] == [("/options/allow_downgrade", "wrong_type")]


def test_a_lowered_plan_is_priced_as_if_it_had_been_asked_for(plan) -> None:
    lowered = plan(39_999, "graded", n=4)
    plain = plan(None, "graded", allow=False, n=3, quality="low")
    assert lowered.quote == plain.quote == quote(plain.price, width=64, height=48, num_images=3)
    assert [c.calls for c in lowered.candidates] == [c.calls for c in plain.candidates]
