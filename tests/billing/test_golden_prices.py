"""The golden table: what a request is quoted, and what its provider bills for it.

Each row was worked out by hand from fal's and Modal's prices, and says how: `fal` (or `Modal`) is what the
provider bills, the rest is what we charge. 1 MP is 2^20 = 1,048,576 pixels, and each picture is rounded up to
whole ones. Amounts are micro-dollars. The rows run through the planner of real requests.
"""

from dataclasses import dataclass, field
from decimal import Decimal
from functools import cache
from importlib import resources
from typing import Any

import msgspec
import pytest
import yaml

from gateway.media.walk import replaced
from gateway.planning import Plan, make_plan
from gateway.requote import requoted
from gateway.schemas import GenerateRequest
from providers.discovery import Providers
from registry.catalog import Catalog
from registry.load import load_registry, parse_registry

KEYS = {"FAL_KEY": "id:secret", "MODAL_TOKEN_ID": "ak-1", "MODAL_TOKEN_SECRET": "as-1"}
IMAGE = {"image_url": "upl_1"}
MASKED = {"image_url": "upl_1", "mask_url": "upl_2"}
LORA = {"lora_url": "upl_3"}
FACES = {"image_url": "upl_1", "target_image_url": "upl_2"}
ONE = {"reference_image_urls": ["upl_1"]}
THREE = {"reference_image_urls": ["upl_1", "upl_2", "upl_4"]}
SEARCH = {"enable_web_search": True}


