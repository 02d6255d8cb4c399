"""Sizes of endpoints that take one of a few: the nearest ratio, resolution or size. Pure arithmetic."""

import math
from collections.abc import Sequence

from msgspec import Struct

from registry.schema import SizeRule
from registry.sizes import RESOLUTIONS, parse_ratio, parse_size

__all__ = ["Chosen", "choose"]

NEAR = 0.02
"""1366x768 is 16:9 to a person: a fiftieth is near enough."""
SMALLEST, LARGEST = 0.45, 2.2
"""What share of its area a grade stands for: 3840x2160 is 4K to a person, and half of 4096x4096."""


class Chosen(Struct, frozen=True, kw_only=True):
    """What comes nearest to a size that was asked for."""

    sent: dict[str, str]
    """The endpoint's members."""
    width: int
    """Pixels that it makes, or about as many."""
    height: int
    problem: str | None = None
    """Why that is not what was asked for; None when it is."""
    moved: tuple[str, ...] = ()
    """The words of the request that it leaves."""


def choose(
    rule: SizeRule, width: int, height: int, ratio: str | None, resolution: str | None, *, exact: bool
) -> Chosen:
    """The nearest that an endpoint has.

    Args:
        rule: of the style `aspect_ratio` or `choice`.
        width: pixels asked for.
        height: likewise.
        ratio: the shape asked for, if one was.
        resolution: the class of areas asked for, if one was.
        exact: an edge was asked for in pixels.
    """
    # In the caller's own word: the edges of a shape were worked out here.
    said = f"{width}x{height}" if exact or ratio is None else ratio
    if rule.style == "choice":
        return _size(rule, width, height, said, exact=exact)
    return _ratio(rule, width, height, said, resolution, exact=exact)


def _size(rule: SizeRule, width: int, height: int, said: str, *, exact: bool) -> Chosen:
    def distance(size: tuple[int, int]) -> tuple[float, float]:
        return _off(width / height, size), abs(math.log(size[0] * size[1] / (width * height)))

    found = min((size for size in map(parse_size, rule.choices) if size is not None), key=distance)
    sent = {rule.send or "image_size": f"{found[0]}x{found[1]}"}
    if found == (width, height) or (not exact and _off(width / height, found) <= NEAR):
        return Chosen(sent=sent, width=found[0], height=found[1])
    problem = f"{said} is not a size of this model; the nearest is {found[0]}x{found[1]}"
    return Chosen(
        sent=sent, width=found[0], height=found[1], problem=problem, moved=("width", "height", "aspect_ratio")
    )


def _ratio(
    rule: SizeRule, width: int, height: int, said: str, resolution: str | None, *, exact: bool
) -> Chosen:
    ratios = [ratio for ratio in map(parse_ratio, rule.choices) if ratio is not None]
    ratio = min(ratios, key=lambda one: _off(width / height, one))
    named = f"{ratio[0]}:{ratio[1]}"
    default = parse_size(rule.default or "") or (1024, 1024)
    area = default[0] * default[1]
    sent = {"aspect_ratio": named}
    problem: str | None = None
    moved: tuple[str, ...] = ()
    if _off(width / height, ratio) > NEAR:
        problem = f"{said} is not a shape of this model; the nearest is {named}"
        moved = ("width", "height", "aspect_ratio")
    if rule.resolutions:
        grade = resolution if resolution in rule.resolutions else _grade(rule.resolutions, width * height)
        area = RESOLUTIONS[grade] ** 2
        sent["resolution"] = grade
    pixels = math.sqrt(area * ratio[0] / ratio[1])
    made = _even(pixels, rule), _even(pixels * ratio[1] / ratio[0], rule)
    asked = RESOLUTIONS[resolution] ** 2 if resolution else width * height if exact else area
    if problem is None and not SMALLEST <= asked / area <= LARGEST:
        wanted = resolution or said
        problem = f"{wanted} is not an area of this model; the nearest is about {made[0]}x{made[1]}"
        moved = ("resolution",) if resolution else ("width", "height")
    return Chosen(sent=sent, width=made[0], height=made[1], problem=problem, moved=moved)


def _grade(resolutions: Sequence[str], area: float) -> str:
    """The smallest class that has about that area; else the largest."""
    by_area = sorted(resolutions, key=lambda name: RESOLUTIONS[name])
    return next((name for name in by_area if RESOLUTIONS[name] ** 2 >= 0.75 * area), by_area[-1])


def _off(ratio: float, other: tuple[int, int]) -> float:
    """How far two ratios are from each other: 0.02 is a fiftieth."""
    return abs(math.log(ratio * other[1] / other[0]))


def _even(edge: float, rule: SizeRule) -> int:
    return max(rule.multiple_of, round(edge / rule.multiple_of) * rule.multiple_of)
