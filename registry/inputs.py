"""A request's inputs in the unified vocabulary, typed: what validation makes and the normalizer reads."""

from typing import Any

from msgspec import Struct

from registry.schema import TermType

__all__ = ["FEATURE_WORDS", "FOLDED", "WORD_TYPES", "Given", "Lora", "UnifiedInputs"]


FEATURE_WORDS = {
    "image": "image_url",
    "mask": "mask_url",
    "lora": "loras",
    "target_image": "target_image_url",
    "references": "reference_image_urls",
}
"""The word of the vocabulary that a feature is the presence of."""


class Lora(Struct, frozen=True, kw_only=True):
    """A LoRA and its weight."""

    url: str
    scale: float = 1.0


class Given(Struct, frozen=True, kw_only=True):
    """One parameter as the caller wrote it: the report accounts for each of these."""

    name: str
    """In the vocabulary, or native to an endpoint."""
    requested_as: str
    """The caller's spelling."""
    requested: Any
    pointer: str


class UnifiedInputs(Struct, frozen=True, kw_only=True):
    """Every parameter that the caller gave, under its unified name; None = not given.

    `size` has become width and height, `lora_url` and `lora_scale` the one LoRA of `loras`.
    """

    prompt: str | None = None
    negative_prompt: str | None = None
    width: int | None = None
    height: int | None = None
    aspect_ratio: str | None = None
    resolution: str | None = None
    num_images: int | None = None
    num_inference_steps: int | None = None
    guidance_scale: float | None = None
    seed: int | None = None
    strength: float | None = None
    scheduler: str | None = None
    image_url: str | None = None
    mask_url: str | None = None
    target_image_url: str | None = None
    reference_image_urls: tuple[str, ...] | None = None
    loras: tuple[Lora, ...] | None = None
    style: str | None = None
    quality: str | None = None
    background: str | None = None
    output_format: str | None = None
    optimize_prompt: bool | None = None
    native: dict[str, Any] = {}
    given: tuple[Given, ...] = ()

    @property
    def features(self) -> frozenset[str]:
        """The kinds of input that are present: what a route's `when` is held against."""
        return frozenset(name for name, word in FEATURE_WORDS.items() if getattr(self, word))


WORD_TYPES: dict[str, TermType] = {
    "prompt": "string",
    "negative_prompt": "string",
    "width": "integer",
    "height": "integer",
    "aspect_ratio": "ratio",
    "resolution": "string",
    "num_images": "integer",
    "num_inference_steps": "integer",
    "guidance_scale": "number",
    "seed": "integer",
    "strength": "number",
    "scheduler": "string",
    "image_url": "reference",
    "mask_url": "reference",
    "target_image_url": "reference",
    "reference_image_urls": "references",
    "loras": "loras",
    "style": "string",
    "quality": "string",
    "background": "string",
    "output_format": "string",
    "optimize_prompt": "boolean",
    "size": "size",
    "lora_url": "reference",
    "lora_scale": "number",
}
"""The words that a vocabulary may have, with the type that each must be given there."""

FOLDED = {"size": "width and height", "lora_url": "loras", "lora_scale": "loras"}
"""Words that validation turns into others: no route takes them as such."""
