"""A document is read whichever way it is written."""

from copy import deepcopy
from typing import Any

import pytest
from support.loopback_fal_openapi import document
from support.loopback_fal_platform import input_of

from providers.fal.openapi import SchemaError, Shape, read_schema

DEV = "fal-ai/flux/dev"


def shapes(schema: dict[str, Any], **shared: Any) -> tuple[Shape, ...]:
    """What is read of a field that is written so."""
    written = document(DEV)
    input_of(written)["properties"]["x"] = schema
    written["components"]["schemas"].update(shared)
    return read_schema(written, DEV).fields["x"].shapes


def test_an_endpoint() -> None:
    schema = read_schema(document(DEV), DEV)
    assert (schema.endpoint, schema.category) == (DEV, "text-to-image")
    assert [name for name, field in schema.fields.items() if field.required] == ["prompt"]
    assert schema.fields["num_images"].shapes == (Shape(type="integer", low=1, high=4),)
    assert schema.fields["num_images"].default == 1
    assert schema.fields["acceleration"].shapes == (Shape(type="string", values=("none", "regular", "high")),)
    size = schema.fields["image_size"].shapes
    assert [shape.type for shape in size] == ["object", "string"]
    assert size[0].members["width"].shapes == (Shape(type="integer", low=1, high=14142),)
    assert size[0].members["width"].required
    assert "images" in schema.outputs


WHOLE = {"type": "integer", "minimum": 1, "maximum": 6}
READ = Shape(type="integer", low=1, high=6)


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        (WHOLE, (READ,)),
        (WHOLE | {"nullable": True}, (READ,)),
        ({"anyOf": [WHOLE, {"type": "null"}], "default": None}, (READ,)),
        ({"oneOf": [WHOLE, {"enum": [None]}]}, (READ,)),
        ({"type": ["integer", "null"], "minimum": 1, "maximum": 6}, (READ,)),
        ({"allOf": [{"$ref": "#/components/schemas/Count"}], "default": 1}, (READ,)),
        ({"$ref": "#/components/schemas/Deep"}, (READ,)),
        ({"$ref": "#/components/schemas/Deep", "maximum": 3}, (Shape(type="integer", low=1, high=3),)),
        ({"type": "integer", "exclusiveMinimum": 0, "exclusiveMaximum": 7}, (READ,)),
        ({"type": "integer", "minimum": 0, "exclusiveMinimum": True, "maximum": 6}, (READ,)),
        (
            {"type": "number", "minimum": 0, "exclusiveMinimum": True, "maximum": 1.5},
            (Shape(type="number", low=0, high=1.5, low_open=True),),
        ),
        ({"type": "number", "exclusiveMaximum": 1}, (Shape(type="number", high=1, high_open=True),)),
        ({"enum": ["a", "b", None]}, (Shape(type="string", values=("a", "b")),)),
        ({"const": "a"}, (Shape(type="string", values=("a",)),)),
        (
            {"anyOf": [{"type": "string", "enum": ["1:1"]}, {"type": "string"}]},
            (Shape(type="string", values=("1:1",)), Shape(type="string")),
        ),
        (
            {"type": "array", "items": {"type": "string", "maxLength": 9}},
            (Shape(type="array", items=(Shape(type="string", longest=9),)),),
        ),
        ({"type": "null"}, (Shape(),)),
        ({}, (Shape(),)),
        ("nonsense", (Shape(),)),
        ({"$ref": "#/components/schemas/None"}, (Shape(),)),
        ({"$ref": "https://elsewhere.example/x.json"}, (Shape(),)),
        ({"type": "integer", "minimum": "one", "maximum": True}, (Shape(type="integer"),)),
    ],
)
def test_one_value_in_many_spellings(schema, expected) -> None:
    deep = {"allOf": [{"$ref": "#/components/schemas/Count"}, {"description": "A count"}]}
    assert shapes(schema, Count=WHOLE, Deep=deep) == expected


def test_the_members_of_all_parts_are_there() -> None:
    parts = [{"$ref": "#/components/schemas/Edge"}, {"properties": {"height": WHOLE}, "required": ["height"]}]
    edge = {"type": "object", "properties": {"width": WHOLE}, "required": ["width"]}
    (found,) = shapes({"allOf": parts}, Edge=edge)
    assert {name: field.required for name, field in found.members.items()} == {"width": True, "height": True}


def test_what_refers_to_itself_ends() -> None:
    tree = {
        "type": "object",
        "properties": {name: {"$ref": "#/components/schemas/Tree"} for name in "abc"},
    }
    assert shapes({"$ref": "#/components/schemas/Tree"}, Tree=tree)[0].type == "object"
    assert shapes({"$ref": "#/components/schemas/Loop"}, Loop={"$ref": "#/components/schemas/Loop"}) == (
        Shape(),
    )


def test_a_name_is_followed_where_the_path_is_missing() -> None:
    written = document(DEV)
    whole = read_schema(written, DEV)
    written["paths"] = {}
    assert read_schema(written, DEV) == whole


@pytest.mark.parametrize("value", [None, [], "text", {}, {"paths": []}, {"paths": {f"/{DEV}": 1}}])
def test_what_is_no_document(value) -> None:
    with pytest.raises(SchemaError):
        read_schema(value, DEV)


def test_two_inputs_and_no_path_are_not_guessed_at() -> None:
    written = document(DEV)
    written["paths"] = {}
    written["components"]["schemas"]["OtherInput"] = deepcopy(input_of(written))
    with pytest.raises(SchemaError, match="no input"):
        read_schema(written, DEV)


def test_another_endpoints_document_is_refused() -> None:
    with pytest.raises(SchemaError, match="fal-ai/flux/schnell"):
        read_schema(document("fal-ai/flux/schnell"), DEV)
