"""From the vocabulary to each endpoint's own words; the payloads are worked out by hand from fal's schemas."""

from typing import Any

import msgspec
import pytest
from support.registry_text import small

from providers.base import MediaRef, revive_media
from providers.normalizer import Policy, Translation, fitting_routes, translate
from registry.errors import Fault, InvalidInputs
from registry.inputs import UnifiedInputs
from registry.load import load_registry
from registry.schema import Catalogue, Route
from registry.validate import validate

SHIPPED = load_registry()
SEED = 7
PHOTO, FACE = "s3://bucket/source.jpg", "s3://bucket/face.jpg"
LORA = "s3://bucket/loras/jesse_avatar.safetensors"
GLM, SDXL, SD15 = (
    "zai-org/GLM-Image",
    "stabilityai/stable-diffusion-xl-base-1.0",
    "stable-diffusion-v1-5/stable-diffusion-v1-5",
)


def media(url: str) -> MediaRef:
    return MediaRef(url=url)


def read(model: str, asked: dict[str, Any], catalogue: Catalogue = SHIPPED) -> UnifiedInputs:
    return validate({"inputs": asked}, catalogue.models[model], catalogue.vocabulary)


def send(
    model: str, asked: dict[str, Any], policy: Policy | None = None, catalogue: Catalogue = SHIPPED
) -> tuple[Route, Translation]:
    inputs = read(model, asked, catalogue)
    route = fitting_routes(catalogue.models[model].routes, inputs.features)[0]
    return route, translate(inputs, route, catalogue.vocabulary, fresh_seed=SEED, policy=policy)


def refusals(model: str, asked: dict[str, Any], policy: Policy | None = None) -> tuple[Fault, ...]:
    with pytest.raises(InvalidInputs) as caught:
        send(model, asked, policy)
    return caught.value.faults


def rows(done: Translation) -> dict[str, str]:
    return {row.name: row.how for row in done.report}


FLUX = {"image_size": {"width": 1024, "height": 768}, "num_images": 1, "seed": SEED, "output_format": "png"}
EDIT = {"num_images": 1, "seed": SEED, "output_format": "png", "image_url": media(PHOTO)}
DIFFUSERS = {"width": 1024, "height": 1024, "num_images": 1, "seed": SEED}

