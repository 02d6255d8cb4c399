"""Reads the OpenAPI document of one of fal's endpoints: which fields it takes, and what of each. Pure.

Lenient with how a document is written (3.0 and 3.1, `$ref`, `allOf`, `anyOf` with null, `nullable`): what it
does not say, or says in a way that is not known here, is no limit.
"""

import math
from typing import Any

from msgspec import Struct

__all__ = ["EndpointSchema", "Field", "SchemaError", "Shape", "read_schema"]

MOST_DEPTH = 8
MOST_REFS = 20
TYPES = ("string", "integer", "number", "boolean", "object", "array")


class SchemaError(ValueError):
    """The document is not one of this endpoint, or has no input that can be read."""


class Shape(Struct, frozen=True, kw_only=True):
    """One kind of value that a field takes; a field may take several."""

    type: str | None = None
    """Of `TYPES`; None = anything."""
    values: tuple[str, ...] = ()
    """The only ones, as text; () = all of the type."""
    low: int | float | None = None
    high: int | float | None = None
    low_open: bool = False
    """`low` itself is too low; of an integer never so, its limit is moved by one."""
    high_open: bool = False
    step: int | float | None = None
    longest: int | None = None
    """Characters of a text."""
    members: dict[str, "Field"] = {}
    """Of an object; {} = not said."""
    items: tuple["Shape", ...] = ()
    """Of an array; () = anything."""


class Field(Struct, frozen=True, kw_only=True):
    """A field of an endpoint's input, or a member of an object in it."""

    name: str
    required: bool
    shapes: tuple[Shape, ...]
    default: Any = None
    about: str = ""


class EndpointSchema(Struct, frozen=True, kw_only=True):
    """What an endpoint takes and gives."""

    endpoint: str
    category: str
    """`text-to-image`, ...; empty when the document does not say."""
    fields: dict[str, Field]
    outputs: frozenset[str]
    """The members of its result; empty when the document does not say."""


def read_schema(document: Any, endpoint: str) -> EndpointSchema:
    """Read an endpoint's document.

    Args:
        document: decoded JSON.
        endpoint: fal's id, `fal-ai/flux/dev`.

    Raises:
        SchemaError: it is another endpoint's, or no input can be found in it.
    """
    reader = _Reader(document)
    metadata = _dig(document, "info", "x-fal-metadata")
    named = metadata.get("endpointId") if isinstance(metadata, dict) else None
    if isinstance(named, str) and named != endpoint:
        raise SchemaError(f"the document is of {named}")
    paths = f"/{endpoint}", f"/{endpoint}/requests/{{request_id}}"
    given = _dig(document, "paths", paths[0], "post", "requestBody", "content", "application/json", "schema")
    taken = _dig(
        document, "paths", paths[1], "get", "responses", "200", "content", "application/json", "schema"
    )
    source = reader.whole(given or reader.only("Input"))
    fields = reader.members(source, 0)
    if not fields:
        raise SchemaError("the document has no input that can be read")
    category = metadata.get("category") if isinstance(metadata, dict) else None
    return EndpointSchema(
        endpoint=endpoint,
        category=category if isinstance(category, str) else "",
        fields=fields,
        outputs=frozenset(reader.members(reader.whole(taken or reader.only("Output")), 0)),
    )


