"""The inputs of the endpoints beside FLUX.1, written by hand from fal's own schemas (2026-08)."""

from typing import Any

from support.loopback_fal_schema import (
    COMMON,
    FLUX,
    PRESETS,
    PRO,
    RATIOS,
    Bad,
    Check,
    Endpoint,
    described,
    flag,
    image_size,
    loras,
    number,
    one_of,
    prompt,
    text,
    url,
)

__all__ = ["MORE_ENDPOINTS"]

GOOGLE_RATIOS = ("21:9", "16:9", "3:2", "4:3", "5:4", "1:1", "4:5", "3:4", "2:3", "9:16")
FORMATS = one_of("jpeg", "png", "webp")
SEED = number(0, 2**31 - 1, whole=True)


def urls(most: int) -> Check:
    def check(loc: list[Any], value: Any) -> list[Bad]:
        if not isinstance(value, list) or not 1 <= len(value) <= most:
            return [Bad(loc, f"Input should be a list of 1 to {most}", "list_type")]
        return [fault for position, item in enumerate(value) for fault in url([*loc, position], item)]

    return described(check, type="array", items={"type": "string"}, minItems=1, maxItems=most)


def sized(low: int, high: int, step: int = 1, *words: str) -> Check:
    """A preset, a word of the endpoint's own, or edges within limits."""

    def check(loc: list[Any], value: Any) -> list[Bad]:
        if isinstance(value, str) and value in words:
            return []
        faults = image_size(loc, value)
        if faults or isinstance(value, str):
            return faults
        for name in ("width", "height"):
            faults += number(low, high, whole=True)([*loc, name], value[name])
            if value[name] % step:
                faults.append(Bad([*loc, name], f"not a multiple of {step}", "multiple_of"))
        return faults

    edge = {"type": "integer", "minimum": low, "maximum": high, "multipleOf": step}
    size = {"type": "object", "properties": {"width": edge, "height": edge}, "required": ["width", "height"]}
    return described(check, anyOf=[size, {"type": "string", "enum": [*PRESETS, *words]}])


def gpt_size(loc: list[Any], value: Any) -> list[Bad]:
    faults = sized(1, 3840, 16, "auto")(loc, value)
    if not faults and isinstance(value, dict):
        width, height = value["width"], value["height"]
        if not 655_360 <= width * height <= 8_294_400 or not 1 / 3 <= width / height <= 3:
            faults.append(Bad(loc, "not a size of this model", "value_error"))
    return faults


described(gpt_size, **sized(1, 3840, 16, "auto").schema)


def large(loc: list[Any], value: Any) -> list[Bad]:
    """An edit by Seedream: at least 921,600 pixels."""
    faults = sized(960, 4096)(loc, value)
    if not faults and isinstance(value, dict) and value["width"] * value["height"] < 921_600:
        faults.append(Bad(loc, "too small", "value_error"))
    return faults


described(large, **sized(960, 4096).schema)

