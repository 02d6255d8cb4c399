"""The shipped registry with tiny pipelines in place of the big ones, and nothing else changed."""

from pathlib import Path

SHIPPED = Path(__file__).parents[2] / "registry" / "models.yaml"


def tiny_registry(to: Path, *, sdxl: Path, glm: Path) -> Path:
    """Write it: SDXL and GLM-Image load from folders, and may be as small as those make them; Stable
    Diffusion 1.5 still comes from the hub, in full precision.
    """
    text = SHIPPED.read_text()
    for old, new in (
        ("source: stabilityai/stable-diffusion-xl-base-1.0", f'source: "{sdxl}"'),
        ("source: zai-org/GLM-Image", f'source: "{glm}"'),
        ("tier: L40S, dtype: float16, variant: fp16", "tier: L40S, dtype: float32"),
        ("tier: A10G, dtype: float16, variant: fp16", "tier: A10G, dtype: float32"),
        ("size: {default: 512x512, max: 1024}", "size: {default: 64x64, max: 1024}"),
        ("tier: L40S, dtype: bfloat16", "tier: L40S, dtype: float32"),
        (
            "default: 1024x1024, min: 256, max: 2048, multiple_of: 8",
            "default: 64x64, min: 64, max: 2048, multiple_of: 8",
        ),
        ("size: {min: 512, max: 2048, multiple_of: 32}", "size: {min: 32, max: 2048, multiple_of: 32}"),
        ("size: {min: 512, max: 1536, multiple_of: 64}", "size: {min: 64, max: 1536, multiple_of: 64}"),
    ):
        assert old in text, old
        text = text.replace(old, new)
    to.write_text(text)
    return to
