"""Sizes and ratios as people write them."""

import re

__all__ = ["parse_ratio", "parse_size"]

SIZE = re.compile(r"^(\d{1,5})\s*[xX*\u00d7]\s*(\d{1,5})$")
RATIO = re.compile(r"^(\d{1,4}):(\d{1,4})$")


def parse_size(text: str) -> tuple[int, int] | None:
    """`"1024x768"` as (width, height) in pixels; None when it is no size."""
    found = SIZE.match(text.strip())
    return (int(found[1]), int(found[2])) if found and int(found[1]) and int(found[2]) else None


def parse_ratio(text: str) -> tuple[int, int] | None:
    """`"16:9"` as (16, 9); None when it is no ratio."""
    found = RATIO.match(text.strip())
    return (int(found[1]), int(found[2])) if found and int(found[1]) and int(found[2]) else None
