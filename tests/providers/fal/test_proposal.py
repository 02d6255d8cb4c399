"""What is proposed for an endpoint can be pasted, loads, and fits the endpoint that it was made from."""

from copy import deepcopy
from decimal import Decimal
from typing import Any

import pytest
import yaml
from support.loopback_fal import ENDPOINTS
from support.loopback_fal_openapi import document
from support.loopback_fal_platform import input_of
from support.some_models import some_models

from providers.fal.catalogue import Known
from providers.fal.openapi import EndpointSchema, read_schema
from providers.fal.price_diff import UnitPrice, read_unit
from providers.fal.proposal import propose
from providers.fal.schema_diff import diff_schema
from registry.errors import RegistryError
from registry.load import parse_registry
from registry.schema import Catalogue

TEXT = some_models("flux-dev", "flux-lora", "flux-2-pro")
OURS = parse_registry(TEXT, "some.yaml")
DEV = "fal-ai/flux/dev"


def known(endpoint: str, amount: str | None = "0.05", unit: str = "images") -> Known:
    price = UnitPrice(amount=Decimal(amount), unit=read_unit(unit)) if amount else None
    return Known(endpoint=endpoint, title="A: title # [x]", category="text-to-image", price=price)


def proposal(endpoint: str, written: Any = None, said: Known | None = None) -> tuple[str, EndpointSchema]:
    schema = read_schema(written or document(endpoint), endpoint)
    return propose(OURS, schema, said or known(endpoint), "fal"), schema


def pasted(*proposals: str) -> str:
    """Our registry with the rows of some proposals, as text, under their sections."""
    text = TEXT
    for one in proposals:
        dialects, models = one.split("\ndialects:\n")[1].split("\nmodels:\n")
        text = text.replace("\ndialects:\n", f"\ndialects:\n{dialects}", 1)
        text = text.replace("\nmodels:\n", f"\nmodels:\n{models}", 1)
    return text


def loaded(*proposals: str) -> Catalogue:
    return parse_registry(pasted(*proposals), "pasted.yaml")


def test_what_is_proposed_for_every_endpoint_loads_and_fits() -> None:
    made = {endpoint: proposal(endpoint) for endpoint in ENDPOINTS}
    data = loaded(*(text for text, _ in made.values()))
    new = [model for name, model in data.models.items() if name not in OURS.models]
    assert {route.endpoint for model in new for route in model.routes} == set(ENDPOINTS)
    for model in new:
        (route,) = model.routes
        found = diff_schema(model, route, data.vocabulary, made[route.endpoint][1])
        assert [finding for finding in found if finding.level == "breaks"] == []


def test_a_proposal() -> None:
    written = document("fal-ai/flux-lora/image-to-image")
    text, _ = proposal("fal-ai/flux-lora/image-to-image", written)
    rows = yaml.safe_load(text)
    (name,) = rows["models"]
    parameters = rows["dialects"][name]["parameters"]
    assert parameters["loras"] == {"shape": "loras", "min": 0, "max": 4}
    assert parameters["guidance_scale"] == {"max": 35}  # the vocabulary has the same least
    assert parameters["seed"] == {}
    assert parameters["acceleration"]["native"] is True
    assert "sync_mode" not in text
    model = rows["models"][name]
    assert model["description"] == "A: title # [x]"
    assert model["required"] == ["prompt", "image_url"]
    assert model["routes"] == [
        {
            "when": ["image"],
            "provider": "fal",
            "endpoint": "fal-ai/flux-lora/image-to-image",
            "dialect": name,
            "provider_cost": {"per_image": "0.05"},
        }
    ]
    assert "# The registry has it already: flux-dev, flux-lora." in text
    assert text.splitlines()[-1] == "# all"


def test_a_name_that_is_taken_gets_a_number() -> None:
    text, _ = proposal("fal-ai/flux-2-pro")
    assert list(yaml.safe_load(text)["models"]) == ["flux-2-pro-2"]


@pytest.mark.parametrize("said", [known(DEV, None), known(DEV, "1", "units"), known(DEV, "1", "1m tokens")])
def test_a_price_that_is_not_known_stops_the_load_where_it_stands(said) -> None:
    text, _ = proposal(DEV, said=said)
    assert "decide: fal" in text
    whole = pasted(text)
    with pytest.raises(RegistryError) as error:
        parse_registry(whole, "pasted.yaml")
    line = whole.splitlines()[error.value.line - 1]
    assert "FILL IN" in line
    priced = pasted(text.replace("FILL IN", "'0.05'"))
    assert parse_registry(priced, "pasted.yaml").models["flux-dev-2"].price.per_image == Decimal("0.05")


