"""How one of fal's endpoints is told a size, as a row of the registry. Pure."""

from typing import Any

from msgspec import Struct

from providers.fal.openapi import EndpointSchema, Field, Shape
from providers.fal.proposal_fields import shape_of
from registry.sizes import RESOLUTIONS, parse_ratio, parse_size

__all__ = ["SizeProposal", "propose_size"]

PRESETS = {
    "square_hd": "1024x1024",
    "square": "512x512",
    "portrait_4_3": "768x1024",
    "portrait_16_9": "576x1024",
    "landscape_4_3": "1024x768",
    "landscape_16_9": "1024x576",
}
COMMON_RATIOS = ("21:9", "16:9", "4:3", "3:2", "1:1", "2:3", "3:4", "9:16", "9:21")
USUAL = "1024x1024"
LEAST, MOST = 64, 4096
"""Edges in pixels, where fal's own limits are wider: those are of a type that all its models share."""


class SizeProposal(Struct, frozen=True, kw_only=True):
    """A proposed `size`."""

    row: dict[str, Any]
    taken: frozenset[str] = frozenset()
    """The fields that carry it."""
    notes: tuple[str, ...] = ()


def propose_size(schema: EndpointSchema) -> SizeProposal:
    """The `size` row of an endpoint; `style: none` where the registry has no way to tell it one."""
    fields = schema.fields
    for name in ("image_size", "size"):
        if name in fields:
            found = _of_one_field(fields[name])
            if found is not None:
                return found
    if {"width", "height"} <= fields.keys():
        width, height = (shape_of(fields[name], "integer") for name in ("width", "height"))
        if width is not None and height is not None:
            edges = _edges(width, height)
            default = _fitted(f"{fields['width'].default}x{fields['height'].default}", edges)
            row = {"style": "width_height", "default": default, **edges}
            return SizeProposal(row=row, taken=frozenset({"width", "height"}), notes=(LIMITS,))
    if "aspect_ratio" in fields:
        return _of_ratio(fields["aspect_ratio"], fields.get("resolution"))
    if "image_size" in fields:
        note = "decide: fal takes words alone for its size, which the registry cannot send"
        return SizeProposal(row={"style": "none"}, taken=frozenset({"image_size"}), notes=(note,))
    return SizeProposal(row={"style": "none"})


LIMITS = "decide: the sizes that the model draws well; fal's document limits the type, not the model"


def _of_one_field(field: Field) -> SizeProposal | None:
    whole = shape_of(field, "object")
    text = shape_of(field, "string")
    taken = frozenset({field.name})
    if field.name == "image_size" and whole is not None and {"width", "height"} <= whole.members.keys():
        width, height = (shape_of(whole.members[name], "integer") for name in ("width", "height"))
        edges = _edges(width or Shape(), height or Shape())
        row = {"style": "image_size", "default": _fitted(_default(field), edges), **edges}
        return SizeProposal(row=row, taken=taken, notes=(LIMITS,))
    sizes = [value for value in text.values if parse_size(value)] if text is not None else []
    if sizes:
        default = _default(field) if _default(field) in sizes else sizes[0]
        row = {"style": "choice", "default": default, "choices": sizes}
        send = {} if field.name == "image_size" else {"send": field.name}
        return SizeProposal(row=row | send, taken=taken)
    if field.name == "size" and text is not None and not text.values:
        return SizeProposal(
            row={"style": "text", "default": USUAL, "min": LEAST, "max": 2048}, taken=taken, notes=(LIMITS,)
        )
    return None


def _of_ratio(field: Field, grades: Field | None) -> SizeProposal:
    text = shape_of(field, "string")
    named = [value for value in (text.values if text is not None else ()) if parse_ratio(value)]
    row: dict[str, Any] = {
        "style": "aspect_ratio",
        "default": USUAL,
        "choices": named or list(COMMON_RATIOS),
        "multiple_of": 16,
    }
    notes = ["decide: default, about the pixels that it makes when only a shape is asked for"]
    if not named:
        notes.append("decide: choices; fal's document lists none")
    taken = {"aspect_ratio"}
    shape = shape_of(grades, "string") if grades is not None else None
    known = [value for value in (shape.values if shape is not None else ()) if value in RESOLUTIONS]
    if known and grades is not None:
        known.sort(key=lambda value: value != grades.default)
        row["resolutions"] = known
        taken.add("resolution")
    return SizeProposal(row=row, taken=frozenset(taken), notes=tuple(notes))


def _edges(width: Shape, height: Shape) -> dict[str, Any]:
    """Limits of both edges in whole pixels, within what is usual."""
    step = max(int(width.step or 1), int(height.step or 1), 1)
    low = max(LEAST, *(-int(-shape.low // 1) for shape in (width, height) if shape.low is not None), 1)
    high = min(MOST, *(int(shape.high) for shape in (width, height) if shape.high is not None), MOST)
    return {"min": low, "max": high} | ({"multiple_of": step} if step > 1 else {})


def _default(field: Field) -> str:
    """Fal's own size as `1024x768`; a usual one where it has none."""
    if isinstance(field.default, dict):
        return f"{field.default.get('width')}x{field.default.get('height')}"
    if isinstance(field.default, str):
        return PRESETS.get(field.default, field.default)
    return USUAL


def _fitted(size: str, edges: dict[str, Any]) -> str:
    """A default within the limits."""
    wanted = parse_size(size) or parse_size(USUAL)
    step = edges.get("multiple_of", 1)
    low, high = -(-edges["min"] // step) * step, edges["max"] // step * step
    fitted = [min(max(edge // step * step, low), high) for edge in wanted or ()]
    return "x".join(map(str, fitted))
