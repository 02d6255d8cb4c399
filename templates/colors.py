"""Colours of sRGB: read, written, mixed, and how far apart they are by WCAG 2."""

import re

__all__ = [
    "BLACK",
    "INK",
    "REQUIRED",
    "WHITE",
    "Color",
    "contrast",
    "dark",
    "luminance",
    "mix",
    "ratio",
    "read_color",
    "readable",
    "write_color",
]

Color = tuple[int, int, int]

WHITE: Color = (255, 255, 255)
INK: Color = (17, 17, 17)
BLACK: Color = (0, 0, 0)
REQUIRED = 4.5
"""The contrast that WCAG asks of text at its level AA."""


def read_color(text: str) -> Color:
    """`#rrggbb` or `#rgb`.

    Raises:
        ValueError: it is neither.
    """
    if not re.fullmatch(r"#(?:[0-9a-fA-F]{3}|[0-9a-fA-F]{6})", text):
        raise ValueError(f"{text[:40]!r} is no colour: write it like #0b5fff")
    digits = text[1:] if len(text) == 7 else "".join(digit * 2 for digit in text[1:])
    return int(digits[:2], 16), int(digits[2:4], 16), int(digits[4:], 16)


def write_color(color: Color) -> str:
    """As `#rrggbb`."""
    return "#{:02x}{:02x}{:02x}".format(*color)


def linear(part: int) -> float:
    """The light of an 8-bit value, 0 to 1."""
    value = part / 255
    return value / 12.92 if value <= 0.04045 else float(((value + 0.055) / 1.055) ** 2.4)


def luminance(color: Color) -> float:
    """Relative luminance: 0 is black, 1 is white."""
    red, green, blue = (linear(part) for part in color)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def ratio(one: float, other: float) -> float:
    """The contrast of two luminances, 1 to 21."""
    return (max(one, other) + 0.05) / (min(one, other) + 0.05)


def contrast(one: str, other: str) -> float:
    """How far apart two colours are, 1 to 21.

    Raises:
        ValueError: one is no colour.
    """
    return ratio(luminance(read_color(one)), luminance(read_color(other)))


def mix(one: str, other: str, share: float = 0.5) -> str:
    """A colour between two: 0 is the first, 1 the other.

    Raises:
        ValueError: one is no colour.
    """
    part = min(max(float(share), 0.0), 1.0)
    pairs = zip(read_color(one), read_color(other), strict=True)
    red, green, blue = (round(a + (b - a) * part) for a, b in pairs)
    return write_color((red, green, blue))


def dark(color: str) -> str:
    """The colour so dark that white is read on it well, at 10 and more.

    Raises:
        ValueError: it is no colour.
    """
    own = read_color(color)
    for step in range(101):
        red, green, blue = (round(part * (100 - step) / 100) for part in own)
        if ratio(luminance((red, green, blue)), 1.0) >= 10:
            return write_color((red, green, blue))
    return write_color(BLACK)


def readable(color: str) -> str:
    """White, or the ink or black, whichever is read on a colour: at 4.5 and more on any.

    Raises:
        ValueError: it is no colour.
    """
    own = luminance(read_color(color))
    best = max((WHITE, INK), key=lambda one: ratio(luminance(one), own))
    return write_color(best if ratio(luminance(best), own) >= REQUIRED else BLACK)
