"""Which size a request asks for, and how a route is told it. Pure arithmetic in pixels."""

import math
from typing import Any, Literal

from msgspec import Struct

from providers.diffusers_modal.finish import nearest_size
from providers.size_choice import Chosen, choose
from registry.inputs import UnifiedInputs
from registry.schema import Route, SizeRule
from registry.sizes import RESOLUTIONS, parse_ratio, parse_size

__all__ = ["SizePlan", "plan_size"]

EDGES = ("width", "height")


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
    note: str | None = None
    """What is worth knowing of a size that is honoured."""
    emulated: str | None = None
    """How it is made by a model that does not draw this size itself."""

    @property
    def effective(self) -> dict[str, str]:
        """Its words, as a price may name them."""
        size = {"size": f"{self.width}x{self.height}"} if self.width else {}
        return size | {word: self.sent[word] for word in ("aspect_ratio", "resolution") if word in self.sent}

    def sent_as(self, word: str) -> str:
        """The payload's member that carries a word of the request."""
        return word if word in self.sent else ", ".join(self.sent)

    def sent_value(self, word: str) -> Any:
        """What that member holds."""
        if word in self.sent:
            return self.sent[word]
        if set(EDGES) <= self.sent.keys():
            return f"{self.width}x{self.height}"
        return next(iter(self.sent.values())) if len(self.sent) == 1 else dict(self.sent)

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
    if rule.style in ("aspect_ratio", "choice"):
        return _one_of_a_few(inputs, rule, width, height)
    fitted = _fit(width, height, rule)
    problem, allowed = None, None
    moved = tuple(e for e, was, now in zip(EDGES, (width, height), fitted, strict=True) if was != now)
    if moved and asked:
        problem = f"{width}x{height} is not a size of this model; the nearest is {fitted[0]}x{fitted[1]}"
        step = f" in steps of {rule.multiple_of}" if rule.multiple_of > 1 else ""
        allowed = f"{rule.min} to {rule.max} pixels{step}{_whole(rule)}"
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


def _one_of_a_few(inputs: UnifiedInputs, rule: SizeRule, width: int, height: int) -> SizePlan:
    exact = bool(inputs.width or inputs.height)
    chosen = choose(rule, width, height, inputs.aspect_ratio, inputs.resolution, exact=exact)
    asked = exact or inputs.aspect_ratio or inputs.resolution
    members = [*rule.choices, *rule.resolutions]
    return SizePlan(
        sent=dict(chosen.sent),
        width=chosen.width,
        height=chosen.height,
        problem=chosen.problem if asked else None,
        allowed=f"one of {', '.join(members)}; or set on_unsupported to warn, for the nearest"
        if chosen.problem and asked
        else None,
        moved=chosen.moved,
        overruled=_overruled(inputs, width, height),
        note=_note(inputs, rule, chosen),
    )


def _note(inputs: UnifiedInputs, rule: SizeRule, chosen: Chosen) -> str | None:
    """What becomes of edges where an endpoint takes a shape alone."""
    asked = (inputs.width or chosen.width, inputs.height or chosen.height)
    if rule.style != "aspect_ratio" or asked == (chosen.width, chosen.height):
        return None
    return f"the endpoint takes a shape and makes about {chosen.width}x{chosen.height}"


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


def _whole(rule: SizeRule) -> str:
    """What limits the whole picture, for people."""
    said = []
    if rule.min_pixels is not None or rule.max_pixels is not None:
        said.append(f"{rule.min_pixels or 1} to {rule.max_pixels or 'any number of'} in all")
    if rule.max_ratio is not None:
        said.append(f"edges at most {rule.max_ratio:g}:1")
    return "".join(f", {part}" for part in said)


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


def _fit(width: int, height: int, rule: SizeRule) -> tuple[int, int]:
    """The nearest size that the rule allows."""
    edges = [_fit_edge(width, rule), _fit_edge(height, rule)]
    if rule.max_ratio is not None and max(edges) > min(edges) * rule.max_ratio:
        longer = edges.index(max(edges))
        edges[longer] = _down(min(edges) * rule.max_ratio, rule)
    area = edges[0] * edges[1]
    if rule.min_pixels is not None and area < rule.min_pixels:
        times = math.sqrt(rule.min_pixels / area)
        edges = [math.ceil(edge * times / rule.multiple_of) * rule.multiple_of for edge in edges]
    elif rule.max_pixels is not None and area > rule.max_pixels:
        times = math.sqrt(rule.max_pixels / area)
        edges = [_down(edge * times, rule) for edge in edges]
    return edges[0], edges[1]


def _down(edge: float, rule: SizeRule) -> int:
    return int(edge // rule.multiple_of) * rule.multiple_of


def _fit_edge(edge: int, rule: SizeRule) -> int:
    low = -(-rule.min // rule.multiple_of) * rule.multiple_of
    high = rule.max // rule.multiple_of * rule.multiple_of
    return min(max(_round(edge, rule), low), high)


def _send(rule: SizeRule, width: int, height: int) -> dict[str, Any]:
    if rule.style == "image_size":
        return {"image_size": {"width": width, "height": height}}
    if rule.style == "text":
        return {rule.send or "size": f"{width}x{height}"}
    return {"width": width, "height": height}
