"""A registry of a few models with prices, run by scripted providers; the vocabulary is the shipped one."""

from importlib import resources
from typing import Any

import yaml

from registry.catalog import Catalog
from registry.load import parse_registry

SHIPPED = yaml.safe_load(resources.files("registry").joinpath("models.yaml").read_text("utf-8"))


def route(provider: str, **more: Any) -> dict[str, Any]:
    """One way to run a model, at 0.02 USD a picture."""
    cost = {"provider_cost": {"per_image": "0.02"}}
    return {"provider": provider, "endpoint": f"{provider}/make", "dialect": "plain", **cost, **more}


def model(*routes: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A model at 0.03 USD a picture."""
    row = {"description": "a test model", "tasks": ["text-to-image"], "price": {"per_image": "0.03"}}
    return {**row, "routes": list(routes), **more}


MODELS = {
    "two": model(route("first"), route("second")),
    "solo": model(route("first"), aliases=["only"]),
    "sure": model(route("sure")),
    "org/keyed": model(route("keyed")),
    "old": model(route("first"), status="deprecated"),
    "gone": model(route("first"), status="retired"),
    "narrow": model(route("first", parameters={"seed": None}), route("second")),
    "edit": model(route("first", when=["image"], parameters={"image_url": {}})),
    "grow": model(
        route("second", when=["image"], parameters={"image_url": {}, "prompt": None}),
        tasks=["upscale"],
        required=["image_url"],
        price={"per_image": "0.01"},
        below_cost="a test's",
    ),
    "single": model(route("first", parameters={"num_images": None})),
    "dear": model(route("second"), price={"per_image": "0.05"}),
    "cheap": model(route("second"), price={"per_image": "0.025"}),
    "free": model(route("first", provider_cost={"per_image": "0"}), price={"per_image": "0"}),
}


def intents(models: dict[str, Any]) -> dict[str, Any]:
    """`plain`, and where its models are there `ranked`: the second of it costs more, the third less."""
    ranked = [name for name in ("solo", "dear", "cheap") if name in models]
    return {
        "plain": {"about": "anything", "models": ["org/keyed", "solo"]},
        "ranked": {"about": "in order", "models": ranked},
    }


def registry_text(models: dict[str, Any] | None = None) -> str:
    """The YAML of it."""
    data = {
        "providers": {
            "first": {"type": "scripted"},
            "second": {"type": "scripted"},
            "sure": {"type": "scripted_idempotent"},
            "keyed": {"type": "scripted", "key": "SCRIPT_KEY"},
        },
        "tiers": SHIPPED["tiers"],
        "vocabulary": SHIPPED["vocabulary"],
        "dialects": {
            "plain": {
                "size": {"style": "width_height", "default": "64x48", "min": 16, "max": 512},
                "parameters": {
                    "prompt": {},
                    "seed": {},
                    "num_inference_steps": {"min": 1, "max": 50, "default": 20},
                    "num_images": {"min": 1, "max": 4, "default": 1},
                },
            }
        },
        "models": MODELS if models is None else models,
        "intents": intents(MODELS if models is None else models),
        "default": ["two"],
    }
    return yaml.safe_dump(data, sort_keys=False)


def small_catalog(models: dict[str, Any] | None = None) -> Catalog:
    """The catalogue of it."""
    return Catalog(parse_registry(registry_text(models), "small.yaml"))
