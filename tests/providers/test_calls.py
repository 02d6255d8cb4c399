"""More pictures than an endpoint makes at once: one request as several calls."""

from typing import Any

import pytest
from support.small_registry import model, route, small_catalog

from providers.calls import split, wrapped_seed
from providers.normalizer import Translation, translate
from registry.errors import InvalidInputs
from registry.schema import ParameterRule
from registry.validate import validate

MODELS = {
    "four": model(route("first")),
    "one": model(route("first", parameters={"num_images": None})),
    "text": model(route("first", parameters={"num_images": {"shape": "string"}, "seed": {"max": 9}})),
    "seedless": model(route("first", parameters={"num_images": None, "seed": None})),
    "same": model(
        route("first", when=["image"], parameters={"prompt": None, "num_images": None, "image_url": {}}),
        required=["image_url"],
    ),
}
CATALOG = small_catalog({**{name: model(route("first")) for name in ("two", "solo", "org/keyed")}, **MODELS})


def send(name: str, **asked: Any) -> Translation:
    found = CATALOG.model(name)
    inputs = validate({"inputs": {"prompt": "x", **asked}, "options": {}}, found, CATALOG.vocabulary)
    return translate(inputs, found.routes[0], CATALOG.vocabulary, fresh_seed=7)


@pytest.mark.parametrize(
    ("name", "count", "calls"),
    [
        ("four", 4, [(4, 4, 7)]),
        ("four", 6, [(4, 4, 7), (2, 2, 11)]),
        ("one", 1, [(1, None, 7)]),
        ("one", 3, [(1, None, 7), (1, None, 8), (1, None, 9)]),
        ("text", 6, [(4, "4", 7), (2, "2", 1)]),
        ("seedless", 2, [(1, None, None), (1, None, None)]),
    ],
)
def test_the_calls_of_a_request(name: str, count: int, calls: list[tuple[int, Any, int | None]]) -> None:
    done = send(name, n=count)
    assert [(c.num_images, c.payload.get("num_images"), c.seed) for c in done.calls] == calls
    assert [c.payload.get("seed") for c in done.calls] == [seed for _, _, seed in calls]
    assert (done.num_images, done.payload) == (count, done.calls[0].payload)


def test_the_report_says_how_many_calls() -> None:
    (row,) = [row for row in send("four", n=6).report if row.name == "num_images"]
    assert (row.how, row.requested_as, row.requested, row.sent) == ("emulated", "n", 6, 6)
    assert row.why == "2 calls: the endpoint makes at most 4 pictures at once"


def test_what_is_within_one_call_is_no_emulation() -> None:
    (row,) = [row for row in send("four", num_images=4).report if row.name == "num_images"]
    assert row.how == "exact"


def test_an_endpoint_that_would_make_the_same_picture_again_refuses() -> None:
    found = CATALOG.model("same")
    parts = {"inputs": {"image_url": "https://a.test/x.png", "n": 2}, "options": {}}
    inputs = validate(parts, found, CATALOG.vocabulary)
    with pytest.raises(InvalidInputs) as caught:
        translate(inputs, found.routes[0], CATALOG.vocabulary, fresh_seed=7)
    assert [(f.pointer, f.code) for f in caught.value.faults] == [("/inputs/n", "unsupported_parameter")]


def test_the_calls_share_nothing() -> None:
    first, second = split(CATALOG.model("one").routes[0], {"a": {"b": []}, "seed": 1}, 2, 1)
    second.payload["a"]["b"].append(1)
    assert first.payload["a"] == {"b": []}


@pytest.mark.parametrize(("rule", "seed", "wrapped"), [
    (ParameterRule(), 5, 5), (ParameterRule(max=9), 10, 0), (ParameterRule(min=3, max=5), 6, 3), (ParameterRule(min=3, max=5), 0, 3),
])  # fmt: skip
def test_a_seed_stays_within_its_rule(rule: ParameterRule, seed: int, wrapped: int) -> None:
    assert wrapped_seed(rule, seed) == wrapped
