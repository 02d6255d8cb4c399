"""`allow_downgrade`: the nearest settings that can be paid, where those asked for cannot. Pure.

Settings go down one after the other, and only where that lowers the price: quality, resolution, size, then
the number of pictures.
"""

import math
from collections.abc import Callable, Iterator, Mapping

from msgspec import Struct
from msgspec.structs import replace

from billing.money import usd
from billing.pricing import Quote
from gateway.controls import Affordable, Controls
from gateway.model_plan import Candidate, Plan
from providers.normalizer import ReportRow
from registry.errors import Fault, InvalidInputs
from registry.prices import MEGAPIXEL, megapixels
from registry.schema import SizeRule, Term
from registry.sizes import RESOLUTIONS, SIZE_WORDS, parse_size

__all__ = ["Lowered", "Parts", "check_least", "lower", "told"]

Parts = dict[str, dict[str, object]]
Settings = Mapping[str, object]

QUALITIES = ("high", "medium", "low")
SHORTEST = 512
"""Pixels that the shorter edge keeps, if it has them."""
NEAR = 0.02
"""A shape that differs by a fiftieth is the same to a person."""
QUALITY, PICTURES = ("quality",), ("num_images",)


class Lowered(Struct, frozen=True, kw_only=True):
    """Settings that cost less, and the plan of one model with them."""

    parts: Parts
    """`inputs` and `options` with them."""
    plan: Plan
    words: tuple[str, ...] = ()
    """The words of the vocabulary whose values are others."""


def lower(
    full: Plan, parts: Parts, vocabulary: Mapping[str, Term], most: int, ask: Callable[[Parts], Plan]
) -> Lowered:
    """Lower settings until a job costs no more than it may; the least that was found if it always does.

    Args:
        full: the plan of what was asked for.
        parts: `inputs` and `options` of the request, without what steers the gateway.
        vocabulary: the registry's.
        most: what it may cost, in micro-dollars.
        ask: makes the plan of other settings for the same model; it may raise InvalidInputs.
    """
    found = Lowered(parts=parts, plan=full)
    for words, steps in ((QUALITY, _qualities), (SIZE_WORDS, _sizes), (PICTURES, _fewer)):
        for settings in steps(found.plan):
            if found.plan.quote.ceiling_micros <= most:
                return found
            tried = _with(found.parts, words, settings, vocabulary)
            try:
                plan = ask(tried)
            except InvalidInputs:
                continue  # this model does not have that
            if plan.quote.ceiling_micros < found.plan.quote.ceiling_micros:
                changed = tuple(dict.fromkeys((*found.words, *words)))
                found = Lowered(parts=tried, plan=plan, words=changed)
    return found


def check_least(controls: Controls, quote: Quote) -> None:
    """Hold the least that a job may cost against `max_cost`.

    Raises:
        InvalidInputs: it costs more.
    """
    if controls.max_micros is None or quote.ceiling_micros <= controls.max_micros:
        return
    least, wanted = usd(quote.ceiling_micros), usd(controls.max_micros)
    fault = Fault(
        pointer=controls.max_cost_at,
        code="too_expensive",
        message=f"the least that it may cost is {least} USD, more than max_cost",
        allowed=f"{least} or more, not {wanted}",
    )
    raise InvalidInputs([fault])


def told(found: Plan, asked: Plan, lowered: Lowered, most: Affordable) -> Plan:
    """A plan of less than was asked for, with an account of that.

    Args:
        found: of the lowered settings, with its fallbacks.
        asked: of what was asked for.
        lowered: what was lowered.
        most: what it had to keep to.
    """
    before, after = asked.quote.ceiling_micros, found.quote.ceiling_micros
    limit = f"{most.of} allows {usd(most.micros)} USD"
    why = f"allow_downgrade: as asked for it may cost {usd(before)} USD, and {limit}"
    what = ", ".join(_changes(asked, found, lowered.words))
    if after >= before:
        warning = f"allow_downgrade: nothing less costs less than {usd(after)} USD, and {limit}"
    else:
        warning = (
            f"allow_downgrade: {what}: it may cost {usd(after)} USD in place of {usd(before)} USD; {limit}"
        )
    return replace(
        found,
        candidates=tuple(
            replace(
                one,
                report=_report(one.report, one, asked.report, lowered.words, why),
                warnings=(warning, *one.warnings),
            )
            for one in found.candidates
        ),
        report=_report(found.report, found.candidates[0], asked.report, lowered.words, why),
        warnings=(warning, *found.warnings),
        asked_micros=before if after < before else None,
    )


# -- the steps -----------------------------------------------------------------------------------------


def _qualities(plan: Plan) -> Iterator[Settings]:
    row = next((row for row in plan.report if row.name == "quality" and row.how != "dropped"), None)
    if row is None or row.sent not in ("auto", *QUALITIES):
        return
    below = 1 if row.sent == "auto" else QUALITIES.index(row.sent) + 1
    yield from ({"quality": quality} for quality in QUALITIES[below:])


