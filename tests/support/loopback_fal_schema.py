"""What fal's endpoints take, written by hand from fal's own schemas and stricter than they are.

Not from our registry: a registry row that is wrong must fail here. A field that an endpoint does
not have is refused, although the real one would overlook it.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

PRESETS = {
    "square_hd": (1024, 1024),
    "square": (512, 512),
    "portrait_4_3": (768, 1024),
    "portrait_16_9": (576, 1024),
    "landscape_4_3": (1024, 768),
    "landscape_16_9": (1024, 576),
}
RATIOS = ("21:9", "16:9", "4:3", "3:2", "1:1", "2:3", "3:4", "9:16", "9:21")
MOST_EDGE = 14142
AREAS = {"0.5K": 512**2, "1K": 1024**2, "2K": 2048**2, "4K": 4096**2}


class Bad(NamedTuple):
    """One fault of an input, as fal words it."""

    loc: list[Any]
    msg: str
    type: str
    ctx: dict[str, Any] | None = None

    def detail(self) -> dict[str, Any]:
        found = {
            "loc": ["body", *self.loc],
            "msg": self.msg,
            "type": self.type,
            "url": f"https://docs.fal.ai/errors#{self.type}",
            "input": "what was sent",
        }
        return found | ({"ctx": self.ctx} if self.ctx else {})


Check = Callable[[list[Any], Any], list[Bad]]


def described(check: Check, **schema: Any) -> Check:
    """The check, with what fal's OpenAPI document says of such a field (`loopback_fal_openapi.py`)."""
    check.schema = schema
    return check


def text(loc: list[Any], value: Any) -> list[Bad]:
    return [] if isinstance(value, str) else [Bad(loc, "Input should be a valid string", "string_type")]


def prompt(loc: list[Any], value: Any) -> list[Bad]:
    if value == "forbidden":
        return [Bad(loc, "The content could not be processed", "content_policy_violation")]
    return text(loc, value)


def flag(loc: list[Any], value: Any) -> list[Bad]:
    return [] if isinstance(value, bool) else [Bad(loc, "Input should be a valid boolean", "bool_type")]


def one_of(*allowed: str) -> Check:
    def check(loc: list[Any], value: Any) -> list[Bad]:
        if isinstance(value, str) and value in allowed:
            return []
        return [Bad(loc, f"Input should be {', '.join(allowed)}", "one_of", {"expected": list(allowed)})]

    return described(check, type="string", enum=list(allowed))


def number(low: float, high: float, *, whole: bool = False) -> Check:
    kind = int if whole else (int, float)

    def check(loc: list[Any], value: Any) -> list[Bad]:
        if isinstance(value, bool) or not isinstance(value, kind):
            name = "int_type" if whole else "float_type"
            return [Bad(loc, "Input should be a valid number", name)]
        if value < low:
            return [Bad(loc, f"Input should be at least {low}", "greater_than_equal", {"ge": low})]
        if value > high:
            return [Bad(loc, f"Input should be at most {high}", "less_than_equal", {"le": high})]
        return []

    return described(check, type="integer" if whole else "number", minimum=low, maximum=high)


def url(loc: list[Any], value: Any) -> list[Bad]:
    """https, or our own upload; a `data:` URI fails on some endpoints, so here on all."""
    if not isinstance(value, str):
        return text(loc, value)
    if value.startswith(("https://", "http://127.0.0.1:")):
        return []
    return [Bad(loc, "Failed to download the file", "file_download_error")]


def image_size(loc: list[Any], value: Any) -> list[Bad]:
    if not isinstance(value, dict):
        return one_of(*PRESETS)(loc, value)
    edge = number(1, MOST_EDGE, whole=True)
    faults = [
        Bad([*loc, name], "Extra inputs", "extra_forbidden") for name in value.keys() - {"width", "height"}
    ]
    for name in ("width", "height"):
        faults += edge([*loc, name], value[name]) if name in value else [missing([*loc, name])]
    return faults


def loras(loc: list[Any], value: Any) -> list[Bad]:
    """The scale as in fal's own types: `zLoraWeight` of fal-ai/fal-js (image/zod.gen.ts, 53241327a7e1)."""
    if not isinstance(value, list):
        return [Bad(loc, "Input should be a valid list", "list_type")]
    faults = []
    for position, item in enumerate(value):
        at = [*loc, position]
        if not isinstance(item, dict) or "path" not in item:
            faults.append(missing([*at, "path"]))
            continue
        faults += [
            Bad([*at, name], "Extra inputs", "extra_forbidden") for name in item.keys() - {"path", "scale"}
        ]
        faults += url([*at, "path"], item["path"]) + number(0, 4)([*at, "scale"], item.get("scale", 1))
    return faults


