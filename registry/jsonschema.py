"""A model's own inputs as JSON Schema: what `/api/models` and `/schema` show."""

from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from registry.schema import Model, ParameterRule, SizeRule, Term
from registry.sizes import SIZE_WORDS, parse_size
from registry.values import MAX_REFERENCES

__all__ = ["input_names", "model_schema"]

REFERENCE = {"type": "string", "format": "uri-reference", "pattern": "^(https://|data:|s3://|upl_)"}
TYPES: dict[str, dict[str, Any]] = {
    "string": {"type": "string"},
    "integer": {"type": "integer"},
    "number": {"type": "number"},
    "boolean": {"type": "boolean"},
    "reference": REFERENCE,
    "references": {"type": "array", "items": REFERENCE, "minItems": 1, "maxItems": MAX_REFERENCES},
    "loras": {
        "type": "array",
        "items": {
            "type": "object",
            "properties": {
                "url": REFERENCE,
                "scale": {"type": "number", "minimum": -4, "maximum": 4, "default": 1.0},
            },
            "required": ["url"],
            "additionalProperties": False,
        },
        "minItems": 1,
        "maxItems": MAX_REFERENCES,
    },
    "size": {
        "anyOf": [
            {"type": "string", "pattern": "^[0-9]{1,5}x[0-9]{1,5}$"},
            {
                "type": "object",
                "properties": {"width": {"type": "integer"}, "height": {"type": "integer"}},
                "required": ["width", "height"],
                "additionalProperties": False,
            },
        ]
    },
    "ratio": {"type": "string", "pattern": "^[0-9]{1,4}:[0-9]{1,4}$"},
}


def model_schema(model: Model, vocabulary: Mapping[str, Term]) -> dict[str, Any]:
    """A JSON Schema (2020-12) of the model's inputs: every parameter that some route of it takes,
    in the vocabulary's own spelling.
    """
    properties = {name: _parameter(rule, vocabulary.get(name)) for name, rule in model.parameters().items()}
    if "num_images" in vocabulary and any(route.repeatable for route in model.routes):
        # More than the endpoint makes at once take several calls.
        rule = replace(model.parameters().get("num_images", ParameterRule(default=1)), max=None)
        properties["num_images"] = _parameter(rule, vocabulary["num_images"])
    if "optimize_prompt" in vocabulary and any(route.prompt_style is not None for route in model.routes):
        properties.setdefault("optimize_prompt", _parameter(ParameterRule(), vocabulary["optimize_prompt"]))
    for name in model.required:
        if properties.get(name, {}).get("type") == "string":
            properties[name]["minLength"] = 1
    if "loras" in properties:
        scale = model.parameters()["loras"]
        properties.update(_words(("lora_url",), vocabulary))
        properties.update(_words(("lora_scale",), vocabulary, ParameterRule(min=scale.min, max=scale.max)))
    sized = next((route.size for route in model.routes if route.size.style != "none"), None)
    if sized is not None:
        properties.update(_size(sized, vocabulary))
    schema: dict[str, Any] = {
        "type": "object",
        "properties": properties,
        "required": list(model.required),
        "additionalProperties": False,
    }
    if "lora_url" in model.required:
        schema["required"].remove("lora_url")
        schema["anyOf"] = [{"required": ["lora_url"]}, {"required": ["loras"]}]
    return schema


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
    if kind == "loras":
        schema["items"], rule = _lora(schema["items"], rule), replace(rule, min=None, max=None)
    limits = {
        "minimum": max((m for m in (rule.min, term.min if term else None) if m is not None), default=None),
        "maximum": min((m for m in (rule.max, term.max if term else None) if m is not None), default=None),
        "maxLength": term.max_length if term else None,
        "default": rule.default,
        "description": (term.about if term else rule.about) or None,
    }
    schema.update({key: value for key, value in limits.items() if value is not None})
    if kind == "references" and rule.most is not None:
        schema["maxItems"] = rule.most
    allowed = rule.enum or (term.enum if term else ())
    if allowed:
        schema["enum"] = [int(value) for value in allowed] if kind == "integer" else list(allowed)
        if term and term.values:
            schema["x-also"] = {k: v for k, v in term.values.items() if v in allowed}
    if term and term.aliases:
        schema["x-aliases"] = list(term.aliases)
    return schema


def _lora(item: dict[str, Any], rule: ParameterRule) -> dict[str, Any]:
    """One LoRA, its scale within the rule."""
    scale = dict(item["properties"]["scale"])
    if rule.min is not None:
        scale["minimum"] = max(scale["minimum"], rule.min)
    if rule.max is not None:
        scale["maximum"] = min(scale["maximum"], rule.max)
    return {**item, "properties": {**item["properties"], "scale": scale}}


def _size(rule: SizeRule, vocabulary: Mapping[str, Term]) -> dict[str, Any]:
    width, height = parse_size(rule.default or "") or (None, None)
    found = _words(SIZE_WORDS, vocabulary)
    if rule.choices:
        return _choices(rule, found)
    for name, default in (("width", width), ("height", height)):
        if name not in found:
            continue
        found[name] = {
            "type": "integer",
            "minimum": rule.min,
            "maximum": rule.max,
            "multipleOf": rule.multiple_of,
            "default": default,
            "description": vocabulary[name].about,
        }
    return found


def _choices(rule: SizeRule, found: dict[str, Any]) -> dict[str, Any]:
    """Of an endpoint that takes one of a few: those are shown; a width and a height find the nearest."""
    word = "aspect_ratio" if rule.style == "aspect_ratio" else "size"
    if word in found:
        found[word] = {**found[word], "examples": list(rule.choices)}
    if rule.resolutions and "resolution" in found:
        found["resolution"] = {**found["resolution"], "enum": list(rule.resolutions)}
    return found


def _words(
    names: tuple[str, ...], vocabulary: Mapping[str, Term], rule: ParameterRule | None = None
) -> dict[str, Any]:
    rule = rule or ParameterRule()
    return {name: _parameter(rule, vocabulary[name]) for name in names if name in vocabulary}