GOLDEN: dict[str, tuple[str, dict[str, Any], str, dict[str, Any]]] = {
    # the three examples of the seed document
    "seed: text": (
        "flux-pro",
        {"prompt": "A professional headshot"},
        "fal-ai/flux-pro/v1.1",
        {"prompt": "A professional headshot", **FLUX},
    ),
    "seed: image and LoRA": (
        "flux-lora",
        {"prompt": "jf", "image_url": PHOTO, "lora_url": LORA, "lora_scale": 0.8, "width": 1024, "height": 1024},
        "fal-ai/flux-lora/image-to-image",
        {
            "prompt": "jf",
            **EDIT,
            "strength": 0.85,
            "loras": [{"path": media(LORA), "scale": 0.8}],
            "image_size": {"width": 1024, "height": 1024},
        },
    ),
    "seed: face swap": (
        "face-swap",
        {"image_url": PHOTO, "target_image_url": FACE},
        "fal-ai/face-swap",
        {"base_image_url": media(PHOTO), "swap_image_url": media(FACE)},
    ),
    # the five fal models
    "flux-pro, an image": (
        "flux-pro",
        {"prompt": "a", "image": PHOTO, "aspect_ratio": "16:9", "cfg": 4, "enhance_prompt": True, "safety_tolerance": "2"},
        "fal-ai/flux-pro/kontext",
        {"prompt": "a", **EDIT, "aspect_ratio": "16:9", "guidance_scale": 4.0, "enhance_prompt": True, "safety_tolerance": "2"},
    ),
    "flux-pro, tolerance is text": (
        "flux-pro",
        {"prompt": "a", "safety_tolerance": "6", "output_format": "jpg", "n": 2},
        "fal-ai/flux-pro/v1.1",
        {"prompt": "a", **FLUX, "safety_tolerance": "6", "output_format": "jpeg", "num_images": 2},
    ),
    "flux-dev": (
        "flux-dev",
        {"prompt": "a", "steps": 28, "guidance": 3.5, "seed": 42, "acceleration": "high", "size": "512x512",
         "enable_safety_checker": False},
        "fal-ai/flux/dev",
        {"prompt": "a", **FLUX, "num_inference_steps": 28, "guidance_scale": 3.5, "seed": 42, "acceleration": "high",
         "image_size": {"width": 512, "height": 512}, "enable_safety_checker": False},
    ),
    "flux-dev, a LoRA": (
        "flux-dev",
        {"prompt": "a", "lora_url": LORA},
        "fal-ai/flux-lora",
        {"prompt": "a", **FLUX, "loras": [{"path": media(LORA), "scale": 1.0}]},
    ),
    "flux-dev, an image": (
        "flux-dev",
        {"prompt": "a", "image_url": PHOTO, "denoising_strength": 0.5},
        "fal-ai/flux/dev/image-to-image",
        {"prompt": "a", **EDIT, "strength": 0.5},
    ),
    "flux-dev, both: the size is the image's": (
        "flux-dev",
        {"prompt": "a", "image_url": PHOTO, "lora_url": LORA},
        "fal-ai/flux-lora/image-to-image",
        {"prompt": "a", **EDIT, "strength": 0.85, "loras": [{"path": media(LORA), "scale": 1.0}]},
    ),
    "flux-lora, two": (
        "flux-lora",
        {"prompt": "a", "loras": [{"url": LORA}, {"url": "upl_2", "scale": 4}]},
        "fal-ai/flux-lora",
        {"prompt": "a", **FLUX, "loras": [{"path": media(LORA), "scale": 1.0}, {"path": media("upl_2"), "scale": 4.0}]},
    ),
    "image-to-image": (
        "image-to-image",
        {"prompt": "a", "image_url": PHOTO},
        "fal-ai/flux/dev/image-to-image",
        {"prompt": "a", **EDIT, "strength": 0.95},
    ),
    # ours
    "GLM-Image": (
        GLM,
        {"prompt": "a", "width": 1056, "height": 992},
        GLM,
        {"prompt": "a", **DIFFUSERS, "width": 1056, "height": 992, "num_inference_steps": 30, "guidance_scale": 1.5},
    ),
    "SDXL": (
        SDXL,
        {"prompt": "a", "negative_prompt": "b", "sampler": "k_dpmpp_2m", "cfg_scale": 6, "aspect_ratio": "16:9"},
        SDXL,
        {"prompt": "a", **DIFFUSERS, "negative_prompt": "b", "scheduler": "dpmpp_2m", "guidance_scale": 6.0,
         "num_inference_steps": 30, "width": 1368, "height": 768},
    ),
    "SD 1.5": (
        SD15,
        {"prompt": "a"},
        SD15,
        {"prompt": "a", **DIFFUSERS, "width": 512, "height": 512, "num_inference_steps": 30, "guidance_scale": 7.5},
    ),
    "the embedded one": (
        "embedded-mini",
        {"prompt": "a", "seed": 5},
        "embedded:mini",
        {"prompt": "a", **DIFFUSERS, "seed": 5, "width": 256, "height": 256, "num_inference_steps": 15, "guidance_scale": 2.5},
    ),
}  # fmt: skip


@pytest.mark.parametrize(("model", "asked", "endpoint", "payload"), GOLDEN.values(), ids=GOLDEN)
def test_a_payload(model: str, asked: dict[str, Any], endpoint: str, payload: dict[str, Any]) -> None:
    route, done = send(model, asked)
    assert route.endpoint == endpoint
    assert done.payload == payload
    assert done.warnings == ()
    assert revive_media(msgspec.json.decode(msgspec.json.encode(done.payload))) == payload