@pytest.mark.parametrize(
    ("unit", "cost"),
    [
        ("megapixels", {"per_megapixel": "0.00125"}),
        ("compute seconds", {"per_compute_second": "0.00125", "typical_seconds": "3"}),
        ("GPU seconds", {"per_gpu_second": "0.00125", "typical_seconds": "3"}),
    ],
)
def test_a_price_by_its_unit(unit, cost) -> None:
    text, _ = proposal(DEV, said=known(DEV, "0.00125", unit))
    (model,) = yaml.safe_load(text)["models"].values()
    assert model["routes"][0]["provider_cost"] == cost


HOSTILE = "x\n  evil: {a: 1}\r\u2028# \x1b[31m"


def odd(**fields: Any) -> str:
    """The proposal for FLUX dev with further fields."""
    written = deepcopy(document(DEV))
    required = [name for name, schema in fields.items() if schema.pop("needed", False)]
    input_of(written)["properties"].update(fields)
    input_of(written)["required"] += required
    text, schema = proposal(DEV, written)
    data = loaded(text)
    model = data.models["flux-dev-2"]
    found = diff_schema(model, model.routes[0], data.vocabulary, schema)
    breaks = [finding.code for finding in found if finding.level == "breaks"]
    assert breaks == (["field_required"] if "decide: required by fal" in text else [])
    return text


def test_fields_that_the_registry_has_no_word_for() -> None:
    text = odd(
        colours={"type": "array", "items": {"type": "object"}, "description": HOSTILE},
        mood={"type": "string", "enum": ["calm", "no", "1"], "description": HOSTILE, "needed": True},
        amount={"type": "number", "exclusiveMinimum": 0, "maximum": 2, "default": 1},
        grade={"type": "integer", "enum": [1, 2]},
        camera={"type": "object", "properties": {"x": {"type": "number"}}, "needed": True},
        quality={"type": "string", "enum": ["low", "ultra"], "default": HOSTILE},
        strength={"type": "string"},
        image_url={"type": "string"},
        image_urls={"type": "array", "items": {"type": "string"}},
    )
    rows = yaml.safe_load(text)["dialects"]["flux-dev-2"]["parameters"]
    assert rows["mood"]["enum"] == ["calm", "no", "1"]
    assert rows["mood"]["default"] == "calm"
    assert rows["amount"]["min"] == 0.01
    assert rows["grade"]["enum"] == ["1", "2"]
    assert rows["quality"] == {"enum": ["low"]}
    assert "left out: colours (it is an array)" in text
    assert "decide: required by fal, and left out: camera (it is an object)" in text
    assert "left out: strength (the vocabulary's strength is a number, and this is not)" in text
    assert "left out: image_urls (image_url is sent as another field already)" in text
    assert "evil" not in rows
    assert all(character.isprintable() for line in text.split("\n") for character in line)


@pytest.mark.parametrize(
    ("fields", "size"),
    [
        ({"image_size": {"type": "string", "enum": ["square", "portrait_4_3"]}}, {"style": "none"}),
        (
            {"image_size": {"type": "string", "enum": ["auto", "1024x1536"], "default": "auto"}},
            {"style": "choice", "default": "1024x1536", "choices": ["1024x1536"]},
        ),
        (
            {
                "width": {"type": "integer", "minimum": 128, "maximum": 1536, "default": 768},
                "height": {"type": "integer", "minimum": 256, "maximum": 2048, "multipleOf": 32},
            },
            {"style": "width_height", "default": "1024x1024", "min": 256, "max": 1536, "multiple_of": 32},
        ),
        ({"size": {"type": "string"}}, {"style": "text", "default": "1024x1024", "min": 64, "max": 2048}),
        (
            {
                "aspect_ratio": {"type": "string", "enum": ["auto", "1:1", "16:9"]},
                "resolution": {"type": "string", "enum": ["1K", "2K", "8K"], "default": "2K"},
            },
            {
                "style": "aspect_ratio",
                "default": "1024x1024",
                "choices": ["1:1", "16:9"],
                "multiple_of": 16,
                "resolutions": ["2K", "1K"],
            },
        ),
        ({}, {"style": "none"}),
    ],
)
def test_each_way_to_tell_a_size(fields, size) -> None:
    written = deepcopy(document(DEV))
    given = input_of(written)["properties"]
    del given["image_size"]
    given.update(deepcopy(fields))
    text, _ = proposal(DEV, written)
    assert yaml.safe_load(text)["dialects"]["flux-dev-2"]["size"] == size
    assert loaded(text).models["flux-dev-2"].routes[0].size.style == size["style"]
