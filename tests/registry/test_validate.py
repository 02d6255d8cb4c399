"""From a caller's members to UnifiedInputs."""

import json
import math
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.registry_text import small

from registry.errors import InvalidInputs, pointer
from registry.inputs import Given, Lora, UnifiedInputs
from registry.load import load_registry
from registry.schema import Catalogue
from registry.validate import validate

SHIPPED = load_registry()
URL = "https://a.org/b.png"
LORA = "s3://bucket/l.safetensors"


def read(
    model: str, inputs: dict[str, Any], options: dict[str, Any] | None = None, catalogue: Catalogue = SHIPPED
) -> UnifiedInputs:
    parts = {"inputs": inputs, "options": options or {}}
    return validate(parts, catalogue.models[model], catalogue.vocabulary)


def faults(
    model: str, inputs: dict[str, Any], options: dict[str, Any] | None = None, catalogue: Catalogue = SHIPPED
) -> list[tuple[str, str]]:
    with pytest.raises(InvalidInputs) as caught:
        read(model, inputs, options, catalogue)
    msgspec.json.encode(caught.value.faults)  # an answer can be made of them
    return [(fault.pointer, fault.code) for fault in caught.value.faults]


@pytest.mark.parametrize(
    ("inputs", "fields"),
    [
        ({"steps": 20}, {"num_inference_steps": 20}),
        ({"cfg_scale": 7}, {"guidance_scale": 7.0}),
        ({"n": 2}, {"num_images": 2}),
        ({"sampler_name": "k_euler_a"}, {"scheduler": "euler_a"}),
        ({"size": "1024x768"}, {"width": 1024, "height": 768}),
        ({"image_size": {"width": 1024, "height": 768}}, {"width": 1024, "height": 768}),
        ({"size": "64x64", "width": 64}, {"width": 64, "height": 64}),
        ({"lora_url": LORA}, {"loras": (Lora(url=LORA, scale=1.0),)}),
        ({"lora_url": LORA, "lora_scale": 0}, {"loras": (Lora(url=LORA, scale=0.0),)}),
        ({"lora_url": LORA, "loras": [{"url": LORA}]}, {"loras": (Lora(url=LORA),)}),
        ({"acceleration": "high"}, {"native": {"acceleration": "high"}}),
        ({"steps": 20, "num_inference_steps": 20}, {"num_inference_steps": 20}),
        ({"seed": 0}, {"seed": 0}),
        ({"seed": None, "style": None}, {}),
    ],
)
def test_spellings_are_resolved(inputs: dict[str, Any], fields: dict[str, Any]) -> None:
    found = read("flux-dev", {"prompt": "a cat", **inputs})
    wanted = UnifiedInputs(prompt="a cat", given=found.given, **fields)
    assert found == wanted


def test_inputs_and_options_are_one_namespace() -> None:
    found = read("flux-dev", {"prompt": "a"}, {"steps": 9})
    assert found.given == (
        Given(name="prompt", requested_as="prompt", requested="a", pointer="/inputs/prompt"),
        Given(name="num_inference_steps", requested_as="steps", requested=9, pointer="/options/steps"),
    )


@pytest.mark.parametrize(
    ("inputs", "options", "found"),
    [
        ({}, {}, [("/inputs/prompt", "missing")]),
        ({"prompt": ""}, {}, [("/inputs/prompt", "missing")]),
        ({"prompt": "  \n"}, {}, [("/inputs/prompt", "missing")]),
        ({"prompt": None}, {}, [("/inputs/prompt", "missing")]),
        ({"prompt": 7}, {}, [("/inputs/prompt", "wrong_type")]),
        ({}, {"prompt": 7}, [("/options/prompt", "wrong_type")]),
        ({"prompt": "a", "stepz": 2}, {}, [("/inputs/stepz", "unknown_parameter")]),
        ({"prompt": "a", "x/~y": 2}, {}, [("/inputs/x~1~0y", "unknown_parameter")]),
        ({"prompt": "a", "\ud800": 2}, {}, [("/inputs/?", "unknown_parameter")]),
        ({"prompt": "a", "": 2}, {}, [("/inputs/", "unknown_parameter")]),
        ({"prompt": "a", "steps": 2}, {"num_steps": 3}, [("/options/num_steps", "conflicting_values")]),
        ({"prompt": "a"}, {"seed": 1.5, "steps": 0}, [("/options/seed", "wrong_type"), ("/options/steps", "out_of_range")]),
        ({"prompt": "a", "size": "9x99"}, {}, [("/inputs/size", "out_of_range")]),
        ({"prompt": "a", "size": "64x64", "height": 65}, {}, [("/inputs/height", "conflicting_values")]),
        ({"prompt": "a", "lora_scale": 1}, {}, [("/inputs/lora_scale", "missing")]),
        ({"prompt": "a", "lora_url": 5, "lora_scale": 1}, {}, [("/inputs/lora_url", "wrong_type")]),
        ({"prompt": "a", "lora_url": LORA, "loras": [{"url": URL}]}, {}, [("/inputs/loras", "conflicting_values")]),
        ({"prompt": "a", "loras": [{"url": LORA}, 3]}, {}, [("/inputs/loras/1", "wrong_type")]),
        ({"prompt": "a", "acceleration": "warp"}, {}, [("/inputs/acceleration", "not_allowed")]),
        ({"prompt": "a", "safety_tolerance": "2"}, {}, [("/inputs/safety_tolerance", "unknown_parameter")]),
    ],
)  # fmt: skip
def test_every_fault_is_found(
    inputs: dict[str, Any], options: dict[str, Any], found: list[tuple[str, str]]
) -> None:
    assert faults("flux-dev", inputs, options) == found


