"""A model's inputs as JSON Schema."""

import importlib
import importlib.util
import re
from typing import Any

import pytest
from support.registry_text import small

from registry.errors import InvalidInputs
from registry.jsonschema import input_names, model_schema
from registry.load import load_registry
from registry.validate import validate

SHIPPED = load_registry()
SCHEMAS = {name: model_schema(model, SHIPPED.vocabulary) for name, model in SHIPPED.models.items()}
TYPES = {"string", "integer", "number", "boolean", "array", "object"}

# The examples of the project's seed document, and one for each model that it does not have.
EXAMPLES: dict[str, dict[str, Any]] = {
    "flux-pro": {"prompt": "A professional headshot"},
    "flux-lora": {
        "prompt": "Professional headshot of jf in a suit",
        "image_url": "s3://bucket/reference.jpg",
        "lora_url": "s3://bucket/loras/jesse_avatar.safetensors",
        "lora_scale": 0.8,
        "width": 1024,
        "height": 1024,
    },
    "face-swap": {"image_url": "s3://bucket/source.jpg", "target_image_url": "s3://bucket/face.jpg"},
    "flux-dev": {"prompt": "a", "loras": [{"url": "upl_1", "scale": 0.5}], "acceleration": "high"},
    "image-to-image": {"prompt": "a", "image_url": "https://a.org/b.png", "strength": 0.5},
    "flux-schnell": {"prompt": "a", "num_inference_steps": 4},
    "flux-pro-ultra": {"prompt": "a", "aspect_ratio": "21:9", "raw": True},
    "flux-kontext-max": {"prompt": "a", "image_url": "upl_1", "aspect_ratio": "1:1"},
    "flux-2": {"prompt": "a", "image_url": "upl_1"},
    "flux-2-pro": {"prompt": "a", "safety_tolerance": "5"},
    "ideogram-v3": {"prompt": "a", "rendering_speed": "QUALITY", "style": "DESIGN"},
    "nano-banana": {"prompt": "a", "aspect_ratio": "5:4"},
    "nano-banana-2": {"prompt": "a", "aspect_ratio": "8:1", "resolution": "0.5K", "thinking_level": "high"},
    "nano-banana-pro": {"prompt": "a", "resolution": "4K", "enable_web_search": True},
    "gpt-image-1.5": {"prompt": "a", "quality": "low", "background": "transparent"},
    "gpt-image-2": {"prompt": "a", "size": "1536x1024", "image_url": "upl_1", "mask_url": "upl_2"},
    "recraft-v3-vector": {"prompt": "a", "style": "vector_illustration"},
    "recraft-v4-vector": {"prompt": "a", "size": "1024x1024"},
    "recraft-v3": {"prompt": "a", "style": "digital_illustration"},
    "qwen-image": {"prompt": "a", "negative_prompt": "b"},
    "seedream-4": {"prompt": "a", "size": "4096x2304"},
    "sd-3.5-large": {"prompt": "a", "loras": [{"url": "upl_1"}]},
    "sd-3.5-large-turbo": {"prompt": "a", "num_inference_steps": 4},
    "fast-sdxl": {"prompt": "a", "output_format": "jpeg"},
    "fast-lightning-sdxl": {"prompt": "a", "num_inference_steps": 8},
    "upscale": {"image_url": "upl_1", "upscale_factor": 4},
    "background-removal": {"image_url": "upl_1"},
    "zai-org/GLM-Image": {"prompt": "a", "size": "1024x1024"},
    "stabilityai/stable-diffusion-xl-base-1.0": {"prompt": "a", "negative_prompt": "b", "scheduler": "euler"},
    "stable-diffusion-v1-5/stable-diffusion-v1-5": {"prompt": "a", "seed": 7, "num_images": 4},
    "embedded-mini": {"prompt": "a", "size": {"width": 256, "height": 256}, "output_format": "png"},
}
REFUSED: list[tuple[str, dict[str, Any]]] = [
    ("flux-pro", {}),
    ("flux-pro", {"prompt": "a", "nothing": 1}),
    ("flux-pro", {"prompt": 7}),
    ("flux-lora", {"prompt": "a"}),
    ("flux-dev", {"prompt": "a", "num_inference_steps": 0}),
    ("flux-dev", {"prompt": "a", "acceleration": "warp"}),
    ("flux-dev", {"prompt": "a", "loras": []}),
    ("flux-dev", {"prompt": "a", "loras": [{"scale": 1}]}),
    ("flux-lora", {"prompt": "a", "lora_url": "upl_1", "lora_scale": 4.5}),
    ("flux-dev", {"prompt": "a", "aspect_ratio": "wide"}),
    ("face-swap", {"image_url": "s3://b/a.jpg", "target_image_url": "ftp://b/c.jpg"}),
]


