"""Whatever fal changes under a route is found, and what it merely adds breaks nothing."""

from collections.abc import Callable
from typing import Any

import pytest
from support.loopback_fal_openapi import document
from support.loopback_fal_platform import input_of

from providers.fal.findings import Finding
from providers.fal.live_check import fal_routes
from providers.fal.openapi import read_schema
from providers.fal.outgoing import outgoing
from providers.fal.schema_diff import diff_schema
from registry.load import load_registry
from registry.schema import Model, Route

SHIPPED = load_registry()
ROUTES = {(model.id, route.endpoint): (model, route) for model, route in fal_routes(SHIPPED)}
BY_ENDPOINT: dict[str, tuple[Model, Route]] = {endpoint: both for (_, endpoint), both in ROUTES.items()}
Edit = Callable[[dict[str, Any]], Any]
DEV, LORA = "fal-ai/flux/dev", "fal-ai/flux-lora"


def diff(endpoint: str, edit: Edit = lambda given: None) -> list[Finding]:
    """What is found when fal's input of an endpoint is edited."""
    written = document(endpoint)
    edit(input_of(written))
    model, route = BY_ENDPOINT[endpoint]
    return list(diff_schema(model, route, SHIPPED.vocabulary, read_schema(written, endpoint)))


def new(endpoint: str, edit: Edit) -> list[Finding]:
    """What the edit alone brought."""
    before = diff(endpoint)
    return [finding for finding in diff(endpoint, edit) if finding not in before]


def put(name: str, schema: Any, *, required: bool = False) -> Edit:
    def edit(given: dict[str, Any]) -> None:
        given["properties"][name] = schema
        given["required"] += [name] * required

    return edit


@pytest.mark.parametrize("endpoint", BY_ENDPOINT)
def test_the_shipped_rows_fit_what_fal_documents(endpoint) -> None:
    assert [finding for finding in diff(endpoint) if finding.level == "breaks"] == []


@pytest.mark.parametrize("endpoint", BY_ENDPOINT)
def test_every_field_that_is_sent_is_missed_when_it_goes(endpoint) -> None:
    model, route = BY_ENDPOINT[endpoint]
    sent = outgoing(route, model.required, SHIPPED.vocabulary)
    assert sent
    for name in sent:
        found = new(endpoint, lambda given, name=name: given["properties"].pop(name))
        assert [(f.code, f.message.split()[0]) for f in found if f.level == "breaks"] == [
            ("field_gone", name)
        ]


@pytest.mark.parametrize(
    ("endpoint", "edit", "code", "words"),
    [
        (
            DEV,
            put("token", {"type": "string"}, required=True),
            "field_required",
            "token (string) is required",
        ),
        (
            DEV,
            lambda g: g["required"].append("guidance_scale"),
            "field_required",
            "only when the caller gives",
        ),
        (DEV, put("seed", {"type": "string"}), "type_changed", "sent as an integer"),
        (
            DEV,
            put("prompt", {"type": "array", "items": {"type": "string"}}),
            "type_changed",
            "takes an array",
        ),
        (DEV, put("guidance_scale", {"type": "integer"}), "type_changed", "sent as a number"),
        (
            DEV,
            put("image_size", {"type": "string", "enum": ["square"]}),
            "type_changed",
            "image_size is sent as an object",
        ),
        (
            DEV,
            put("image_size", {"type": "object", "properties": {"w": {"type": "integer"}}}),
            "field_gone",
            "image_size.width",
        ),
        (
            DEV,
            put(
                "image_size",
                {
                    "type": "object",
                    "required": ["depth"],
                    "properties": {
                        name: {"type": "integer", "maximum": 1536} for name in ("width", "height", "depth")
                    },
                },
            ),
            "field_required",
            "image_size.depth",
        ),
        (
            DEV,
            put(
                "image_size",
                {
                    "type": "object",
                    "properties": {n: {"type": "integer", "maximum": 1536} for n in ("width", "height")},
                },
            ),
            "range_narrower",
            "image_size.width may be 64 to 2048 here, and at most 1536 there",
        ),
        (
            DEV,
            put(
                "image_size",
                {
                    "type": "object",
                    "properties": {n: {"type": "integer", "multipleOf": 16} for n in ("width", "height")},
                },
            ),
            "range_narrower",
            "in steps of 8 here, and of 16 there",
        ),
        (
            DEV,
            put("output_format", {"type": "string", "enum": ["png", "avif"]}),
            "value_gone",
            "output_format may be jpeg here",
        ),
        (
            DEV,
            put("prompt", {"type": "string", "enum": ["a", "b"]}),
            "value_gone",
            "prompt may be any text, and the endpoint takes only a, b",
        ),
        (
            DEV,
            put("num_inference_steps", {"type": "integer", "minimum": 1, "maximum": 40}),
            "range_narrower",
            "num_inference_steps may be 1 to 50 here, and 1 to 40 there",
        ),
        (
            DEV,
            put("num_images", {"type": "integer", "enum": [1, 2]}),
            "value_gone",
            "num_images may be 3, 4 here",
        ),
        (
            DEV,
            put("seed", {"type": "integer", "enum": [1, 2]}),
            "value_gone",
            "seed may be 0 to 9007199254740991, and the endpoint takes only 1, 2",
        ),
        (
            DEV,
            put("num_inference_steps", {"type": "integer", "exclusiveMinimum": 1}),
            "range_narrower",
            "at least 2 there",
        ),
        (
            DEV,
            put("guidance_scale", {"type": "number", "exclusiveMinimum": 1, "maximum": 20}),
            "range_narrower",
            "above 1 to 20 there",
        ),
        (
            DEV,
            put("seed", {"type": "integer", "minimum": 0, "maximum": 2147483647}),
            "range_narrower",
            "seed may be 0 to 9007199254740991 here",
        ),
        (
            LORA,
            put(
                "loras",
                {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "properties": {
                            "path": {"type": "string"},
                            "scale": {"type": "number", "minimum": 0, "maximum": 2},
                        },
                    },
                },
            ),
            "range_narrower",
            "loras[].scale may be 0 to 4 here, and 0 to 2 there",
        ),
        (
            LORA,
            put("loras", {"type": "array", "items": {"type": "object", "properties": {"url": {}}}}),
            "field_gone",
            "loras[].path",
        ),
        (
            "fal-ai/nano-banana/edit",
            put("image_urls", {"type": "string"}),
            "type_changed",
            "image_urls is sent as an array, and the endpoint takes a string",
        ),
        (
            "fal-ai/nano-banana",
            put("aspect_ratio", {"type": "string", "enum": ["1:1", "16:9"]}),
            "value_gone",
            "aspect_ratio may be 21:9, 3:2",
        ),
        (
            "fal-ai/nano-banana-2",
            put("resolution", {"type": "string", "enum": ["1K", "2K", "4K"]}),
            "value_gone",
            "resolution may be 0.5K here",
        ),
        (
            "fal-ai/gpt-image-1.5",
            put("image_size", {"type": "string", "enum": ["1024x1024", "1536x1024"]}),
            "value_gone",
            "image_size may be 1024x1536 here",
        ),
        (
            "fal-ai/fast-lightning-sdxl",
            put("num_inference_steps", {"type": "integer", "enum": [1, 2, 4, 8]}),
            "type_changed",
            "num_inference_steps is sent as a string",
        ),
        (
            "fal-ai/fast-lightning-sdxl",
            put("num_inference_steps", {"type": "string", "enum": ["4", "8"]}),
            "value_gone",
            "num_inference_steps may be 1, 2 here",
        ),
    ],
)
def test_what_breaks(endpoint, edit, code, words) -> None:
    found = [finding for finding in new(endpoint, edit) if finding.level == "breaks"]
    assert any(finding.code == code and words in finding.message for finding in found), found
    model, route = BY_ENDPOINT[endpoint]
    assert all((f.model, f.endpoint, bool(f.todo)) == (model.id, route.endpoint, True) for f in found)