described(text, type="string")
described(prompt, type="string")
described(url, type="string")
described(flag, type="boolean")
described(
    image_size,
    anyOf=[{"$ref": "#/components/schemas/ImageSize"}, {"type": "string", "enum": list(PRESETS)}],
)
described(loras, type="array", items={"$ref": "#/components/schemas/LoraWeight"})


def missing(loc: list[Any]) -> Bad:
    return Bad(loc, "Field required", "missing")


class Endpoint(NamedTuple):
    """An endpoint's input, and what it makes of it."""

    fields: dict[str, Check]
    required: tuple[str, ...]
    output: str = "images"
    per_image: bool = False
    """Billed by the picture, else by the megapixel, each picture rounded up."""
    follows: str = ""
    """The input picture whose size the output has."""

    def faults(self, given: Any) -> list[Bad]:
        if not isinstance(given, dict):
            return [Bad([], "Input should be a valid dictionary", "dict_type")]
        found = [missing([name]) for name in self.required if name not in given]
        for name, value in given.items():
            if name not in self.fields:
                found.append(Bad([name], "Extra inputs are not permitted", "extra_forbidden"))
            else:
                found += self.fields[name]([name], value)
        return found


COMMON: dict[str, Check] = {
    "prompt": prompt,
    "num_images": number(1, 4, whole=True),
    "seed": number(0, 2**63 - 1, whole=True),
    "output_format": one_of("jpeg", "png"),
    "sync_mode": flag,
}
FLUX = COMMON | {
    "num_inference_steps": number(1, 50, whole=True),
    "guidance_scale": number(1, 20),
    "enable_safety_checker": flag,
    "acceleration": one_of("none", "regular", "high"),
}
LORA = FLUX | {
    "guidance_scale": number(0, 35),
    "acceleration": one_of("none", "regular"),
    "loras": loras,
    "image_size": image_size,
}
PRO = COMMON | {"safety_tolerance": one_of("1", "2", "3", "4", "5", "6"), "enhance_prompt": flag}
FROM_IMAGE: dict[str, Check] = {"image_url": url, "strength": number(0.01, 1)}

ENDPOINTS = {
    "fal-ai/flux/dev": Endpoint(FLUX | {"image_size": image_size}, ("prompt",)),
    "fal-ai/flux/dev/image-to-image": Endpoint(
        FLUX | FROM_IMAGE, ("prompt", "image_url"), follows="image_url"
    ),
    "fal-ai/flux-lora": Endpoint(LORA, ("prompt",)),
    "fal-ai/flux-lora/image-to-image": Endpoint(
        LORA | FROM_IMAGE, ("prompt", "image_url"), follows="image_url"
    ),
    "fal-ai/flux-lora/inpainting": Endpoint(
        LORA | FROM_IMAGE | {"mask_url": url}, ("prompt", "image_url", "mask_url"), follows="image_url"
    ),
    "fal-ai/flux-pro/v1.1": Endpoint(PRO | {"image_size": image_size}, ("prompt",)),
    "fal-ai/flux-pro/kontext": Endpoint(
        PRO | {"image_url": url, "guidance_scale": number(1, 20), "aspect_ratio": one_of(*RATIOS)},
        ("prompt", "image_url"),
        per_image=True,
        follows="image_url",
    ),
    "fal-ai/face-swap": Endpoint(
        {"base_image_url": url, "swap_image_url": url},
        ("base_image_url", "swap_image_url"),
        output="image",
        per_image=True,
        follows="base_image_url",
    ),
}


def asked_size(given: dict[str, Any], source: tuple[int, int] | None) -> tuple[int, int]:
    """Width and height of the pictures that an input asks for."""
    size = given.get("image_size")
    if isinstance(size, dict):
        return size["width"], size["height"]
    if isinstance(size, str):
        width, _, height = size.partition("x")
        return (int(width), int(height)) if height else PRESETS[size]
    if "aspect_ratio" in given:
        wide, high = (int(part) for part in given["aspect_ratio"].split(":"))
        area = AREAS[given.get("resolution", "1K")]
        edge = (area / (wide * high)) ** 0.5
        return round(wide * edge / 16) * 16, round(high * edge / 16) * 16
    return source or PRESETS["landscape_4_3"]
