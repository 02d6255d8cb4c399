"""The colours of all words of a picture: each is read, and those near one another go together."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from msgspec import Struct

from templates.colors import BLACK, INK, WHITE, Color
from templates.contrast import ENOUGH, Plan, pixels_of, plan
from templates.scrim import Choice, zone_of
from templates.spots import Words

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["choose"]

Tone = Literal["light", "dark"]

TONES: tuple[Tone, Tone] = ("light", "dark")
NEAR = 2.5
"""Of the letters' size: words so near to others should be of one tone with them."""
UNLIKE = 0.25
"""What it costs to be of another tone than words nearby, as a change of the picture."""
MILKY = 1.4
"""How much worse a light scrim looks than a dark one that changes as much."""


class _Try(Struct, frozen=True, kw_only=True):
    """Words in both tones."""

    words: Words
    light: Plan
    dark: Plan

    def of(self, tone: Tone) -> Plan:
        return self.light if tone == "light" else self.dark

    @property
    def settled(self) -> Tone | None:
        """The only tone that is read without a scrim; None: both are, or neither is."""
        light, dark = self.light.contrast >= ENOUGH, self.dark.contrast >= ENOUGH
        return None if light == dark else "light" if light else "dark"

    def cost(self, tone: Tone) -> float:
        """How much this tone changes the picture."""
        area = self.words.spot.width * self.words.spot.height
        if self.settled is not None:
            return area * UNLIKE * (self.settled != tone)
        plan = self.of(tone)
        if plan.contrast >= ENOUGH:
            return area * 0.05 / plan.contrast  # the higher contrast is a little better
        return area * plan.change * (MILKY if tone == "dark" else 1.0)


def choose(words: Sequence[Words], shown: "Image") -> list[Choice]:
    """The colour of each of the words.

    Args:
        words: what is to be read.
        shown: the scene with the overlay's shapes.
    """
    colors: dict[int, Color] = {}
    tries: dict[int, _Try] = {}
    for place, one in enumerate(words):
        pixels = pixels_of(shown, zone_of(one))
        if one.colors:
            colors[place] = plan(pixels, one.colors, ordered=True).color
        else:
            tries[place] = _Try(
                words=one, light=plan(pixels, (WHITE,)), dark=plan(pixels, (INK, BLACK), ordered=True)
            )
    for group in _groups(tries):
        members = [tries[place] for place in group]
        light, dark = (sum(one.cost(tone) for one in members) for tone in TONES)
        tone: Tone = "light" if light <= dark else "dark"
        for place in group:
            colors[place] = tries[place].of(tries[place].settled or tone).color
    return [Choice(words=one, color=colors[place]) for place, one in enumerate(words)]


def _groups(tries: dict[int, _Try]) -> list[list[int]]:
    """Words that a reader sees together; those on a plate of their own stand alone."""
    groups: list[list[int]] = []
    for place, one in tries.items():
        close = [group for group in groups if any(_near(one.words, tries[other].words) for other in group)]
        groups = [group for group in groups if group not in close]
        groups.append([member for group in close for member in group] + [place])
    return groups


def _near(one: Words, other: Words) -> bool:
    if one.plate is not None or other.plate is not None:
        return False
    a, b = one.spot, other.spot
    reach = NEAR * max(a.size, b.size)
    across = max(a.x, b.x) - min(a.right, b.right)
    down = max(a.y, b.y) - min(a.bottom, b.bottom)
    return across < reach and down < reach
