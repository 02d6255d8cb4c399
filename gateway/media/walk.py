"""Finds the media in a payload. Pure."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from providers.base import MediaRef

if TYPE_CHECKING:
    from gateway.media.decode import Kind

__all__ = ["picture_sizes", "replaced"]

LORA_ROWS = ({"url", "scale"}, {"path", "scale"})
"""How `providers.normalizer` writes a LoRA, in both shapes."""


def replaced(value: Any, change: "Callable[[MediaRef, Kind], MediaRef]", kind: "Kind" = "image") -> Any:
    """A payload with its references changed; every one of them is a picture but those of LoRAs."""
    if isinstance(value, MediaRef):
        return change(value, kind)
    if isinstance(value, dict):
        inside: Kind = "lora" if value.keys() in LORA_ROWS else kind
        return {name: replaced(item, change, inside) for name, item in value.items()}
    return [replaced(item, change, kind) for item in value] if isinstance(value, list | tuple) else value


def picture_sizes(payload: Mapping[str, Any]) -> tuple[tuple[int, int] | None, ...]:
    """Width and height in pixels of each picture in a payload; None of one that nobody has fetched yet."""
    found: list[tuple[int, int] | None] = []

    def note(ref: MediaRef, kind: "Kind") -> MediaRef:
        if kind == "image":
            found.append(None if ref.width is None or ref.height is None else (ref.width, ref.height))
        return ref

    replaced(dict(payload), note)
    return tuple(found)