def _sizes(plan: Plan) -> Iterator[Settings]:
    """Lower resolutions, then fewer megapixels."""
    first = plan.candidates[0]
    rule = first.route.size
    if rule.style == "aspect_ratio":
        yield from _lower_grades(first, rule)
    elif first.width is not None and first.height is not None:
        sizes = (
            _smaller_choices(first.width, first.height, rule)
            if rule.style == "choice"
            else _resolution_then_smaller(plan, first.width, first.height, rule)
        )
        yield from ({"width": width, "height": height} for width, height in sizes)


def _lower_grades(first: Candidate, rule: SizeRule) -> Iterator[Settings]:
    """The lower resolutions of an endpoint that takes one, with the same shape."""
    sent = first.calls[0].payload
    now = RESOLUTIONS.get(str(sent.get("resolution")))
    if now is None:
        return
    for grade in sorted(rule.resolutions, key=lambda name: -RESOLUTIONS[name]):
        if RESOLUTIONS[grade] < now:
            yield {"aspect_ratio": sent["aspect_ratio"], "resolution": grade}


def _resolution_then_smaller(
    plan: Plan, width: int, height: int, rule: SizeRule
) -> Iterator[tuple[int, int]]:
    """The areas of lower resolutions where one was asked for; else each whole megapixel less."""
    asked = {row.name for row in plan.report if row.how not in ("dropped", "defaulted")}
    if "resolution" in asked and not asked & {"width", "height", "size"}:
        for edge in sorted(RESOLUTIONS.values(), reverse=True):
            if RESOLUTIONS["1K"] <= edge and edge**2 < width * height:
                yield from _scaled(width, height, edge**2, rule)
    for count in range(megapixels(width, height) - 1, 0, -1):
        yield from _scaled(width, height, count * MEGAPIXEL, rule)


def _scaled(width: int, height: int, area: int, rule: SizeRule) -> Iterator[tuple[int, int]]:
    """The size of the same shape with at most that many pixels, if there is one."""
    times = math.sqrt(area / (width * height))
    step = rule.multiple_of
    smaller = (int(width * times // step) * step, int(height * times // step) * step)
    least = max(SHORTEST, rule.min)
    if min(smaller) >= least and smaller[0] * smaller[1] >= (rule.min_pixels or 0):
        yield smaller


def _smaller_choices(width: int, height: int, rule: SizeRule) -> Iterator[tuple[int, int]]:
    """The sizes of the same shape with fewer pixels, of an endpoint that has a few."""
    sizes = (size for size in map(parse_size, rule.choices) if size is not None)
    for size in sorted(sizes, key=lambda one: -one[0] * one[1]):
        same = abs(math.log(size[0] * height / (size[1] * width))) <= NEAR
        if same and size[0] * size[1] < width * height:
            yield size


def _fewer(plan: Plan) -> Iterator[Settings]:
    yield from ({"num_images": count} for count in range(plan.candidates[0].num_images - 1, 0, -1))


def _with(parts: Parts, words: tuple[str, ...], settings: Settings, vocabulary: Mapping[str, Term]) -> Parts:
    """A request's parts with these values of some words, in place of those that it had under any spelling."""
    spellings = {name for word in words if word in vocabulary for name in (word, *vocabulary[word].aliases)}
    kept = {
        part: {name: value for name, value in given.items() if name not in spellings}
        for part, given in parts.items()
    }
    return {**kept, "inputs": {**kept.get("inputs", {}), **settings}}


# -- the account of them -------------------------------------------------------------------------------


def _changes(asked: Plan, found: Plan, words: tuple[str, ...]) -> Iterator[str]:
    """What is another than was asked for, for people."""
    before, after = asked.candidates[0], found.candidates[0]
    if "quality" in words:
        yield f"quality {_sent(found, 'quality')} in place of {_sent(asked, 'quality')}"
    if "width" in words:
        yield f"{after.width}x{after.height} in place of {before.width}x{before.height}"
    if "num_images" in words:
        count = f"{after.num_images} picture{'s' if after.num_images > 1 else ''}"
        yield f"{count} in place of {before.num_images}"
    gone = [name for name in asked.fallbacks if name not in found.fallbacks]
    if gone:
        yield f"without {', '.join(gone)} as a fallback"


def _sent(plan: Plan, word: str) -> object:
    return next(row.sent for row in plan.report if row.name == word)


def _report(
    report: tuple[ReportRow, ...],
    candidate: Candidate,
    asked: tuple[ReportRow, ...],
    words: tuple[str, ...],
    why: str,
) -> tuple[ReportRow, ...]:
    """A report in which the words whose values are others stand as they were asked for."""
    made = [_clamped(row, report, candidate, why) for row in asked if row.name in words]
    return (*made, *(row for row in report if row.name not in words))


def _clamped(asked: ReportRow, report: tuple[ReportRow, ...], candidate: Candidate, why: str) -> ReportRow:
    now = next((row for row in report if row.name == asked.name), None)
    if asked.how == "dropped" or (now is not None and now.sent == asked.sent):
        return asked
    if now is not None:
        return replace(asked, how="clamped", sent_as=now.sent_as, sent=now.sent, why=why)
    # A word for the size that has become other words for it.
    sent_as = ", ".join(
        dict.fromkeys(row.sent_as for row in report if row.name in SIZE_WORDS and row.sent_as)
    )
    size = f"{candidate.width}x{candidate.height}"
    return replace(asked, how="clamped", sent_as=sent_as or None, sent=size, why=why)