@pytest.mark.parametrize(
    ("model", "inputs", "found"),
    [
        ("face-swap", {}, ["image_url", "target_image_url"]),
        ("face-swap", {"image": URL}, ["target_image_url"]),
        ("face-swap", {"image": 5, "target_image_url": URL}, ["image"]),  # wrong, and so not missing too
        ("flux-lora", {"prompt": "a"}, ["lora_url"]),
        ("flux-lora", {"prompt": "a", "loras": 3}, ["loras"]),
        ("image-to-image", {}, ["prompt", "image_url"]),
    ],
)
def test_what_is_required(model: str, inputs: dict[str, Any], found: list[str]) -> None:
    assert [at for at, _ in faults(model, inputs)] == [f"/inputs/{name}" for name in found]


def test_several_loras_satisfy_a_required_one() -> None:
    assert read("flux-lora", {"prompt": "a", "loras": [{"url": LORA}]}).features == {"lora"}


def test_zero_is_a_value() -> None:
    catalogue = small(("aliases: [uno]", "required: [prompt, seed]"))
    assert read("one", {"prompt": "a", "seed": 0}, catalogue=catalogue).seed == 0


def test_a_native_takes_what_any_route_takes() -> None:
    # flux-lora has no `high`, flux-dev's plain route has: the route decides, not the model
    assert read("flux-dev", {"prompt": "a", "acceleration": "high"}).native == {"acceleration": "high"}


def test_a_near_miss_gets_a_hint() -> None:
    with pytest.raises(InvalidInputs, match="did you mean 'negative_prompt'"):
        read("sdxl" if "sdxl" in SHIPPED.models else "flux-dev", {"prompt": "a", "negative_promt": "b"})


def test_what_is_allowed_is_what_the_model_takes() -> None:
    with pytest.raises(InvalidInputs) as caught:
        read("face-swap", {"image_url": URL, "target_image_url": URL, "zzz": 1})
    assert caught.value.faults[0].allowed == "image_url, target_image_url"


def test_long_names_stay_out_of_messages() -> None:
    with pytest.raises(InvalidInputs) as caught:
        read("flux-dev", {"prompt": "a", "k" * 10_240: 1})
    assert len(caught.value.faults[0].message) < 200


def test_too_many_members_are_one_fault() -> None:
    many = {f"key{i}": i for i in range(100_000)}
    assert faults("flux-dev", many) == [("/inputs", "out_of_range")]


@pytest.mark.parametrize(
    ("inputs", "features"),
    [
        ({}, set()),
        ({"image_url": URL, "mask_url": URL}, {"image", "mask"}),
        ({"loras": [{"url": LORA}], "reference_image_urls": [URL]}, {"lora", "references"}),
        ({"target_image_url": URL}, {"target_image"}),
    ],
)
def test_features_are_what_is_present(inputs: dict[str, Any], features: set[str]) -> None:
    assert read("flux-dev", {"prompt": "a", **inputs}).features == features


HOSTILE = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(exclude_categories=()), max_size=20)
    | st.sampled_from([10**400, -(10**400), math.nan, -0.0, "", "0x0", "1024X768", URL, "k" * 10_240]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
NAMES = sorted({s for name, term in SHIPPED.vocabulary.items() for s in (name, *term.aliases)})


@given(
    model=st.sampled_from(sorted(SHIPPED.models)),
    parts=st.fixed_dictionaries(
        {
            part: st.dictionaries(
                st.sampled_from([*NAMES, "acceleration", "safety_tolerance"])
                | st.text(st.characters(exclude_categories=()), max_size=10),
                HOSTILE,
                max_size=8,
            )
            for part in ("inputs", "options")
        }
    ),
)
def test_anything_is_inputs_or_faults(model: str, parts: dict[str, dict[str, Any]]) -> None:
    try:
        validate(parts, SHIPPED.models[model], SHIPPED.vocabulary)
    except InvalidInputs as error:
        found = json.loads(msgspec.json.encode(error.faults))
    else:
        return
    assert found


@pytest.mark.parametrize(
    ("parts", "written"),
    [
        ((), ""),
        (("inputs", "a"), "/inputs/a"),
        (("a/b", "~", 0), "/a~1b/~0/0"),
        (("",), "/"),
        (("\udc00",), "/?"),
    ],
)
def test_a_pointer_is_escaped(parts: tuple[str | int, ...], written: str) -> None:
    assert pointer(*parts) == written
