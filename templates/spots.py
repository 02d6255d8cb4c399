"""What an overlay places: where, and all that painting it needs."""

from typing import Any, Literal

from msgspec import Struct

from templates.colors import Color
from templates.typeset import Block

__all__ = ["Drawing", "Pasted", "Safe", "Spot", "Staged", "Words", "share_of"]


class Spot(Struct, frozen=True, kw_only=True):
    """Where something was placed, in pixels. Prints nothing."""

    x: float
    y: float
    width: float
    height: float
    drawn: bool = True
    """False: there was nothing to place; its height is nought."""
    size: float = 0.0
    """Of the letters."""
    lines: int = 0

    @property
    def right(self) -> float:
        """Its right edge."""
        return self.x + self.width

    @property
    def bottom(self) -> float:
        """Its lower edge."""
        return self.y + self.height

    @property
    def middle(self) -> float:
        """Halfway down."""
        return self.y + self.height / 2

    @property
    def center(self) -> float:
        """Halfway across."""
        return self.x + self.width / 2

    def __html__(self) -> str:
        return ""

    def __str__(self) -> str:
        return ""


class Words(Struct, frozen=True, kw_only=True):
    """Words that were placed."""

    name: str
    text: str
    block: Block
    spot: Spot
    """Of the lines themselves, within the box."""
    x: float
    """Of the box that they are aligned in."""
    y: float
    """Of their block's upper edge."""
    width: float
    align: Literal["left", "center", "right"]
    colors: tuple[Color, ...]
    """To choose from; the first that can be read where `ordered`."""
    ordered: bool
    plate: Color | None
    """Of a round plate behind them."""
    scrim: Color | None
    """What a dark scrim is coloured."""
    strike: bool = False
    """Struck through: a price of before."""


class Pasted(Struct, frozen=True, kw_only=True):
    """A picture that was placed."""

    name: str
    spot: Spot
    picture: Any
    cover: bool
    """Fill the spot and cut off what sticks out, rather than fit into it."""
    radius: float
    plate: bool
    """Whether it may get a plate where it would be lost in what lies beneath."""
    plate_color: Color | None = None
    """What this is coloured where the picture is seen on it."""


class Drawing(Struct, frozen=True, kw_only=True):
    """What an overlay makes of its variables, for one output."""

    width: int
    height: int
    shapes: str
    """SVG."""
    blank: bool
    """Whether there are none."""
    ground: Spot | None
    """What the scene fills; None: everything."""
    words: tuple[Words, ...]
    pictures: tuple[Pasted, ...]
    language: str


class Staged(Struct, frozen=True, kw_only=True):
    """A scene with something on it that is not the overlay's."""

    picture: Any
    kept: Any = None
    """How much of each pixel is what was put on it, in L: scrims keep off that. None: nothing is kept."""


class Safe(Struct, frozen=True, kw_only=True):
    """The area that words keep to, in pixels."""

    x: float
    y: float
    width: float
    height: float

    @property
    def right(self) -> float:
        """Its right edge."""
        return self.x + self.width

    @property
    def bottom(self) -> float:
        """Its lower edge."""
        return self.y + self.height


def share_of(place: str) -> float:
    """How much of the room lies before what is placed."""
    return {"left": 0.0, "top": 0.0, "center": 0.5, "middle": 0.5}.get(place, 1.0)
