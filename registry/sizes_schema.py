"""The shapes of size rules, as they are written and as they are read."""

from typing import Literal

from msgspec import Struct

from registry.sizes import RESOLUTIONS, parse_ratio, parse_size

__all__ = ["SizeRow", "SizeRule", "SizeStyle", "ordered"]

SizeStyle = Literal["image_size", "width_height", "text", "aspect_ratio", "choice", "none"]
"""How an endpoint is told a size. `image_size`: one object {width, height}; `width_height`: two fields;
`text`: one field, `1024x768`;
`aspect_ratio`: one of some ratios, and perhaps a resolution; `choice`: one of some sizes, as text;
`none`: the endpoint chooses (the output follows the input image, say)."""


def ordered(low: float | None, high: float | None) -> None:
    """Raise ValueError when a least is above a most."""
    if low is not None and high is not None and low > high:
        raise ValueError(f"min {low} is above max {high}")


class SizeRule(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How an endpoint is told the size of the picture, and which sizes it takes (pixels).

    Raises:
        ValueError: no size is possible within min, max and multiple_of.
    """

    style: SizeStyle
    default: str | None = None
    """`"1024x1024"`; required unless the style is `none`. Where the endpoint takes a ratio: about
    the pixels that it makes of its own accord."""
    min: int = 64
    max: int = 4096
    multiple_of: int = 1
    min_pixels: int | None = None
    """Of the whole picture, where that is limited besides its edges."""
    max_pixels: int | None = None
    max_ratio: float | None = None
    """The longer edge is at most so many times the shorter."""
    choices: tuple[str, ...] = ()
    """Of `aspect_ratio` the ratios (`"16:9"`), of `choice` the sizes (`"1536x1024"`) that there are."""
    resolutions: tuple[str, ...] = ()
    """Of `aspect_ratio`: the endpoint's `resolution` takes these too; the first is its own."""
    send: str | None = None
    """Of `choice` and `text`: the endpoint's name for it; `image_size` and `size` when not given."""

    def __post_init__(self) -> None:
        if self.min < 1 or self.multiple_of < 1:
            raise ValueError("min and multiple_of are 1 or more")
        if -(-self.min // self.multiple_of) * self.multiple_of > self.max:
            raise ValueError(f"no edge fits {self.min}..{self.max} in steps of {self.multiple_of}")
        ordered(self.min_pixels, self.max_pixels)
        if bool(self.choices) != (self.style in ("aspect_ratio", "choice")):
            raise ValueError("choices are of the styles aspect_ratio and choice, which need them")
        parse = parse_ratio if self.style == "aspect_ratio" else parse_size
        for choice in self.choices:
            if parse(choice) is None:
                raise ValueError(f"{choice!r} is no {'ratio' if self.style == 'aspect_ratio' else 'size'}")
        if self.resolutions and self.style != "aspect_ratio":
            raise ValueError("resolutions are of the style aspect_ratio alone")
        if self.send is not None and self.style not in ("choice", "text"):
            raise ValueError("send is of the styles choice and text alone")
        strange = [one for one in self.resolutions if one not in RESOLUTIONS]
        if strange:
            raise ValueError(f"{strange[0]!r} is none of {', '.join(RESOLUTIONS)}")


class SizeRow(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a dialect or route says of sizes, as written: laid over what it extends."""

    style: SizeStyle | None = None
    default: str | None = None
    min: int | None = None
    max: int | None = None
    multiple_of: int | None = None
    min_pixels: int | None = None
    max_pixels: int | None = None
    max_ratio: float | None = None
    choices: tuple[str, ...] | None = None
    resolutions: tuple[str, ...] | None = None
    send: str | None = None