@pytest.mark.parametrize(
    ("model", "asked", "how"),
    [
        (
            "flux-dev",
            {"prompt": "a", "steps": 9, "seed": 1},
            {
                "prompt": "exact",
                "num_inference_steps": "alias",
                "seed": "exact",
                "size": "defaulted",
                "num_images": "defaulted",
                "output_format": "defaulted",
            },
        ),
        ("flux-pro", {"prompt": " a ", "format": "jpg"}, {"prompt": "converted", "output_format": "converted"}),
        ("flux-lora", {"prompt": "a", "lora_url": LORA, "lora_scale": 1}, {"lora_url": "converted", "lora_scale": "converted"}),
        ("face-swap", {"image_url": PHOTO, "target_image_url": FACE}, {"image_url": "converted", "target_image_url": "converted"}),
        ("face-swap", {"image_url": PHOTO, "target_image_url": FACE, "n": 1}, {"num_images": "exact"}),
        (GLM, {"prompt": "a", "negative_prompt": "b"}, {"negative_prompt": "dropped"}),
        (SDXL, {"prompt": "a", "scheduler": "lms"}, {"scheduler": "dropped"}),
        (SDXL, {"prompt": "a", "steps": 200}, {"num_inference_steps": "clamped"}),
        (SDXL, {"prompt": "a", "seed": 1 << 40}, {"seed": "clamped"}),
        (SDXL, {"prompt": "a", "width": 1024, "size": "1024x512"}, {"width": "exact", "size": "converted"}),
        ("embedded-mini", {"prompt": "a", "size": "256x256"}, {"size": "converted"}),
        ("embedded-mini", {"prompt": "a", "width": 1000, "height": 700}, {"width": "emulated", "height": "emulated"}),
    ],
)  # fmt: skip
def test_the_report_says_how(model: str, asked: dict[str, Any], how: dict[str, str]) -> None:
    assert rows(send(model, asked)[1]).items() >= how.items()


def test_a_row_tells_the_whole_way() -> None:
    _, done = send("flux-pro", {"prompt": "a", "image": PHOTO, "enhance_prompt": True})
    row = next(row for row in done.report if row.name == "optimize_prompt")
    assert msgspec.to_builtins(row) == {
        "name": "optimize_prompt",
        "how": "converted",
        "requestedAs": "enhance_prompt",
        "requested": True,
        "sentAs": "enhance_prompt",
        "sent": True,
        "why": None,
    }


REFUSED: dict[str, tuple[str, dict[str, Any], str, str]] = {
    "not a multiple of 32": (GLM, {"prompt": "a", "width": 1000, "height": 1024}, "/inputs/width", "out_of_range"),
    "the edge that is wrong": (GLM, {"prompt": "a", "width": 1024, "height": 1000}, "/inputs/height", "out_of_range"),
    "too large": ("embedded-mini", {"prompt": "a", "size": "2048x1024"}, "/inputs/size", "out_of_range"),
    "ratio and edges": ("flux-dev", {"prompt": "a", "size": "512x512", "aspect_ratio": "16:9"}, "/inputs/aspect_ratio",
                        "conflicting_values"),
    "area and edges": ("flux-dev", {"prompt": "a", "size": "512x512", "resolution": "2K"}, "/inputs/resolution",
                       "conflicting_values"),
    "no size there": ("image-to-image", {"prompt": "a", "image_url": PHOTO, "width": 512}, "/inputs/width",
                      "unsupported_parameter"),
    "no image there": (GLM, {"prompt": "a", "image": PHOTO}, "/inputs/image", "unsupported_parameter"),
    "no mask there": ("flux-dev", {"prompt": "a", "mask": PHOTO}, "/inputs/mask", "unsupported_parameter"),
    "no LoRA there": (GLM, {"prompt": "a", "lora_url": LORA}, "/inputs/lora_url", "unsupported_parameter"),
    "no prompt there": ("face-swap", {"image_url": PHOTO, "target_image_url": FACE, "prompt": "a"}, "/inputs/prompt",
                        "unsupported_parameter"),
    "no count there": ("face-swap", {"image_url": PHOTO, "target_image_url": FACE, "n": 2}, "/inputs/n",
                       "unsupported_parameter"),
    "another route's ratio": ("flux-pro", {"prompt": "a", "image": PHOTO, "aspect_ratio": "5:1"}, "/inputs/aspect_ratio",
                              "out_of_range"),
    "a LoRA the other way round": ("flux-lora", {"prompt": "a", "lora_url": LORA, "lora_scale": -0.5}, "/inputs/lora_scale",
                                   "out_of_range"),
    "one of two LoRAs": ("flux-dev", {"prompt": "a", "loras": [{"url": LORA}, {"url": "upl_2", "scale": -1}]},
                         "/inputs/loras", "out_of_range"),
    "another route's native": ("flux-dev", {"prompt": "a", "lora_url": LORA, "acceleration": "high"},
                               "/inputs/acceleration", "out_of_range"),
}  # fmt: skip


