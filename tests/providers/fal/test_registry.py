"""The shipped registry's fal models, through the normalizer, are what fal's endpoints take."""

import pytest
from support.loopback_fal import LoopbackFal
from support.loopback_fal_client import provider_of
from support.quote_table import TABLE, with_uploads

from providers.base import Call, Handle, Succeeded
from providers.conformance import finish
from providers.normalizer import fitting_routes, translate
from registry.load import load_registry
from registry.validate import validate

SHIPPED = load_registry()
PHOTO, FACE = "https://a.org/photo.png", "https://a.org/face.png"
WEIGHTS = "https://a.org/style.safetensors"

ASKED = [
    ("flux-pro", {"prompt": "a cat"}, "fal-ai/flux-pro/v1.1"),
    ("flux-pro", {"prompt": "a cat", "size": "1024x768", "n": 2, "seed": 3}, "fal-ai/flux-pro/v1.1"),
    (
        "flux-pro",
        {"prompt": "a cat", "safety_tolerance": "5", "optimize_prompt": True},
        "fal-ai/flux-pro/v1.1",
    ),
    ("flux-pro", {"prompt": "a cat", "aspect_ratio": "16:9", "format": "jpg"}, "fal-ai/flux-pro/v1.1"),
    ("flux-pro", {"prompt": "a hat", "image_url": PHOTO}, "fal-ai/flux-pro/kontext"),
    (
        "flux-pro",
        {"prompt": "a hat", "image_url": PHOTO, "aspect_ratio": "9:16", "cfg": 4, "n": 2},
        "fal-ai/flux-pro/kontext",
    ),
    ("flux-dev", {"prompt": "a cat"}, "fal-ai/flux/dev"),
    (
        "flux-dev",
        {"prompt": "a cat", "width": 512, "height": 768, "steps": 50, "cfg": 20, "n": 4},
        "fal-ai/flux/dev",
    ),
    (
        "flux-dev",
        {"prompt": "a cat", "width": 2048, "height": 2048, "acceleration": "high"},
        "fal-ai/flux/dev",
    ),
    ("flux-dev", {"prompt": "a cat", "enable_safety_checker": False}, "fal-ai/flux/dev"),
    ("flux-dev", {"prompt": "a cat", "image_url": PHOTO, "strength": 0.4}, "fal-ai/flux/dev/image-to-image"),
    ("flux-dev", {"prompt": "a cat", "lora_url": WEIGHTS, "guidance": 0}, "fal-ai/flux-lora"),
    (
        "flux-dev",
        {"prompt": "a cat", "loras": [{"url": WEIGHTS, "scale": 0.5}, {"url": WEIGHTS}], "image_url": PHOTO},
        "fal-ai/flux-lora/image-to-image",
    ),
    ("flux-lora", {"prompt": "a cat", "lora_url": WEIGHTS, "lora_scale": 0.8}, "fal-ai/flux-lora"),
    ("flux-lora", {"prompt": "a cat", "lora_url": WEIGHTS, "lora_scale": 0}, "fal-ai/flux-lora"),
    ("flux-lora", {"prompt": "a cat", "lora_url": WEIGHTS, "lora_scale": 4}, "fal-ai/flux-lora"),
    (
        "flux-lora",
        {"prompt": "a cat", "lora_url": WEIGHTS, "image_url": PHOTO, "size": "1024x1024"},
        "fal-ai/flux-lora/image-to-image",
    ),
    ("face-swap", {"image_url": PHOTO, "target_image_url": FACE}, "fal-ai/face-swap"),
    ("image-to-image", {"prompt": "a cat", "image_url": PHOTO}, "fal-ai/flux/dev/image-to-image"),
    (
        "image-to-image",
        {"prompt": "a cat", "image_url": PHOTO, "denoising_strength": 0.01, "num_inference_steps": 1},
        "fal-ai/flux/dev/image-to-image",
    ),
]


REFERENCES = {"upl_1": PHOTO, "upl_2": WEIGHTS, "upl_3": FACE, "upl_4": PHOTO}


ASKED += [
    (
        model,
        with_uploads(inputs, REFERENCES)
        | ({"prompt": "a cat"} if "prompt" in SHIPPED.models[model].required else {}),
        endpoint,
    )
    for model, inputs, endpoint, _, _ in TABLE
    if model in SHIPPED.models and SHIPPED.models[model].routes[0].provider == "fal"
]
FURTHER = [
    ("flux-2-pro", {"prompt": "a", "image_url": PHOTO}, "fal-ai/flux-2-pro/edit"),
    (
        "nano-banana-2",
        {"prompt": "a", "image_url": PHOTO, "aspect_ratio": "4:1"},
        "fal-ai/nano-banana-2/edit",
    ),
    ("nano-banana-pro", {"prompt": "a", "image_url": PHOTO}, "fal-ai/nano-banana-pro/edit"),
    ("gpt-image-2", {"prompt": "a", "image_url": PHOTO, "mask_url": PHOTO}, "openai/gpt-image-2/edit"),
]
ASKED += FURTHER


def read(model, asked):
    return validate({"inputs": asked}, SHIPPED.models[model], SHIPPED.vocabulary)


@pytest.mark.parametrize(("model", "asked", "endpoint"), ASKED)
async def test_the_endpoint_takes_what_the_registry_makes(model, asked, endpoint):
    inputs = read(model, asked)
    route = fitting_routes(SHIPPED.models[model].routes, inputs.features)[0]
    assert route.endpoint == endpoint
    done = translate(inputs, route, SHIPPED.vocabulary, fresh_seed=(1 << 53) - 1)
    with LoopbackFal(refuse_at="submit") as fal:
        provider = provider_of(fal)
        count = done.calls[0].num_images
        given = Call(id="a", route=route, payload=done.payload, num_images=count, timeout_s=60)
        handle = await provider.submit(given)
        assert isinstance(handle, Handle)
        ended = await finish(provider, handle)
        assert isinstance(ended, Succeeded)
        assert len(ended.images) == count
        await provider.aclose()


@pytest.mark.parametrize("scale", [-4, -0.1, 4])
@pytest.mark.parametrize("image", [{}, {"image_url": PHOTO}])
async def test_no_lora_leaves_with_a_scale_that_fal_does_not_take(scale, image):
    inputs = read("flux-lora", {"prompt": "a cat", "lora_url": WEIGHTS, "lora_scale": scale, **image})
    route = fitting_routes(SHIPPED.models["flux-lora"].routes, inputs.features)[0]
    done = translate(inputs, route, SHIPPED.vocabulary, fresh_seed=1, policy="warn")
    with LoopbackFal(refuse_at="submit") as fal:
        provider = provider_of(fal)
        given = Call(id="a", route=route, payload=done.payload, num_images=1, timeout_s=60)
        assert isinstance(await provider.submit(given), Handle)
        await provider.aclose()


def test_every_fal_endpoint_is_asked_for():
    endpoints = {
        route.endpoint
        for model in SHIPPED.models.values()
        for route in model.routes
        if route.provider == "fal" and model.status != "retired"
    }
    assert endpoints == {endpoint for _, _, endpoint in ASKED}