class _Reader:
    """Resolves what a document refers to within itself."""

    def __init__(self, document: Any) -> None:
        self._document = document

    def only(self, ending: str) -> Any:
        """The one schema whose name ends so; None when there are none or several."""
        schemas = _dig(self._document, "components", "schemas")
        found = [v for k, v in schemas.items() if k.endswith(ending)] if isinstance(schemas, dict) else []
        return found[0] if len(found) == 1 else None

    def whole(self, schema: Any, depth: int = 0) -> dict[str, Any]:
        """A schema with its `$ref` followed and its `allOf` laid together; {} for what is none."""
        if not isinstance(schema, dict) or depth > MOST_REFS:
            return {}
        parts = schema["allOf"] if isinstance(schema.get("allOf"), list) else []
        if isinstance(schema.get("$ref"), str):
            parts = [_dig(self._document, *schema["$ref"].removeprefix("#/").split("/")), *parts]
        found = {name: value for name, value in schema.items() if name not in ("$ref", "allOf")}
        for part in parts[:MOST_REFS]:
            found = _merged(self.whole(part, depth + 1), found)
        return found

    def members(self, schema: dict[str, Any], depth: int) -> dict[str, Field]:
        """The members of an object's schema."""
        properties = schema.get("properties")
        if not isinstance(properties, dict) or depth > MOST_DEPTH:
            return {}
        required = schema.get("required")
        needed = required if isinstance(required, list) else []
        return {
            name: self._field(name, given, name in needed, depth)
            for name, given in properties.items()
            if isinstance(name, str)
        }

    def _field(self, name: str, given: Any, required: bool, depth: int) -> Field:
        schema = self.whole(given)
        about = schema.get("description")
        return Field(
            name=name,
            required=required,
            shapes=self.shapes(schema, depth + 1),
            default=schema.get("default"),
            about=" ".join(about.split()) if isinstance(about, str) else "",
        )

    def shapes(self, schema: dict[str, Any], depth: int) -> tuple[Shape, ...]:
        """The kinds of value that a schema takes, without null; anything, where that leaves none."""
        return tuple(self._kinds(schema, depth)) or (Shape(),)

    def _kinds(self, schema: dict[str, Any], depth: int) -> list[Shape]:
        if depth > MOST_DEPTH:
            return [Shape()]
        options = next((schema[k] for k in ("anyOf", "oneOf") if isinstance(schema.get(k), list)), None)
        if options is not None:
            rest = {k: v for k, v in schema.items() if k not in ("anyOf", "oneOf", "description", "default")}
            whole = [_merged(rest, self.whole(option)) for option in options]
            return [shape for option in whole for shape in self._kinds(option, depth + 1)]
        return [self._shape(schema, kind, depth) for kind in _types(schema) if kind is None or kind in TYPES]

    def _shape(self, schema: dict[str, Any], kind: str | None, depth: int) -> Shape:
        low, low_open = _limit(schema, "minimum", "exclusiveMinimum")
        high, high_open = _limit(schema, "maximum", "exclusiveMaximum")
        if kind == "integer":
            low, low_open = (low + 1 if low is not None and low_open else low), False
            high, high_open = (high - 1 if high is not None and high_open else high), False
        items = schema.get("items")
        longest = schema.get("maxLength")
        step = _number(schema.get("multipleOf"))
        return Shape(
            type=kind,
            values=_values(schema),
            low=low,
            high=high,
            low_open=low_open,
            high_open=high_open,
            step=step if step is not None and step > 0 else None,
            longest=longest if isinstance(longest, int) and not isinstance(longest, bool) else None,
            members=self.members(schema, depth + 1),
            items=self.shapes(self.whole(items), depth + 1) if isinstance(items, dict) else (),
        )


def _types(schema: dict[str, Any]) -> list[str | None]:
    """The JSON types that a schema names; None where it names none, nothing where it is null alone."""
    named = schema.get("type")
    if isinstance(named, str):
        return [named] if named != "null" else []
    if isinstance(named, list):
        return [kind for kind in named if isinstance(kind, str) and kind != "null"]
    if isinstance(schema.get("properties"), dict):
        return ["object"]
    values = schema.get("enum", [schema["const"]] if "const" in schema else None)
    if isinstance(values, list) and values == [None]:
        return []
    return ["string"] if isinstance(values, list) and any(isinstance(v, str) for v in values) else [None]


def _values(schema: dict[str, Any]) -> tuple[str, ...]:
    values = schema.get("enum", [schema["const"]] if "const" in schema else [])
    return tuple(
        str(value).lower() if isinstance(value, bool) else str(value)
        for value in (values if isinstance(values, list) else [])
        if isinstance(value, str | int | float)
    )


def _limit(schema: dict[str, Any], name: str, exclusive: str) -> tuple[int | float | None, bool]:
    """A limit and whether it is itself outside: 3.0 says so by a boolean beside it, 3.1 by another number."""
    limit, other = _number(schema.get(name)), schema.get(exclusive)
    if isinstance(other, bool):
        return limit, other and limit is not None
    beyond = _number(other)
    return (limit, False) if beyond is None else (beyond, True)


def _number(value: Any) -> int | float | None:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    return int(value) if math.isfinite(value) and value == int(value) else value


def _merged(under: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Two schemas of one value: all the members of both."""
    found = {**under, **over}
    for name, empty in (("properties", dict), ("required", list)):
        both = [part[name] for part in (under, over) if isinstance(part.get(name), empty)]
        if len(both) == 2:
            found[name] = {**both[0], **both[1]} if empty is dict else [*both[0], *both[1]]
    return found


def _dig(value: Any, *keys: str) -> Any:
    for key in keys:
        # `#/components/schemas/a~1b` is the name `a/b`.
        key = key.replace("~1", "/").replace("~0", "~")
        value = value.get(key) if isinstance(value, dict) else None
    return value