@pytest.mark.parametrize(("model", "asked", "at", "code"), REFUSED.values(), ids=REFUSED)
def test_what_changes_the_picture_is_refused(model: str, asked: dict[str, Any], at: str, code: str) -> None:
    (fault,) = refusals(model, asked)
    assert (fault.pointer, fault.code) == (at, code)
    assert fault.allowed


@pytest.mark.parametrize(("model", "asked", "at", "code"), REFUSED.values(), ids=REFUSED)
def test_a_policy_lets_it_pass(model: str, asked: dict[str, Any], at: str, code: str) -> None:
    for policy, said in (("warn", 1), ("drop", 0)):
        _, done = send(model, asked, policy)  # type: ignore[arg-type]  # a literal of two
        assert len(done.warnings) == said
        spelled = at.rsplit("/", 1)[1]
        (row,) = (row for row in done.report if row.requested_as == spelled)
        assert row.how in ("clamped", "dropped")
        assert row.why


def test_a_scale_is_moved_and_its_lora_is_kept() -> None:
    _, done = send("flux-lora", {"prompt": "a", "lora_url": LORA, "lora_scale": -0.5}, "warn")
    assert done.payload["loras"] == [{"path": media(LORA), "scale": 0.0}]
    assert rows(done).items() >= {"lora_url": "converted", "lora_scale": "clamped"}.items()
    (warning,) = done.warnings
    assert "-0.5" in warning
    assert "0 to 4" in warning


def test_the_policy_error_refuses_hints_too() -> None:
    (fault,) = refusals(GLM, {"prompt": "a", "negative_prompt": "b"}, "error")
    assert (fault.pointer, fault.code) == ("/inputs/negative_prompt", "unsupported_parameter")
    assert "on_unsupported" in (fault.allowed or "")


def test_every_refusal_comes_at_once() -> None:
    found = refusals(GLM, {"prompt": "a", "width": 1000, "mask": PHOTO, "lora_url": LORA})
    assert {fault.pointer for fault in found} == {"/inputs/width", "/inputs/mask", "/inputs/lora_url"}


def test_hints_warn() -> None:
    _, done = send(SDXL, {"prompt": "a", "steps": 200, "style": "anime"})
    assert done.payload["num_inference_steps"] == 150
    assert [word for word in ("1 to 150", "'style'") if not any(word in w for w in done.warnings)] == []


@pytest.mark.parametrize(
    ("model", "asked", "count"),
    [
        ("flux-dev", {"prompt": "a"}, 1),
        ("flux-dev", {"prompt": "a", "n": 3}, 3),
        ("flux-dev", {"prompt": "a", "n": 8}, 8),
        ("face-swap", {"image_url": PHOTO, "target_image_url": FACE, "n": 3}, 1),
    ],
)
def test_the_count_is_what_the_endpoint_is_asked_for(model: str, asked: dict[str, Any], count: int) -> None:
    assert send(model, asked, "drop")[1].num_images == count


def test_a_kept_edge_is_not_called_clamped() -> None:
    _, done = send(GLM, {"prompt": "a", "width": 1024, "height": 1000}, "warn")
    assert (rows(done)["width"], rows(done)["height"]) == ("exact", "clamped")
    assert (done.width, done.height) == (1024, 992)


def test_a_seed_is_chosen_within_the_route() -> None:
    inputs = read(SDXL, {"prompt": "a"})
    route = SHIPPED.models[SDXL].routes[0]
    done = translate(inputs, route, SHIPPED.vocabulary, fresh_seed=(1 << 32) + 3)
    assert done.seed == done.payload["seed"] == 3


