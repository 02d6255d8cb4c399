"""What makes two jobs one group: everything that is sent but texts and seeds."""

from typing import Any

import pytest
from msgspec.structs import replace
from support.scripted_provider import SCRIPTED_TYPES
from support.small_registry import model, route, small_catalog

from gateway.jobs.groups import group_key
from gateway.model_plan import Candidate
from gateway.planning import make_plan
from gateway.schemas import GenerateRequest
from providers.base import MediaRef
from providers.discovery import Providers

SENT = {"prompt": {"send": "text"}, "seed": {}, "num_inference_steps": {}, "num_images": {}}
CATALOG = small_catalog(
    {
        "two": model(route("first"), route("second")),
        "solo": model(route("first")),
        "renamed": model(route("first", parameters=SENT)),
        "org/keyed": model(route("first")),
        "negative": model(route("first", parameters={"negative_prompt": {}})),
    }
)


def candidates(name: str = "solo", seed: int = 1, **inputs: Any) -> tuple[Candidate, ...]:
    providers = Providers(CATALOG.data.providers, {}, "/nowhere", SCRIPTED_TYPES)
    request = GenerateRequest(model=name, inputs={"prompt": "a cat", **inputs})
    return make_plan(CATALOG, providers, request, fresh_seed=seed).candidates


def key(name: str = "solo", **inputs: Any) -> str:
    return group_key(candidates(name, **inputs))


@pytest.mark.parametrize("name", ["solo", "renamed"])
def test_texts_and_seeds_are_each_ones_own(name: str) -> None:
    assert len(key(name)) == 64
    assert key(name) == key(name, prompt="a blue sea", seed=9)
    assert key("negative", negative_prompt="x") == key("negative", negative_prompt="y", seed=3)


@pytest.mark.parametrize(
    ("name", "inputs"),
    [("solo", {"size": "32x32"}), ("solo", {"steps": 3}), ("solo", {"n": 2}), ("two", {}), ("org/keyed", {})],
)
def test_all_else_keeps_them_apart(name: str, inputs: dict[str, Any]) -> None:
    assert key(name, **inputs) != key()


def test_a_text_that_is_not_given_is_not_an_empty_one() -> None:
    assert key("negative") != key("negative", negative_prompt="x")


def with_media(url: str, sha256: str | None) -> str:
    first, *rest = candidates()
    media = MediaRef(url=url, key="k" + url, sha256=sha256)
    payload = {**first.calls[0].payload, "loras": ({"path": media, "scale": 1.0},)}
    call = replace(first.calls[0], payload=payload)
    return group_key((replace(first, calls=(call,)), *rest))


def test_weights_are_the_same_by_what_they_hold() -> None:
    assert with_media("https://a.test/x", "11") == with_media("upload:y", "11") != key()
    assert with_media("https://a.test/x", "11") != with_media("https://a.test/x", "22")
    assert with_media("https://a.test/x", None) != with_media("https://a.test/y", None)
