"""A scene that costs nothing: soft hills under a light, drawn by rule, for previews."""

import hashlib
import math
from colorsys import hls_to_rgb, rgb_to_hls
from typing import TYPE_CHECKING

from templates import svg
from templates.colors import read_color, write_color

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["placeholder_scene"]

DEFAULT = "#3d6fb6"


def placeholder_scene(width: int, height: int, words: str = "", color: str | None = None) -> "Image":
    """A picture in RGB, the same for the same words and colour.

    Args:
        width: pixels.
        height: pixels.
        words: whatever makes one differ from another: the headline, the style.
        color: the brand's, as `#rrggbb`; its hue is the picture's.
    """
    draws = hashlib.sha256(words.encode("utf-8", "replace")).digest()
    share = [byte / 255 for byte in draws]
    hue, _, strength = rgb_to_hls(*(part / 255 for part in read_color(color or DEFAULT)))
    warm = (hue + 0.08 + 0.1 * share[0]) % 1
    full = min(max(strength, 0.25), 0.7) if strength > 0.05 else 0.0
    sky = f"{_stop(0, hue, 0.30, full)}{_stop(0.6, hue, 0.55, full)}{_stop(1, warm, 0.80, full)}"
    sun_x, sun_y = width * (0.62 + 0.25 * share[1]), height * (0.22 + 0.2 * share[2])
    glow = f'<stop offset="0" stop-color="#fff" stop-opacity=".85"/>{_clear(1)}'
    hills = "".join(
        _hill(width, height, place, share[3 + 4 * place :], _color(hue, 0.5 - 0.11 * place, full * 0.9))
        for place in range(4)
    )
    drawn = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}"><defs>'
        f'<linearGradient id="sky" x1="0" y1="0" x2=".35" y2="1">{sky}</linearGradient>'
        f'<radialGradient id="sun">{glow}</radialGradient></defs>'
        f'<rect width="{width}" height="{height}" fill="url(#sky)"/>'
        f'<circle cx="{sun_x:.1f}" cy="{sun_y:.1f}" r="{0.5 * max(height, width / 3):.1f}" fill="url(#sun)"/>'
        f"{hills}</svg>"
    )
    return svg.render(drawn, width, height).convert("RGB")


def _hill(width: int, height: int, place: int, share: list[float], color: str) -> str:
    """A wave from edge to edge; later ones are nearer and lower."""
    base = height * (0.56 + 0.12 * place)
    rise = height * (0.05 + 0.05 * share[0])
    waves, shift = 0.8 + 0.9 * share[1], 2 * math.pi * share[2]
    count = 48
    points = []
    for step in range(count + 1):
        turn = waves * 2 * math.pi * step / count * max(1.0, width / height / 2) + shift
        points.append(
            f"{width * step / count:.1f},{base - rise * (math.sin(turn) + 0.35 * math.sin(2.3 * turn)):.1f}"
        )
    path = " ".join(points)
    return f'<polygon points="0,{height} {path} {width},{height}" fill="{color}" fill-opacity=".82"/>'


def _color(hue: float, lightness: float, strength: float) -> str:
    red, green, blue = (round(part * 255) for part in hls_to_rgb(hue % 1, lightness, strength))
    return write_color((red, green, blue))


def _stop(offset: float, hue: float, lightness: float, strength: float) -> str:
    return f'<stop offset="{offset}" stop-color="{_color(hue, lightness, strength)}"/>'


def _clear(offset: float) -> str:
    return f'<stop offset="{offset}" stop-color="#fff" stop-opacity="0"/>'