FLUX_2 = {
    "prompt": prompt, "image_size": sized(512, 2048), "num_inference_steps": number(1, 50, whole=True),
    "guidance_scale": number(0, 20), "num_images": number(1, 4, whole=True), "output_format": FORMATS,
    "acceleration": one_of("none", "regular", "high"), "enable_prompt_expansion": flag,
    "enable_safety_checker": flag, "seed": number(0, 2**63 - 1, whole=True),
    "sync_mode": flag,
}  # fmt: skip
FLUX_2_PRO = {
    "prompt": prompt, "image_size": sized(256, 2048, 1, "auto"), "output_format": one_of("jpeg", "png"),
    "safety_tolerance": one_of("1", "2", "3", "4", "5"), "enable_safety_checker": flag,
    "seed": number(0, 2**63 - 1, whole=True), "sync_mode": flag,
}  # fmt: skip
BANANA = {
    "prompt": prompt, "aspect_ratio": one_of(*GOOGLE_RATIOS, "auto"), "num_images": number(1, 4, whole=True),
    "output_format": FORMATS, "safety_tolerance": one_of("1", "2", "3", "4", "5", "6"),
    "seed": number(0, 2**63 - 1, whole=True), "limit_generations": flag, "sync_mode": flag,
}  # fmt: skip
BANANA_PRO = BANANA | {
    "resolution": one_of("1K", "2K", "4K"), "enable_web_search": flag, "system_prompt": text,
}  # fmt: skip
BANANA_2 = BANANA_PRO | {
    "aspect_ratio": one_of(*GOOGLE_RATIOS, "4:1", "1:4", "8:1", "1:8", "auto"),
    "resolution": one_of("0.5K", "1K", "2K", "4K"), "thinking_level": one_of("minimal", "high"),
}  # fmt: skip
GPT = {
    "prompt": prompt, "image_size": one_of("1024x1024", "1536x1024", "1024x1536"),
    "quality": one_of("low", "medium", "high"), "background": one_of("auto", "transparent", "opaque"),
    "num_images": number(1, 4, whole=True), "output_format": FORMATS, "sync_mode": flag,
}  # fmt: skip
GPT_2 = GPT | {
    "image_size": gpt_size, "quality": one_of("auto", "low", "medium", "high"),
}  # fmt: skip
SDXL = {
    "prompt": prompt, "negative_prompt": text, "image_size": image_size,
    "num_inference_steps": number(1, 50, whole=True), "guidance_scale": number(0, 20),
    "num_images": number(1, 8, whole=True), "seed": number(0, 2**63 - 1, whole=True), "loras": loras,
    "expand_prompt": flag, "enable_safety_checker": flag, "safety_checker_version": one_of("v1", "v2"),
    "format": one_of("jpeg", "png"), "request_id": text, "sync_mode": flag,
}  # fmt: skip
LIGHTNING = {
    name: check for name, check in SDXL.items() if name not in ("negative_prompt", "guidance_scale", "loras")
} | {"num_inference_steps": one_of("1", "2", "4", "8")}
MANY = {"image_urls": urls(10)}

