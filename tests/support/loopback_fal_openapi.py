"""fal's OpenAPI document of an endpoint, made of the hand-written inputs of the loopback fal.

Its outline is that of fal's documents, its words are ours. What fal writes in several ways (null, a shared type)
is written in several ways here too.
"""

from copy import deepcopy
from typing import Any

from support.loopback_fal import ENDPOINTS

__all__ = ["document"]

SHARED = {
    "ImageSize": {
        "type": "object",
        "title": "ImageSize",
        "required": ["width", "height"],
        "properties": {
            name: {"type": "integer", "exclusiveMinimum": 0, "maximum": 14142, "default": 512}
            for name in ("width", "height")
        },
    },
    "LoraWeight": {
        "type": "object",
        "title": "LoraWeight",
        "required": ["path"],
        "properties": {
            "path": {"type": "string", "description": "Where the weights are"},
            "scale": {"type": "number", "minimum": 0, "maximum": 4, "default": 1},
        },
    },
    "Image": {
        "type": "object",
        "required": ["url"],
        "properties": {
            "url": {"type": "string"},
            "width": {"type": "integer"},
            "height": {"type": "integer"},
        },
    },
    "QueueStatus": {"type": "object", "properties": {"status": {"type": "string", "enum": ["IN_QUEUE"]}}},
}


def document(endpoint: str) -> dict[str, Any]:
    """The document of one of the loopback fal's endpoints; a copy, to be changed."""
    known = ENDPOINTS[endpoint]
    name = "".join(part.title() for part in endpoint.replace("/", "-").replace(".", "-").split("-"))
    shared = deepcopy(SHARED)
    fields = {
        field: _property(field, deepcopy(check.schema), field in known.required, shared)
        for field, check in known.fields.items()
    }
    shared[f"{name}Input"] = {
        "type": "object",
        "title": f"{name}Input",
        "required": list(known.required),
        "x-fal-order-properties": list(fields),
        "properties": fields,
    }
    image = {"$ref": "#/components/schemas/Image"}
    made = {"type": "array", "items": image} if known.output == "images" else image
    shared[f"{name}Output"] = {
        "type": "object",
        "required": [known.output],
        "properties": {known.output: made, "seed": {"type": "integer"}},
    }
    return {
        "openapi": "3.0.4",
        "info": {
            "title": f"Queue OpenAPI for {endpoint}",
            "version": "1.0.0",
            "x-fal-metadata": {"endpointId": endpoint, "category": _category(known.required)},
        },
        "components": {"schemas": shared},
        "paths": {
            f"/{endpoint}": {"post": {"requestBody": _json(f"{name}Input")}},
            f"/{endpoint}/requests/{{request_id}}": {"get": {"responses": {"200": _json(f"{name}Output")}}},
            f"/{endpoint}/requests/{{request_id}}/cancel": {"put": {"responses": {"200": {}}}},
        },
    }


def _json(name: str) -> dict[str, Any]:
    return {"content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{name}"}}}}


def _category(required: tuple[str, ...]) -> str:
    return "image-to-image" if any("image" in name for name in required) else "text-to-image"


def _property(field: str, schema: dict[str, Any], required: bool, shared: dict[str, Any]) -> dict[str, Any]:
    schema["description"] = f"The {field.replace('_', ' ')} of the request."
    if field == "acceleration":
        shared["Speed"] = schema
        return {"allOf": [{"$ref": "#/components/schemas/Speed"}], "default": "none"}
    if field == "seed":
        del schema["description"]
        return {"anyOf": [schema, {"type": "null"}], "title": "Seed"}
    if field == "num_images":
        return schema | {"default": 1}
    return schema if required else schema | {"nullable": True}