@pytest.mark.parametrize(
    ("endpoint", "edit", "code", "words"),
    [
        (
            DEV,
            put("mood", {"type": "string", "enum": ["calm", "wild"]}),
            "field_unused",
            "mood (one of calm, wild)",
        ),
        (
            DEV,
            put("num_inference_steps", {"type": "integer", "minimum": 1, "maximum": 60}),
            "range_wider",
            "1 to 60 there, and 1 to 50 here",
        ),
        (
            DEV,
            put("acceleration", {"type": "string", "enum": ["none", "regular", "high", "extreme"]}),
            "value_unused",
            "acceleration also takes extreme",
        ),
        (
            DEV,
            put("prompt", {"type": "string", "maxLength": 500}),
            "text_shorter",
            "prompt may have 500 characters there, and 10000 here",
        ),
    ],
)
def test_what_is_new_is_a_note(endpoint, edit, code, words) -> None:
    found = new(endpoint, edit)
    assert [(f.level, f.code) for f in found] == [("note", code)]
    assert words in found[0].message


@pytest.mark.parametrize(
    "edit",
    [
        put("seed", {"anyOf": [{"type": "integer"}, {"type": "null"}]}),
        put("seed", {"type": "number"}),
        put("seed", {}),
        put("sync_mode", {"type": "string"}),
        put("num_images", {"type": "integer", "enum": [1, 2, 3, 4]}),
        put("output_format", {"anyOf": [{"type": "string", "enum": ["avif"]}, {"type": "string"}]}),
        put("image_size", {"anyOf": [{"type": "string"}, {"type": "object"}]}),
        put("seed", {"type": "integer", "minimum": 0, "maximum": 2**63 - 1}),
        lambda g: g["required"].append("seed"),
    ],
)
def test_what_makes_no_difference(edit) -> None:
    assert new(DEV, edit) == []


def test_a_result_without_pictures_breaks() -> None:
    written = document(DEV)
    output = next(v for k, v in written["components"]["schemas"].items() if k.endswith("Output"))
    output["properties"] = {"video": {"type": "object"}}
    model, route = BY_ENDPOINT[DEV]
    first = diff_schema(model, route, SHIPPED.vocabulary, read_schema(written, DEV))[0]
    assert (first.level, first.code) == ("breaks", "result_changed")
    assert "video" in first.message


def test_what_breaks_comes_first() -> None:
    found = diff("fal-ai/nano-banana", lambda given: given["properties"].pop("seed"))
    assert [finding.level for finding in found] == sorted(finding.level for finding in found)
    assert {finding.level for finding in found} == {"breaks", "note"}