MORE_ENDPOINTS = {
    "fal-ai/flux/schnell": Endpoint(
        FLUX | {"num_inference_steps": number(1, 12, whole=True), "image_size": image_size}, ("prompt",)
    ),
    "fal-ai/flux-pro/v1.1-ultra": Endpoint(
        PRO | {"aspect_ratio": one_of(*RATIOS), "raw": flag, "image_url": url, "image_prompt_strength": number(0, 1)},
        ("prompt",),
        per_image=True,
    ),
    "fal-ai/flux-pro/kontext/max": Endpoint(
        PRO | {"image_url": url, "guidance_scale": number(1, 20), "aspect_ratio": one_of(*RATIOS)},
        ("prompt", "image_url"),
        per_image=True,
        follows="image_url",
    ),
    "fal-ai/flux-2": Endpoint(FLUX_2, ("prompt",)),
    "fal-ai/flux-2/edit": Endpoint(FLUX_2 | {"image_urls": urls(4)}, ("prompt", "image_urls"), follows="image_urls"),
    "fal-ai/flux-2-pro": Endpoint(FLUX_2_PRO, ("prompt",)),
    "fal-ai/flux-2-pro/edit": Endpoint(FLUX_2_PRO | MANY, ("prompt", "image_urls"), follows="image_urls"),
    "fal-ai/ideogram/v3": Endpoint(
        {
            "prompt": prompt, "negative_prompt": text, "image_size": image_size, "num_images": number(1, 8, whole=True),
            "seed": SEED, "rendering_speed": one_of("TURBO", "BALANCED", "QUALITY"), "expand_prompt": flag,
            "style": one_of("AUTO", "GENERAL", "REALISTIC", "DESIGN"), "image_urls": urls(3), "sync_mode": flag,
        },
        ("prompt",),
        per_image=True,
    ),
    "fal-ai/nano-banana": Endpoint(BANANA, ("prompt",), per_image=True),
    "fal-ai/nano-banana/edit": Endpoint(BANANA | MANY, ("prompt", "image_urls"), per_image=True, follows="image_urls"),
    "fal-ai/nano-banana-pro": Endpoint(BANANA_PRO, ("prompt",), per_image=True),
    "fal-ai/nano-banana-pro/edit": Endpoint(
        BANANA_PRO | MANY, ("prompt", "image_urls"), per_image=True, follows="image_urls"
    ),
    "fal-ai/nano-banana-2": Endpoint(BANANA_2, ("prompt",), per_image=True),
    "fal-ai/nano-banana-2/edit": Endpoint(BANANA_2 | MANY, ("prompt", "image_urls"), per_image=True, follows="image_urls"),
    "fal-ai/gpt-image-1.5": Endpoint(GPT, ("prompt",), per_image=True),
    "fal-ai/gpt-image-1.5/edit": Endpoint(
        GPT | MANY | {"mask_image_url": url, "input_fidelity": one_of("low", "high")},
        ("prompt", "image_urls"),
        per_image=True,
        follows="image_urls",
    ),
    "openai/gpt-image-2": Endpoint(GPT_2, ("prompt",), per_image=True),
    "openai/gpt-image-2/edit": Endpoint(
        GPT_2 | MANY | {"mask_url": url}, ("prompt", "image_urls"), per_image=True, follows="image_urls"
    ),
    "fal-ai/recraft/v3/text-to-image": Endpoint(
        {
            "prompt": prompt, "image_size": image_size, "enable_safety_checker": flag, "sync_mode": flag,
            "style": one_of("any", "realistic_image", "digital_illustration", "vector_illustration"),
        },
        ("prompt",),
        per_image=True,
    ),
    "fal-ai/recraft/v4/text-to-vector": Endpoint(
        {"prompt": prompt, "image_size": image_size, "enable_safety_checker": flag}, ("prompt",), per_image=True
    ),
    "fal-ai/qwen-image": Endpoint(
        COMMON | {
            "negative_prompt": text, "image_size": image_size, "num_inference_steps": number(1, 50, whole=True),
            "guidance_scale": number(0, 20), "acceleration": one_of("none", "regular", "high"), "loras": loras,
            "use_turbo": flag, "enable_safety_checker": flag,
        },
        ("prompt",),
    ),
    "fal-ai/bytedance/seedream/v4/text-to-image": Endpoint(
        {
            "prompt": prompt, "image_size": sized(960, 4096), "num_images": number(1, 6, whole=True),
            "max_images": number(1, 6, whole=True), "seed": number(0, 2**31 - 1, whole=True),
            "enhance_prompt_mode": one_of("standard", "fast"), "enable_safety_checker": flag, "sync_mode": flag,
        },
        ("prompt",),
        per_image=True,
    ),
    "fal-ai/bytedance/seedream/v4/edit": Endpoint(
        {
            "prompt": prompt, "image_size": large, "num_images": number(1, 6, whole=True), "image_urls": urls(10),
            "max_images": number(1, 6, whole=True), "seed": number(0, 2**31 - 1, whole=True),
            "enhance_prompt_mode": one_of("standard", "fast"), "enable_safety_checker": flag, "sync_mode": flag,
        },
        ("prompt", "image_urls"),
        per_image=True,
        follows="image_urls",
    ),
    "fal-ai/stable-diffusion-v35-large": Endpoint(
        COMMON | {
            "negative_prompt": text, "image_size": image_size, "num_inference_steps": number(1, 50, whole=True),
            "guidance_scale": number(0, 20), "enable_safety_checker": flag, "loras": loras,
        },
        ("prompt",),
    ),
    "fal-ai/fast-sdxl": Endpoint(SDXL, ("prompt",), per_image=True),
    "fal-ai/fast-lightning-sdxl": Endpoint(LIGHTNING, ("prompt",), per_image=True),
    "fal-ai/topaz/upscale/image": Endpoint(
        {"image_url": url, "upscale_factor": number(1, 4), "model": text, "output_format": one_of("jpeg", "png")},
        ("image_url",),
        output="image",
        per_image=True,
        follows="image_url",
    ),
    "fal-ai/bria/background/remove": Endpoint(
        {"image_url": url, "sync_mode": flag}, ("image_url",), output="image", per_image=True, follows="image_url"
    ),
}  # fmt: skip