def problems(schema: dict[str, Any], value: Any) -> list[str]:
    """The keywords that our schemas use, checked by hand; the real validator is used when it is there."""
    found = []
    if "anyOf" in schema and all(problems(branch, value) for branch in schema["anyOf"]):
        found.append("anyOf")
    kinds: dict[str, Any] = {
        "string": str, "integer": int, "number": (int, float), "boolean": bool, "array": list, "object": dict,
    }  # fmt: skip
    kind = schema.get("type")
    if kind and (not isinstance(value, kinds[kind]) or (isinstance(value, bool) and kind != "boolean")):
        return [*found, kind]
    if isinstance(value, dict):
        known = schema.get("properties", {})
        found += [name for name in schema.get("required", []) if name not in value]
        found += [n for n in value if n not in known and schema.get("additionalProperties") is False]
        found += [p for name, item in value.items() if name in known for p in problems(known[name], item)]
    if isinstance(value, list):
        found += ["items"] * (not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", 99))
        found += [p for item in value for p in problems(schema.get("items", {}), item)]
    if isinstance(value, int | float):
        found += ["range"] * (not schema.get("minimum", value) <= value <= schema.get("maximum", value))
        found += ["multipleOf"] * (value % schema.get("multipleOf", value or 1) != 0)
    if isinstance(value, str):
        found += ["pattern"] * (re.search(schema.get("pattern", ""), value) is None)
        found += ["maxLength"] * (len(value) > schema.get("maxLength", len(value)))
    return found + ["enum"] * (value not in schema.get("enum", [value]))


def valid(schema: dict[str, Any], value: Any) -> bool:
    if importlib.util.find_spec("jsonschema") is None:
        return not problems(schema, value)
    answer: bool = importlib.import_module("jsonschema").Draft202012Validator(schema).is_valid(value)
    assert answer is not bool(problems(schema, value))
    return answer


def nodes(schema: dict[str, Any]) -> list[dict[str, Any]]:
    inner = [*schema.get("properties", {}).values(), *schema.get("anyOf", [])]
    inner += [schema["items"]] if "items" in schema else []
    return [schema] + [found for node in inner for found in nodes(node)]


@pytest.mark.parametrize("name", SCHEMAS)
def test_it_is_a_schema(name: str) -> None:
    if importlib.util.find_spec("jsonschema") is not None:
        importlib.import_module("jsonschema").Draft202012Validator.check_schema(SCHEMAS[name])
    for node in nodes(SCHEMAS[name]):
        assert node.get("type", "string") in TYPES
        assert node.get("minimum", 0) <= node.get("maximum", 1 << 60)
        assert set(node.get("required", [])) <= node.get("properties", SCHEMAS[name]["properties"]).keys()
        assert "default" not in node or not problems(node, node["default"])
        re.compile(node.get("pattern", ""))


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_valid(name: str) -> None:
    assert valid(SCHEMAS[name], EXAMPLES[name])
    validate({"inputs": EXAMPLES[name]}, SHIPPED.models[name], SHIPPED.vocabulary)


@pytest.mark.parametrize(("name", "inputs"), REFUSED)
def test_the_schema_refuses_what_validation_refuses(name: str, inputs: dict[str, Any]) -> None:
    assert not valid(SCHEMAS[name], inputs)
    with pytest.raises(InvalidInputs):
        validate({"inputs": inputs}, SHIPPED.models[name], SHIPPED.vocabulary)


def test_every_model_has_an_example() -> None:
    assert EXAMPLES.keys() == {m.id for m in SHIPPED.models.values() if m.status != "retired"}


def test_a_required_lora_comes_alone_or_in_a_list() -> None:
    assert valid(SCHEMAS["flux-lora"], {"prompt": "a", "loras": [{"url": "upl_1"}]})
    assert SCHEMAS["flux-lora"]["required"] == ["prompt"]


def test_limits_are_those_of_every_route_together() -> None:
    shown = SCHEMAS["flux-dev"]["properties"]
    assert shown["acceleration"]["enum"] == ["none", "regular", "high"]
    assert (shown["guidance_scale"]["minimum"], shown["guidance_scale"]["maximum"]) == (0, 35)
    assert "default" not in shown["strength"]  # the routes have different ones
    assert SCHEMAS["image-to-image"]["properties"]["strength"]["default"] == 0.95


def test_the_scale_of_a_lora_is_that_of_the_models_routes() -> None:
    for model in ("flux-dev", "flux-lora"):
        shown = SCHEMAS[model]["properties"]
        assert (shown["lora_scale"]["minimum"], shown["lora_scale"]["maximum"]) == (0, 4)
        scale = shown["loras"]["items"]["properties"]["scale"]
        assert (scale["minimum"], scale["maximum"], scale["default"]) == (0, 4, 1.0)
        assert not shown["loras"].keys() & {"minimum", "maximum"}
        assert not valid(SCHEMAS[model], {"prompt": "a", "loras": [{"url": "upl_1", "scale": -0.5}]})
    catalogue = small(("{enum: [euler, ddim]}", "{}\n          loras: {shape: loras, min: -9}"))
    shown = model_schema(catalogue.models["one"], catalogue.vocabulary)["properties"]
    assert (shown["lora_scale"]["minimum"], shown["lora_scale"]["maximum"]) == (-4, 4)
    assert shown["loras"]["items"]["properties"]["scale"]["minimum"] == -4


def test_a_parameter_shows_its_spellings() -> None:
    shown = SCHEMAS["stabilityai/stable-diffusion-xl-base-1.0"]["properties"]
    assert "cfg_scale" in shown["guidance_scale"]["x-aliases"]
    assert shown["scheduler"]["x-also"]["k_euler"] == "euler"
    assert shown["guidance_scale"]["default"] == 5.0
    assert shown["width"] == {
        "type": "integer",
        "minimum": 256,
        "maximum": 2048,
        "multipleOf": 8,
        "default": 1024,
        "description": "Pixels",
    }


@pytest.mark.parametrize("word", ["width", "height", "size", "aspect_ratio", "resolution"])
def test_a_model_without_sizes_shows_none(word: str) -> None:
    assert word not in SCHEMAS["face-swap"]["properties"]
    assert word in SCHEMAS["flux-dev"]["properties"]


def test_a_native_enum_of_integers_holds_integers() -> None:
    catalogue = small(("type: boolean, about", "type: integer, enum: ['1', '2'], about"))
    assert model_schema(catalogue.models["one"], catalogue.vocabulary)["properties"]["tiling"]["enum"] == [
        1,
        2,
    ]


def test_names_alone() -> None:
    names = input_names(SHIPPED.models["flux-lora"], SHIPPED.vocabulary)
    assert names["required"] == ["prompt", "lora_url"]
    assert {"image_url", "lora_scale", "strength"} <= set(names["optional"])
    assert not {"prompt", "lora_url"} & set(names["optional"])


def test_a_vocabulary_need_not_have_every_word() -> None:
    catalogue = small(("  resolution: {type: string, matters: picture, enum: [1K, 2K], about: Area}\n", ""))
    shown = model_schema(catalogue.models["one"], catalogue.vocabulary)["properties"]
    assert "resolution" not in shown
    assert "width" in shown
