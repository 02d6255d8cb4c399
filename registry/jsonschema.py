"""A model's own inputs as JSON Schema: what `/api/models` and `/schema` show."""

from collections.abc import Mapping
from typing import Any

from registry.schema import Model, ParameterRule, SizeRule, Term
from registry.sizes import parse_size

__all__ = ["input_names", "model_schema"]

REFERENCE = "https://, data: or s3:// URL, or an upload id"
TYPES: dict[str, dict[str, Any]] = {
    "string": {"type": "string"},
    "integer": {"type": "integer"},
    "number": {"type": "number"},
    "boolean": {"type": "boolean"},
    "reference": {"type": "string", "format": "uri-reference"},
    "references": {"type": "array", "items": {"type": "string", "format": "uri-reference"}},
    "loras": {
        "type": "array",
        "items": {
            "type": "object",
            "properties": {"url": {"type": "string"}, "scale": {"type": "number", "default": 1.0}},
            "required": ["url"],
        },
    },
    "size": {"type": "string", "pattern": r"^\d+x\d+$"},
    "ratio": {"type": "string", "pattern": r"^\d+:\d+$"},
}


def model_schema(model: Model, vocabulary: Mapping[str, Term]) -> dict[str, Any]:
    """A JSON Schema of the model's inputs: every parameter that some route of it takes."""
    properties = {name: _parameter(rule, vocabulary.get(name)) for name, rule in model.parameters().items()}
    if "loras" in properties:
        for name in ("lora_url", "lora_scale"):
            properties[name] = _parameter(ParameterRule(), vocabulary[name])
    sized = next((route.size for route in model.routes if route.size.style != "none"), None)
    if sized is not None:
        properties.update(_size(sized, vocabulary))
    return {
        "type": "object",
        "properties": properties,
        "required": list(model.required),
        "additionalProperties": False,
    }


def input_names(model: Model, vocabulary: Mapping[str, Term]) -> dict[str, list[str]]:
    """The names alone: `{"required": [...], "optional": [...]}`."""
    names = model_schema(model, vocabulary)["properties"]
    return {
        "required": list(model.required),
        "optional": [name for name in names if name not in model.required],
    }


def _parameter(rule: ParameterRule, term: Term | None) -> dict[str, Any]:
    kind = term.type if term is not None else rule.type or "string"
    schema: dict[str, Any] = dict(TYPES[kind])
    limits = {
        "minimum": rule.min if rule.min is not None else term.min if term else None,
        "maximum": rule.max if rule.max is not None else term.max if term else None,
        "maxLength": term.max_length if term else None,
        "default": rule.default,
        "description": (term.about if term else rule.about) or None,
    }
    schema.update({key: value for key, value in limits.items() if value is not None})
    allowed = rule.enum or (term.enum if term else ())
    if allowed:
        schema["enum"] = list(allowed)
        if term and term.values:
            schema["x-also"] = {k: v for k, v in term.values.items() if v in allowed}
    if term and term.aliases:
        schema["x-aliases"] = list(term.aliases)
    return schema


def _size(rule: SizeRule, vocabulary: Mapping[str, Term]) -> dict[str, Any]:
    width, height = parse_size(rule.default or "") or (None, None)
    found: dict[str, Any] = {}
    for name, default in (("width", width), ("height", height)):
        found[name] = {
            "type": "integer",
            "minimum": rule.min,
            "maximum": rule.max,
            "multipleOf": rule.multiple_of,
            "default": default,
            "description": vocabulary[name].about,
        }
    for name in ("size", "aspect_ratio", "resolution"):
        found[name] = _parameter(ParameterRule(), vocabulary[name])
    return found
