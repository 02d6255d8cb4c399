"""Requests of the shipped models, worked out by hand."""

from typing import Any

__all__ = ["IMAGE", "LORA", "TABLE", "with_uploads"]

IMAGE = {"image_url": "upl_1"}
LORA = {"lora_url": "upl_2"}
MASKED = {"image_url": "upl_1", "mask_url": "upl_4"}
REFERENCES = {"reference_image_urls": ["upl_3", "upl_1"]}
FACES = {"image_url": "upl_1", "target_image_url": "upl_3"}

# model, inputs, the endpoint that serves, width x height (None: the endpoint's own), micro-dollars
TABLE: list[tuple[str, dict[str, Any], str, tuple[int, int] | None, int]] = [
    ("flux-pro", {}, "fal-ai/flux-pro/v1.1", (1024, 768), 50_000),
    ("flux-pro", {"size": "2048x2048"}, "fal-ai/flux-pro/v1.1", (2048, 2048), 200_000),
    ("flux-pro", {"n": 2}, "fal-ai/flux-pro/v1.1", (1024, 768), 100_000),
    ("flux-pro", IMAGE, "fal-ai/flux-pro/kontext", None, 50_000),
    ("flux-dev", {}, "fal-ai/flux/dev", (1024, 768), 30_000),
    ("flux-dev", {"aspect_ratio": "1:1"}, "fal-ai/flux/dev", (888, 888), 30_000),
    # 1368 x 768 is a little more than a megapixel, and the next one counts whole.
    ("flux-dev", {"aspect_ratio": "16:9", "resolution": "1K"}, "fal-ai/flux/dev", (1368, 768), 60_000),
    ("flux-dev", LORA, "fal-ai/flux-lora", (1024, 768), 30_000),
    ("flux-dev", IMAGE | LORA, "fal-ai/flux-lora/image-to-image", None, 30_000),
    ("flux-dev", IMAGE, "fal-ai/flux/dev/image-to-image", None, 30_000),
    ("flux-dev", MASKED, "fal-ai/flux-lora/inpainting", None, 30_000),
    ("flux-dev", MASKED | LORA, "fal-ai/flux-lora/inpainting", None, 30_000),
    ("nano-banana", REFERENCES, "fal-ai/nano-banana/edit", (1024, 1024), 48_000),
    ("nano-banana", IMAGE | REFERENCES, "fal-ai/nano-banana/edit", None, 48_000),
    ("seedream-4", IMAGE, "fal-ai/bytedance/seedream/v4/edit", None, 36_000),
    ("gpt-image-2", REFERENCES, "openai/gpt-image-2/edit", (1024, 1024), 260_000),
    ("flux-lora", LORA | {"size": "1024x1024"}, "fal-ai/flux-lora", (1024, 1024), 30_000),
    ("face-swap", FACES, "fal-ai/face-swap", None, 20_000),
    ("image-to-image", IMAGE, "fal-ai/flux/dev/image-to-image", None, 30_000),
    ("flux-schnell", {"n": 4, "size": "1024x1024"}, "fal-ai/flux/schnell", (1024, 1024), 16_000),
    ("flux-pro-ultra", {}, "fal-ai/flux-pro/v1.1-ultra", (2752, 1536), 72_000),
    ("flux-pro-ultra", {"aspect_ratio": "1:1"}, "fal-ai/flux-pro/v1.1-ultra", (2048, 2048), 72_000),
    ("flux-kontext-max", IMAGE, "fal-ai/flux-pro/kontext/max", None, 96_000),
    ("flux-2", {}, "fal-ai/flux-2", (1024, 768), 15_000),
    ("flux-2", IMAGE, "fal-ai/flux-2/edit", None, 15_000),
    ("flux-2-pro", {"size": "1024x1024"}, "fal-ai/flux-2-pro", (1024, 1024), 36_000),
    ("flux-2-pro", {"size": "1536x1024"}, "fal-ai/flux-2-pro", (1536, 1024), 54_000),
    ("flux-2-pro", {"size": "2048x2048"}, "fal-ai/flux-2-pro", (2048, 2048), 90_000),
    ("ideogram-v3", {}, "fal-ai/ideogram/v3", (1024, 1024), 72_000),
    ("ideogram-v3", {"rendering_speed": "TURBO", "n": 2}, "fal-ai/ideogram/v3", (1024, 1024), 72_000),
    ("ideogram-v3", {"rendering_speed": "QUALITY"}, "fal-ai/ideogram/v3", (1024, 1024), 108_000),
    ("nano-banana", {"aspect_ratio": "16:9"}, "fal-ai/nano-banana", (1360, 768), 48_000),
    ("nano-banana", IMAGE | {"n": 2}, "fal-ai/nano-banana/edit", None, 96_000),
    ("nano-banana-2", {}, "fal-ai/nano-banana-2", (1024, 1024), 96_000),
    ("nano-banana-2", {"resolution": "0.5K"}, "fal-ai/nano-banana-2", (512, 512), 72_000),
    ("nano-banana-2", {"resolution": "4K", "aspect_ratio": "16:9"}, "fal-ai/nano-banana-2", (5456, 3072), 192_000),
    ("nano-banana-2", {"resolution": "2K", "enable_web_search": True}, "fal-ai/nano-banana-2", (2048, 2048), 162_000),
    ("nano-banana-pro", {}, "fal-ai/nano-banana-pro", (1024, 1024), 180_000),
    ("nano-banana-pro", {"resolution": "4K"}, "fal-ai/nano-banana-pro", (4096, 4096), 360_000),
    ("gpt-image-1.5", {}, "fal-ai/gpt-image-1.5", (1024, 1024), 250_000),
    ("gpt-image-1.5", {"quality": "low", "aspect_ratio": "3:2"}, "fal-ai/gpt-image-1.5", (1536, 1024), 20_000),
    ("gpt-image-1.5", {"quality": "medium", "n": 3, "size": "1024x1536"}, "fal-ai/gpt-image-1.5", (1024, 1536), 210_000),
    ("gpt-image-1.5", IMAGE | {"mask_url": "upl_4"}, "fal-ai/gpt-image-1.5/edit", None, 250_000),
    ("gpt-image-2", {}, "openai/gpt-image-2", (1024, 1024), 260_000),
    ("gpt-image-2", {"quality": "low", "size": "2048x2048"}, "openai/gpt-image-2", (2048, 2048), 36_000),
    ("recraft-v3-vector", {}, "fal-ai/recraft/v3/text-to-image", (1024, 1024), 96_000),
    ("recraft-v4-vector", {"n": 2}, "fal-ai/recraft/v4/text-to-vector", (1024, 1024), 192_000),
    ("recraft-v3", {}, "fal-ai/recraft/v3/text-to-image", (1024, 1024), 48_000),
    ("qwen-image", {"size": "1328x1328"}, "fal-ai/qwen-image", (1328, 1328), 50_000),
    ("seedream-4", {}, "fal-ai/bytedance/seedream/v4/text-to-image", (2048, 2048), 36_000),
    ("sd-3.5-large", {}, "fal-ai/stable-diffusion-v35-large", (1024, 768), 80_000),
    ("fast-sdxl", {"n": 2}, "fal-ai/fast-sdxl", (1024, 1024), 12_000),
    ("fast-lightning-sdxl", {"steps": 8}, "fal-ai/fast-lightning-sdxl", (1024, 1024), 3_000),
    ("upscale", IMAGE, "fal-ai/topaz/upscale/image", None, 100_000),
    ("background-removal", IMAGE, "fal-ai/bria/background/remove", None, 22_000),
    ("zai-org/GLM-Image", {"aspect_ratio": "16:9"}, "zai-org/GLM-Image", (1376, 768), 120_000),
    ("sdxl", {}, "stabilityai/stable-diffusion-xl-base-1.0", (1024, 1024), 10_000),
    ("sd-1.5", {"n": 4}, "stable-diffusion-v1-5/stable-diffusion-v1-5", (512, 512), 16_000),
    ("sd3-5-turbo", {}, "stabilityai/stable-diffusion-3.5-large-turbo", (1024, 1024), 12_000),
    ("embedded-mini", {}, "embedded:mini", (256, 256), 0),
]  # fmt: skip


def with_uploads(value: Any, uploads: dict[str, str]) -> Any:
    """Inputs with what the table calls `upl_1` and so on as it is really called."""
    if isinstance(value, dict):
        return {name: with_uploads(item, uploads) for name, item in value.items()}
    if isinstance(value, list):
        return [with_uploads(item, uploads) for item in value]
    return uploads.get(value, value) if isinstance(value, str) else value
