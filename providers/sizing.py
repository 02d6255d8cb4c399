"""Which size a request asks for, and how a route is told it. Pure arithmetic in pixels."""

import math
from typing import Any, Literal

from msgspec import Struct

from providers.diffusers_modal.finish import nearest_size
from registry.inputs import UnifiedInputs
from registry.schema import Route, SizeRule
from registry.sizes import parse_ratio, parse_size

__all__ = ["SizePlan", "plan_size"]

EDGES = ("width", "height")
RESOLUTIONS = {"1K": 1024, "2K": 2048, "4K": 4096}


class SizePlan(Struct, frozen=True, kw_only=True):
    """The size that a route will be asked for."""

    sent: dict[str, Any] = {}
    """The payload's members."""
    width: int | None = None
    height: int | None = None
    unsupported: bool = False
    """The route takes no size: the words that asked for one are accounted for as such."""
    problem: str | None = None
    """Why it is not the size asked for."""
    allowed: str | None = None
    moved: tuple[str, ...] = ()
    """`width`, `height`: the edges that are not those asked for."""
    overruled: dict[str, str] = {}
    """Words that the edges contradict, and how: the edges win."""
    emulated: str | None = None
    """How it is made by a model that does not draw this size itself."""

    def sent_as(self, word: str) -> str:
        """The payload's member that carries a word of the request."""
        if "image_size" in self.sent:
            return "image_size"
        return word if word in self.sent else "width, height"

    def sent_value(self, word: str) -> Any:
        """What that member holds."""
        if "image_size" in self.sent:
            return self.sent["image_size"]
        return self.sent.get(word, f"{self.width}x{self.height}")

    def how(self, word: str, requested_as: str) -> Literal["exact", "alias", "converted"]:
        """How a word that was honoured was sent."""
        if word not in self.sent:
            return "converted"
        return "exact" if word == requested_as else "alias"


def plan_size(inputs: UnifiedInputs, route: Route) -> SizePlan:
    """The size for this request on this route.

    One missing edge follows from the aspect ratio, else from the model's default. An aspect
    ratio alone keeps the area of the default, or of the resolution asked for.
    """
    rule = route.size
    if rule.style == "none":
        return SizePlan(unsupported=True)
    asked = any((inputs.width, inputs.height, inputs.aspect_ratio, inputs.resolution))
    if not asked and "image" in route.when:
        return SizePlan()  # the output follows the input image
    width, height = _wanted(inputs, rule)
    fitted = _fit_edge(width, rule), _fit_edge(height, rule)
    problem, allowed = None, None
    moved = tuple(e for e, was, now in zip(EDGES, (width, height), fitted, strict=True) if was != now)
    if moved and asked:
        problem = f"{width}x{height} is not a size of this model; the nearest is {fitted[0]}x{fitted[1]}"
        step = f" in steps of {rule.multiple_of}" if rule.multiple_of > 1 else ""
        allowed = f"{rule.min} to {rule.max} pixels{step}"
    return SizePlan(
        sent=_send(rule, *fitted),
        width=fitted[0],
        height=fitted[1],
        problem=problem,
        allowed=allowed,
        moved=moved,
        overruled=_overruled(inputs, width, height),
        emulated=_emulated(route, *fitted),
    )


def _emulated(route: Route, width: int, height: int) -> str | None:
    """What the engine does (`diffusers_modal/finish.py`) when the weights do not draw a size."""
    sizes = [parse_size(size) for size in route.pipeline.sizes] if route.pipeline is not None else []
    drawn = nearest_size(width, height, [size for size in sizes if size is not None])
    if drawn is None or drawn == (width, height):
        return None
    # What is made of an input picture keeps all of it.
    whole = drawn[0] * height == drawn[1] * width or "image" in route.when
    cut = "" if whole else "cut to its proportions and "
    return f"drawn at {drawn[0]}x{drawn[1]}, which this model draws itself, then {cut}scaled"


def _wanted(inputs: UnifiedInputs, rule: SizeRule) -> tuple[int, int]:
    default = parse_size(rule.default or "") or (1024, 1024)
    ratio = parse_ratio(inputs.aspect_ratio or "") or default
    if inputs.width and inputs.height:
        return inputs.width, inputs.height
    if inputs.width:
        return inputs.width, _derived(inputs, inputs.width * ratio[1] / ratio[0], default[1], rule)
    if inputs.height:
        return _derived(inputs, inputs.height * ratio[0] / ratio[1], default[0], rule), inputs.height
    edge = RESOLUTIONS.get(inputs.resolution or "")
    area = edge * edge if edge else default[0] * default[1]
    width = math.sqrt(area * ratio[0] / ratio[1])
    return _round(width, rule), _round(width * ratio[1] / ratio[0], rule)


def _derived(inputs: UnifiedInputs, by_ratio: float, by_default: int, rule: SizeRule) -> int:
    return _round(by_ratio, rule) if inputs.aspect_ratio else by_default


def _overruled(inputs: UnifiedInputs, width: int, height: int) -> dict[str, str]:
    """The words that say something else than the edges do."""
    found: dict[str, str] = {}
    ratio = parse_ratio(inputs.aspect_ratio or "")
    # 1366x768 is 16:9 to a person: 2% is near enough.
    if ratio and inputs.width and inputs.height and abs(width / height / (ratio[0] / ratio[1]) - 1) > 0.02:
        found["aspect_ratio"] = f"{width}x{height} is not {inputs.aspect_ratio}"
    edge = RESOLUTIONS.get(inputs.resolution or "")
    # A resolution is a class of areas: 1280x720 is 1K, being nearer to it than to 2K.
    if edge and (inputs.width or inputs.height) and not 0.5 <= width * height / edge**2 <= 2:
        found["resolution"] = f"{width}x{height} is not {inputs.resolution}"
    return found


def _round(edge: float, rule: SizeRule) -> int:
    return max(rule.multiple_of, round(edge / rule.multiple_of) * rule.multiple_of)


def _fit_edge(edge: int, rule: SizeRule) -> int:
    low = -(-rule.min // rule.multiple_of) * rule.multiple_of
    high = rule.max // rule.multiple_of * rule.multiple_of
    return min(max(_round(edge, rule), low), high)


def _send(rule: SizeRule, width: int, height: int) -> dict[str, Any]:
    if rule.style == "image_size":
        return {"image_size": {"width": width, "height": height}}
    return {"width": width, "height": height}
