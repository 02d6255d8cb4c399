"""Sizes and ratios as people write them."""

import re

__all__ = ["RESOLUTIONS", "SIZE_WORDS", "parse_ratio", "parse_size"]

SIZE_WORDS = ("width", "height", "size", "aspect_ratio", "resolution")
"""The words of the vocabulary that together ask for one size."""

RESOLUTIONS = {"0.5K": 512, "1K": 1024, "2K": 2048, "4K": 4096}
"""Classes of areas: 1K is that of 1024 x 1024 pixels."""

# [0-9] and not \d: other scripts' digits are no size.
SIZE = re.compile(r"([0-9]{1,5})\s*[xX*\u00d7]\s*([0-9]{1,5})")
RATIO = re.compile(r"([0-9]{1,4}):([0-9]{1,4})")


def parse_size(text: str) -> tuple[int, int] | None:
    """`"1024x768"` as (width, height) in pixels; None when it is no size."""
    found = SIZE.fullmatch(text.strip())
    return (int(found[1]), int(found[2])) if found and int(found[1]) and int(found[2]) else None


def parse_ratio(text: str) -> tuple[int, int] | None:
    """`"16:9"` as (16, 9); None when it is no ratio."""
    found = RATIO.fullmatch(text.strip())
    return (int(found[1]), int(found[2])) if found and int(found[1]) and int(found[2]) else None