@dataclass(frozen=True)
class Row:
    model: str
    inputs: dict[str, Any]
    price: int
    cost: int
    how: str
    ceiling: int | None = None
    """Held; the price itself when not given."""
    sizes: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Of the input pictures, once they were fetched."""
    price_list: str | None = None
    percent_off: int = 0


SHIPPED = [
    # FLUX.1: fal's flux-pro/v1.1 0.04 a MP, flux/dev 0.025 a MP, flux-lora 0.035 a MP, schnell 0.003 a MP
    Row("flux-pro", {"size": "1024x1024"}, 50_000, 40_000, "1024*1024/2^20 = 1 MP x 0.05; fal 1 x 0.04"),
    Row("flux-pro", {"size": "1032x1024"}, 100_000, 80_000, "1032*1024/2^20 = 1.008, 2 MP x 0.05; fal 2 x 0.04"),
    Row("flux-pro", {"size": "2048x2048", "n": 3}, 600_000, 480_000, "3 x 4 MP x 0.05; fal 3 x 4 x 0.04"),
    Row("flux-pro", IMAGE, 50_000, 40_000, "size unknown: 1 MP x 0.05, held 4 MP; fal kontext 0.04 an image", 200_000),
    Row("flux-dev", {"size": "1024x768"}, 30_000, 25_000, "0.75, 1 MP x 0.03; fal 1 x 0.025"),
    Row("flux-dev", {"size": "1024x1024"}, 30_000, 25_000, "1 MP x 0.03; fal 1 x 0.025"),
    Row("flux-dev", {"size": "1032x1024"}, 60_000, 50_000, "1.008, 2 MP x 0.03; fal 2 x 0.025"),
    Row("flux-dev", {"size": "1536x1024", "n": 4}, 240_000, 200_000, "4 x (1.5, 2 MP) x 0.03; fal 8 MP x 0.025"),
    Row("flux-dev", {"size": "1024x1024", "n": 6}, 180_000, 150_000, "calls of 4 and 2: 6 x 0.03; fal 6 x 0.025"),
    Row("flux-dev", LORA | {"size": "1024x1024"}, 30_000, 35_000, "1 x 0.03, below fal's 1 x 0.035 and says why"),
    Row("flux-dev", IMAGE, 30_000, 25_000, "size unknown: 1 MP x 0.03, held 4 x 0.03; fal 1 x 0.025", 120_000),
    Row("flux-dev", MASKED, 30_000, 35_000, "size unknown: 1 MP x 0.03, held 4; fal inpainting 1 x 0.035", 120_000),
    Row("flux-lora", LORA | {"size": "2048x1024"}, 60_000, 70_000, "2 MP x 0.03; fal 2 x 0.035"),
    Row("flux-schnell", {"size": "1024x1024", "n": 4}, 16_000, 12_000, "4 x 1 MP x 0.004; fal 4 x 0.003"),
    Row("flux-schnell", {"size": "2048x2048"}, 16_000, 12_000, "4 MP x 0.004; fal 4 x 0.003"),
    Row("flux-schnell", {"size": "1440x1440"}, 8_000, 6_000, "2073600/2^20 = 1.98, 2 MP x 0.004; fal 2 x 0.003"),
    Row("flux-pro-ultra", {}, 72_000, 60_000, "0.072 an image; fal 0.06"),
    Row("flux-pro-ultra", {"aspect_ratio": "1:1", "n": 2}, 144_000, 120_000, "2 x 0.072; fal 2 x 0.06"),
    Row("flux-kontext-max", IMAGE | {"n": 2}, 192_000, 160_000, "2 x 0.096; fal 2 x 0.08"),
    Row("image-to-image", IMAGE | {"n": 4}, 120_000, 100_000, "4 x 1 MP x 0.03, held 4 x 4; fal 4 x 0.025", 480_000),
    # FLUX.2: fal's dev 0.012 a MP; pro 0.03 the first MP of an image, 0.015 each further one, inputs among them
    Row("flux-2", {"size": "1024x1024"}, 15_000, 12_000, "1 MP x 0.015; fal 1 x 0.012"),
    Row("flux-2", {"size": "1536x1536"}, 45_000, 36_000, "2.25, 3 MP x 0.015; fal 3 x 0.012"),
    Row("flux-2-pro", {"size": "1024x1024"}, 36_000, 30_000, "first MP 0.036; fal 0.03"),
    Row("flux-2-pro", {"size": "1032x1024"}, 54_000, 45_000, "2 MP: 0.036 + 0.018; fal 0.03 + 0.015"),
    Row("flux-2-pro", {"size": "2048x2048"}, 90_000, 75_000, "4 MP: 0.036 + 3 x 0.018; fal 0.03 + 3 x 0.015"),
    Row("flux-2-pro", {"size": "2048x1024", "n": 2}, 108_000, 90_000, "2 x (0.036 + 0.018); fal 2 x (0.03 + 0.015)"),
    Row("flux-2-pro", IMAGE, 54_000, 45_000, "1 MP out, 1 in: 0.036 + 0.018, held 4 and 4: 0.036 + 7 x 0.018; fal 0.03 + 0.015",
        162_000),
    Row("flux-2-pro", IMAGE | {"size": "1024x1024"}, 54_000, 45_000, "input of 1 MP: 0.036 + 0.018; fal 0.03 + 0.015",
        sizes={"upl_1": (1024, 1024)}),
    Row("flux-2-pro", IMAGE | {"size": "1024x1024"}, 72_000, 60_000, "input 1025*1024: 2 MP: 0.036 + 2 x 0.018; fal 0.03 + 2 x 0.015",
        sizes={"upl_1": (1025, 1024)}),
    Row("flux-2-pro", THREE | {"size": "2048x1024"}, 126_000, 105_000,
        "out 2 MP, in 1 + 2 + 1: 0.036 + (1 + 4) x 0.018; fal 0.03 + 5 x 0.015",
        sizes={"upl_1": (1024, 1024), "upl_2": (1536, 1024), "upl_4": (512, 512)}),
    Row("flux-2-pro", ONE | {"size": "1024x1024", "n": 2}, 216_000, 180_000,
        "two calls, input 4 MP in each: 2 x (0.036 + 4 x 0.018); fal 2 x (0.03 + 4 x 0.015)", sizes={"upl_1": (2048, 2048)}),
    # Ideogram: fal's 0.03 TURBO, 0.06 BALANCED, 0.09 QUALITY
    Row("ideogram-v3", {}, 72_000, 60_000, "BALANCED 0.072; fal 0.06"),
    Row("ideogram-v3", {"rendering_speed": "TURBO", "n": 2}, 72_000, 60_000, "2 x 0.036; fal 2 x 0.03"),
    Row("ideogram-v3", {"rendering_speed": "QUALITY", "n": 8}, 864_000, 720_000, "8 x 0.108; fal 8 x 0.09"),
    # Google: fal's nano-banana 0.0398; pro 0.15, 4K x 2, search + 0.015; 2 0.08, 0.5K x 0.75, 2K x 1.5, 4K x 2
    Row("nano-banana", {}, 48_000, 39_800, "0.048; fal 0.0398"),
    Row("nano-banana", {"n": 4}, 192_000, 159_200, "4 x 0.048; fal 4 x 0.0398"),
    Row("nano-banana-pro", {}, 180_000, 150_000, "0.18; fal 0.15"),
    Row("nano-banana-pro", {"resolution": "2K"}, 180_000, 150_000, "2K costs what 1K does: 0.18; fal 0.15"),
    Row("nano-banana-pro", {"resolution": "4K"}, 360_000, 300_000, "0.18 x 2; fal 0.15 x 2"),
    Row("nano-banana-pro", SEARCH, 198_000, 165_000, "0.18 + 0.018; fal 0.15 + 0.015"),
    Row("nano-banana-pro", SEARCH | {"resolution": "4K", "n": 2}, 756_000, 630_000,
        "2 x (0.18 x 2 + 0.018); fal 2 x (0.15 x 2 + 0.015): the search is not doubled"),
    Row("nano-banana-2", {"resolution": "0.5K"}, 72_000, 60_000, "0.096 x 0.75; fal 0.08 x 0.75"),
    Row("nano-banana-2", {"resolution": "1K"}, 96_000, 80_000, "0.096; fal 0.08"),
    Row("nano-banana-2", {"resolution": "2K"}, 144_000, 120_000, "0.096 x 1.5; fal 0.08 x 1.5"),
    Row("nano-banana-2", {"resolution": "4K"}, 192_000, 160_000, "0.096 x 2; fal 0.08 x 2"),
    Row("nano-banana-2", SEARCH | {"resolution": "0.5K"}, 90_000, 75_000, "0.072 + 0.018; fal 0.06 + 0.015"),
    Row("nano-banana-2", SEARCH, 114_000, 95_000, "1K is its own: 0.096 + 0.018; fal 0.08 + 0.015"),
    Row("nano-banana-2", SEARCH | {"resolution": "2K"}, 162_000, 135_000, "0.144 + 0.018; fal 0.12 + 0.015"),
    Row("nano-banana-2", SEARCH | {"resolution": "4K", "n": 3}, 630_000, 525_000, "3 x (0.192 + 0.018); fal 3 x (0.16 + 0.015)"),
    Row("nano-banana-2", IMAGE | {"resolution": "4K"}, 192_000, 160_000, "an edit: 0.096 x 2; fal 0.08 x 2"),
    # GPT Image 1.5: fal's table low .009/.013, medium .034 .051 .050, high .133 .200 .199
    Row("gpt-image-1.5", {"quality": "low"}, 20_000, 9_000, "low 0.02; fal low 1024x1024 0.009"),
    Row("gpt-image-1.5", {"quality": "low", "size": "1536x1024"}, 20_000, 13_000, "low 0.02; fal low 1536x1024 0.013"),
    Row("gpt-image-1.5", {"quality": "medium"}, 70_000, 34_000, "medium 0.07; fal medium 1024x1024 0.034"),
    Row("gpt-image-1.5", {"quality": "medium", "size": "1024x1536"}, 70_000, 51_000, "medium 0.07; fal 1024x1536 0.051"),
    Row("gpt-image-1.5", {"quality": "medium", "size": "1536x1024"}, 70_000, 50_000, "medium 0.07; fal 1536x1024 0.050"),
    Row("gpt-image-1.5", {}, 250_000, 133_000, "high is the default: 0.25; fal high 1024x1024 0.133"),
    Row("gpt-image-1.5", {"size": "1024x1536"}, 250_000, 200_000, "0.25; fal high 1024x1536 0.200"),
    Row("gpt-image-1.5", {"size": "1536x1024", "n": 2}, 500_000, 398_000, "2 x 0.25; fal 2 x high 1536x1024 0.199"),
    Row("gpt-image-1.5", MASKED | {"quality": "low"}, 20_000, 13_000, "no size, no row: low 0.02; fal the dearest of low, 0.013"),
    Row("gpt-image-1.5", IMAGE, 250_000, 200_000, "no size, no row: 0.25; fal the dearest, 0.200"),
    # GPT Image 2: fal's table 1024x1024 .006/.053/.211, 1024x768 .005/.037/.145; other sizes by the MP of the first
    Row("gpt-image-2", {"quality": "low"}, 9_000, 6_000, "1 MP x 0.009; fal low 1024x1024 0.006"),
    Row("gpt-image-2", {"quality": "medium"}, 66_000, 53_000, "1 MP x 0.066; fal medium 1024x1024 0.053"),
    Row("gpt-image-2", {"quality": "high"}, 260_000, 211_000, "1 MP x 0.26; fal high 1024x1024 0.211"),
    Row("gpt-image-2", {"quality": "low", "size": "1024x768"}, 9_000, 5_000, "0.75, 1 MP x 0.009; fal low 1024x768 0.005"),
    Row("gpt-image-2", {"quality": "medium", "size": "1024x768"}, 66_000, 37_000, "1 MP x 0.066; fal medium 1024x768 0.037"),
    Row("gpt-image-2", {"size": "1024x768"}, 260_000, 145_000, "1 MP x 0.26; fal high 1024x768 0.145"),
    Row("gpt-image-2", {"size": "2048x2048"}, 1_040_000, 844_000, "4 MP x 0.26; no row: 4 x 0.211"),
    Row("gpt-image-2", {"quality": "low", "size": "3840x2160"}, 72_000, 48_000, "7.91, 8 MP x 0.009; no row: 8 x 0.006"),
    # Recraft: fal's 0.04, vector x 2; v4 vector 0.08
    Row("recraft-v3", {}, 48_000, 40_000, "0.048; fal 0.04"),
    Row("recraft-v3-vector", {}, 96_000, 80_000, "0.096; fal 0.04 x 2"),
    Row("recraft-v3-vector", {"n": 3}, 288_000, 240_000, "three calls: 3 x 0.096; fal 3 x 0.04 x 2"),
    Row("recraft-v4-vector", {"n": 2}, 192_000, 160_000, "2 x 0.096; fal 2 x 0.08"),
    # Others at fal
    Row("qwen-image", {"size": "1328x1328"}, 50_000, 40_000, "1763584/2^20 = 1.68, 2 MP x 0.025; fal 2 x 0.02"),
    Row("seedream-4", {"n": 6}, 216_000, 180_000, "6 x 0.036; fal 6 x 0.03"),
    Row("seedream-4", IMAGE, 36_000, 30_000, "0.036; fal 0.03"),
    Row("sd-3.5-large", {"size": "1024x1024"}, 80_000, 65_000, "1 MP x 0.08; fal 1 x 0.065"),
    Row("upscale", IMAGE, 100_000, 80_000, "0.1; fal 0.08"),
    Row("background-removal", IMAGE, 22_000, 18_000, "0.022; fal 0.018"),
    Row("face-swap", FACES, 20_000, 1_000, "0.02; fal 0.001"),
    # By compute second at fal, 0.00125
    Row("fast-sdxl", {}, 6_000, 3_750, "0.006; fal 3 compute s x 0.00125"),
    Row("fast-sdxl", {"n": 2}, 12_000, 7_500, "2 x 0.006; fal 2 x 3 compute s x 0.00125"),
    Row("fast-lightning-sdxl", {"steps": 8}, 3_000, 1_250, "0.003; fal 1 compute s x 0.00125"),
    # By GPU second at Modal: L40S 0.000542, A10G 0.000306
    Row("zai-org/GLM-Image", {"size": "1024x1024"}, 60_000, 32_520, "1 MP x 0.06; Modal 60 s x 0.000542"),
    Row("zai-org/GLM-Image", {"size": "1376x768"}, 120_000, 32_520, "1.008, 2 MP x 0.06; Modal 60 s x 0.000542"),
    Row("sdxl", {"n": 4}, 40_000, 13_008, "4 x 1 MP x 0.01; Modal 4 x 6 s x 0.000542"),
    Row("sd-1.5", {}, 4_000, 1_224, "0.004; Modal 4 s x 0.000306"),
    Row("sd3-5-turbo", {}, 12_000, 2_710, "1 MP x 0.012; Modal 5 s x 0.000542"),
    Row("embedded-mini", {"n": 4}, 0, 0, "this machine's own"),
]  # fmt: skip

# What no shipped model has: prices by the job and by the second, sides that are no multiples of 8.
EXTRA = {
    "by-pixel": {"price": {"per_megapixel": "0.03"},
                 "routes": [{"provider": "fal", "endpoint": "fal-ai/flux/dev", "dialect": "flux", "size": {"multiple_of": 1},
                             "provider_cost": {"per_megapixel": "0.025"}}]},
    "by-job": {"price": {"flat": "0.05"},
               "routes": [{"provider": "fal", "endpoint": "fal-ai/flux/schnell", "dialect": "flux-schnell",
                           "provider_cost": {"flat": "0.009"}}]},
    "by-second": {"price": {"per_compute_second": "0.002", "typical_seconds": "3", "max_seconds": "8"},
                  "routes": [{"provider": "fal", "endpoint": "fal-ai/fast-sdxl", "dialect": "fast-sdxl",
                              "provider_cost": {"per_compute_second": "0.00125", "typical_seconds": "3"}}]},
}  # fmt: skip
LISTS = {
    "partner": {"about": "a partner", "percent_off": 10, "models": {"flux-dev": {"per_megapixel": "0.028"}}},
    "friends": {"about": "friends", "models": {"nano-banana-pro": {"per_image": "0.32"}}},
}
WITHOUT_PRICE = ("recraft-v3-vector", "gpt-image-1.5", "qwen-image", "sd-3.5-large-turbo")
MARKUP = Decimal("1.5")

CHANGED = [
    Row("by-pixel", {"size": "1024x1024"}, 30_000, 25_000, "exactly 1 MP x 0.03; fal 1 x 0.025"),
    Row("by-pixel", {"size": "1025x1024"}, 60_000, 50_000, "one column more: 2 MP x 0.03; fal 2 x 0.025"),
    Row("by-pixel", {"size": "1025x1024", "n": 3}, 180_000, 150_000, "rounded per image: 3 x 2 MP x 0.03; fal 6 x 0.025"),
    Row("by-job", {"size": "2048x2048"}, 50_000, 9_000, "0.05 a job; fal 0.009 a call"),
    Row("by-job", {"n": 6}, 50_000, 18_000, "0.05 a job; calls of 4 and 2: fal 2 x 0.009"),
    Row("by-second", {"n": 2}, 12_000, 7_500, "2 x 3 s x 0.002, held 2 x 8 s x 0.002; fal 2 x 3 s x 0.00125", 32_000),
    # A price list: 10% off, but for the model that has its own price there. The window's discount is on top.
    Row("flux-dev", {"size": "1024x1024"}, 28_000, 25_000, "its own: 1 MP x 0.028; fal 0.025", price_list="partner"),
    Row("flux-schnell", {"n": 4}, 14_400, 12_000, "4 x 0.004 x 0.9; fal 4 x 0.003", price_list="partner"),
    Row("nano-banana-pro", SEARCH | {"resolution": "4K"}, 340_200, 315_000, "(0.18 x 2 + 0.018) x 0.9; fal 0.15 x 2 + 0.015",
        price_list="partner"),
    Row("nano-banana-pro", SEARCH | {"resolution": "4K"}, 320_000, 315_000, "0.32 whatever is asked; fal 0.15 x 2 + 0.015",
        price_list="friends"),
    Row("ideogram-v3", {}, 72_000, 60_000, "it is not on the list: 0.072; fal 0.06", price_list="friends"),
    Row("flux-schnell", {"n": 4}, 11_520, 12_000, "4 x 0.004 x 0.9 x 0.8; fal 4 x 0.003", price_list="partner", percent_off=20),
    Row("nano-banana-2", {}, 76_800, 80_000, "0.096 x 0.8 in a window; fal 0.08", percent_off=20),
    # Without a price: the cost times the markup, with all that it depends on
    Row("qwen-image", {"size": "2048x1024"}, 60_000, 40_000, "2 MP x 0.02 x 1.5; fal 2 x 0.02"),
    Row("recraft-v3-vector", {}, 120_000, 80_000, "0.04 x 1.5 x 2; fal 0.04 x 2"),
    Row("gpt-image-1.5", {"quality": "low"}, 13_500, 9_000, "0.009 x 1.5; fal low 1024x1024 0.009"),
    Row("gpt-image-1.5", {"size": "1536x1024"}, 298_500, 199_000, "0.199 x 1.5; fal high 1536x1024 0.199"),
    Row("sd3-5-turbo", {}, 4_065, 2_710, "5 s x 0.000542 x 1.5; Modal 5 s x 0.000542"),
]  # fmt: skip


@cache
def catalog(changed: bool) -> Catalog:
    if not changed:
        return Catalog(load_registry())
    data = yaml.safe_load(resources.files("registry").joinpath("models.yaml").read_text("utf-8"))
    for name, row in EXTRA.items():
        data["models"][name] = {"description": "a test's", "tasks": ["text-to-image"]} | row
    for name in WITHOUT_PRICE:
        del data["models"][name]["price"]
    data["price_lists"] = LISTS
    return Catalog(parse_registry(yaml.safe_dump(data, sort_keys=False), "changed.yaml", markup=MARKUP))


def planned(row: Row, changed: bool) -> Plan:
    """The plan as a real request has it; with its inputs' sizes, as once they were fetched."""
    data = catalog(changed)
    required = data.model(row.model).required
    inputs = ({"prompt": "x"} if "prompt" in required else {}) | row.inputs
    request = GenerateRequest(model=row.model, inputs=inputs)
    plan = make_plan(
        data,
        Providers(data.data.providers, KEYS, ""),
        request,
        fresh_seed=11,
        percent_off=row.percent_off,
        price_list=row.price_list,
    )
    if not row.sizes:
        return plan

    def seen(ref: Any, _: Any) -> Any:
        return msgspec.structs.replace(ref, width=row.sizes[ref.url][0], height=row.sizes[ref.url][1])

    candidates = tuple(
        msgspec.structs.replace(
            one,
            calls=tuple(
                msgspec.structs.replace(call, payload=replaced(call.payload, seen)) for call in one.calls
            ),
        )
        for one in plan.candidates
    )
    return requoted(msgspec.structs.replace(plan, candidates=candidates), request)


def name_of(row: Row) -> str:
    return f"{row.model}: {row.how}"


def check(row: Row, plan: Plan) -> None:
    first = plan.candidates[0]
    assert plan.unavailable is None
    assert (plan.quote.price_micros, first.cost_micros) == (row.price, row.cost)
    held = row.price if row.ceiling is None else row.ceiling
    assert (plan.quote.ceiling_micros, first.ceiling_micros) == (held, held)


@pytest.mark.parametrize("row", SHIPPED, ids=name_of)
def test_a_shipped_model(row: Row) -> None:
    check(row, planned(row, changed=False))


@pytest.mark.parametrize("row", CHANGED, ids=name_of)
def test_what_no_shipped_model_has(row: Row) -> None:
    check(row, planned(row, changed=True))


def test_there_are_sixty_rows_and_every_living_model_is_among_them() -> None:
    assert len(SHIPPED) >= 60
    shipped = catalog(changed=False)
    assert {shipped.model(row.model).id for row in SHIPPED} == set(shipped.alive)