def test_data_urls_stay_out_of_the_report() -> None:
    url = "data:image/png;base64," + "A" * 100_000
    _, done = send("flux-pro", {"prompt": "a", "image_url": url})
    assert done.payload["image_url"] == media(url)
    assert len(msgspec.json.encode(done.report)) < 5_000


@pytest.mark.parametrize(
    ("features", "endpoints"),
    [
        (set(), ["fal-ai/flux/dev"]),
        ({"lora"}, ["fal-ai/flux-lora", "fal-ai/flux/dev"]),
        ({"image"}, ["fal-ai/flux/dev/image-to-image", "fal-ai/flux/dev"]),
        ({"mask"}, ["fal-ai/flux/dev"]),
        (
            {"image", "lora"},
            ["fal-ai/flux-lora/image-to-image", "fal-ai/flux-lora", "fal-ai/flux/dev/image-to-image", "fal-ai/flux/dev"],
        ),
    ],
)  # fmt: skip
def test_routes_that_fit(features: set[str], endpoints: list[str]) -> None:
    found = fitting_routes(SHIPPED.models["flux-dev"].routes, frozenset(features))
    assert [route.endpoint for route in found] == endpoints


@pytest.mark.parametrize(
    ("rule", "asked", "sent"),
    [
        ("{shape: string, enum: ['1', '4']}", {"steps": 4}, {"num_inference_steps": "4"}),
        ("{enum: ['1', '4']}", {"steps": 4}, {"num_inference_steps": 4}),
        ("{shape: list, send: counts}", {"steps": 4}, {"counts": [4]}),
        ("{default: 3, shape: string}", {}, {"num_inference_steps": "3"}),
    ],
)
def test_shapes(rule: str, asked: dict[str, Any], sent: dict[str, Any]) -> None:
    catalogue = small(("num_inference_steps: {max: 50, default: 20}", f"num_inference_steps: {rule}"))
    _, done = send("one", {"prompt": "a", **asked}, catalogue=catalogue)
    assert done.payload.items() >= sent.items()
    (row,) = (row for row in done.report if row.name == "num_inference_steps")
    assert {row.sent_as: row.sent} == sent


def test_a_default_that_is_media_is_sent_as_media() -> None:
    catalogue = small(
        ("{enum: [euler, ddim]}", "{}\n          loras: {shape: loras, default: [{url: upl_9}]}")
    )
    _, done = send("one", {"prompt": "a"}, catalogue=catalogue)
    assert done.payload["loras"] == [{"path": media("upl_9"), "scale": 1.0}]


def test_constants_are_copies() -> None:
    catalogue = small(("{enum: [euler, ddim]}", "{}\n        constants: {extra: {list: [1]}}"))
    route, done = send("one", {"prompt": "a"}, catalogue=catalogue)
    done.payload["extra"]["list"].append(2)
    assert route.constants == {"extra": {"list": [1]}}


@pytest.mark.parametrize(
    ("asked", "sent"),
    [
        ({"image_url": PHOTO, "reference_image_urls": [FACE]}, [PHOTO, FACE]),
        ({"reference_image_urls": [FACE, PHOTO]}, [FACE, PHOTO]),
        ({"image_url": PHOTO}, [PHOTO]),
    ],
)
def test_references_stand_behind_the_picture_that_is_changed(asked: dict[str, Any], sent: list[str]) -> None:
    _, done = send("nano-banana", {"prompt": "a", **asked})
    assert done.payload["image_urls"] == [media(url) for url in sent]
    assert rows(done).get("reference_image_urls", "converted") == "converted"


def test_more_references_than_the_endpoint_takes() -> None:
    asked = {"prompt": "a", "image_url": PHOTO, "reference_image_urls": [FACE] * 4}
    (fault,) = refusals("flux-2", asked)
    assert (fault.pointer, fault.code, fault.allowed) == (
        "/inputs/reference_image_urls",
        "out_of_range",
        "at most 3",
    )
    _, done = send("flux-2", asked, "warn")
    assert done.payload["image_urls"] == [media(url) for url in (PHOTO, FACE, FACE, FACE)]
