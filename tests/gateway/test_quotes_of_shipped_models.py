"""Fifty requests worked out by hand: which route serves, at which size, for how much."""

from typing import Any

import pytest
from support.quote_table import IMAGE, LORA, TABLE

from gateway.planning import Plan, make_plan
from gateway.schemas import GenerateRequest
from providers.discovery import Providers
from registry.catalog import Catalog
from registry.load import load_registry

CATALOG = Catalog(load_registry())
KEYS = {"FAL_KEY": "id:secret", "MODAL_TOKEN_ID": "ak-1", "MODAL_TOKEN_SECRET": "as-1"}


def plan(model: str | None, inputs: dict[str, Any], intent: str | None = None, **options: Any) -> Plan:
    known = {"prompt": "x"} | inputs
    if model is not None and "prompt" not in CATALOG.model(model).required:
        del known["prompt"]
    providers = Providers(CATALOG.data.providers, KEYS, "")
    request = GenerateRequest(model=model, intent=intent, inputs=known, options=options)
    return make_plan(CATALOG, providers, request, fresh_seed=11)


@pytest.mark.parametrize(("model", "inputs", "endpoint", "size", "micros"), TABLE)
def test_a_quote(
    model: str, inputs: dict[str, Any], endpoint: str, size: tuple[int, int] | None, micros: int
) -> None:
    found = plan(model, inputs)
    first = found.candidates[0]
    assert found.unavailable is None
    assert (first.route.endpoint, found.quote.price_micros) == (endpoint, micros)
    assert (first.width, first.height) == (size or (None, None))


def test_every_model_is_in_the_table() -> None:
    alive = {model.id for model in CATALOG.models.values() if model.status != "retired"}
    assert {CATALOG.model(row[0]).id for row in TABLE} == alive


@pytest.mark.parametrize(
    ("intent", "inputs", "options", "serves", "passed"),
    [
        ("realistic", {"aspect_ratio": "16:9"}, {}, "nano-banana-2", {}),
        ("text_heavy", {"aspect_ratio": "16:9"}, {}, "ideogram-v3", {}),
        ("logic", {"size": "1536x1024"}, {}, "gpt-image-1.5", {}),
        # Three sizes are all it has, and none of them is 16:9.
        ("logic", {"aspect_ratio": "16:9"}, {}, "gpt-image-2", {"gpt-image-1.5": "the nearest is 1536x1024"}),
        ("wide_angle", {"aspect_ratio": "21:9"}, {}, "nano-banana-pro", {}),
        ("speed", {}, {}, "sd-3.5-large-turbo", {}),
        ("speed", LORA, {}, "stable-diffusion-v1-5/stable-diffusion-v1-5", {"flux-schnell": "lora"}),
        ("vector", {}, {}, "recraft-v4-vector", {}),
        ("edit", IMAGE, {}, "flux-pro", {}),
        ("edit", IMAGE | {"mask_url": "upl_4"}, {}, "gpt-image-1.5", {"flux-pro": "mask_url"}),
        ("realistic", {}, {"max_cost": 0.05}, "flux-pro", {"nano-banana-2": "may cost 0.096"}),
        ("realistic", {}, {"max_cost": "0.001"}, "embedded-mini", {"flux-dev": "may cost 0.03"}),
    ],
)
def test_an_intents_first_model_that_can_honour_the_request(
    intent: str, inputs: dict[str, Any], options: dict[str, Any], serves: str, passed: dict[str, str]
) -> None:
    found = plan(None, inputs, intent, **options)
    assert (found.model.id, found.routing.rule, found.routing.requested) == (serves, "intent", intent)
    reasons = {over.model: over.reason for over in found.routing.passed_over}
    for model, said in passed.items():
        assert said in reasons[model]
