"""Draws the product of `product-shot`'s sample: a dropper bottle of amber glass, on nothing.

`python -m tests.support.draw_product [FILE]` writes it as a PNG with an alpha; without a file, over the sample.
"""

import io
import sys
from pathlib import Path

from PIL import Image

from templates import svg
from templates.typeset import Block, fit, font_files, svg_text

__all__ = ["SAMPLE", "bottle"]

SAMPLE = Path(__file__).parents[2] / "templates" / "library" / "product-shot" / "bottle.png"
WIDTH, HEIGHT = 560, 1060
BODY = (
    "M 30 470 C 30 408 74 384 134 370 C 178 358 204 346 206 318 L 206 296 L 354 296 L 354 318 "
    "C 356 346 382 358 426 370 C 486 384 530 408 530 470 L 530 984 C 530 1020 508 1040 474 1040 "
    "L 86 1040 C 52 1040 30 1020 30 984 Z"
)
BULB = "M 222 176 L 222 74 C 222 32 246 12 280 12 C 314 12 338 32 338 74 L 338 176 Z"
LABEL = (104, 560, 352, 380)
INK = "#2b1a12"


def bottle() -> Image.Image:
    """The product, in RGBA."""
    x, y, width, height = LABEL
    name = fit("ALBA", width=width - 60, height=110, size=92, min_size=92, family="serif")
    line = fit("BRIGHTENING SERUM", width=width - 60, height=40, size=23, min_size=23, weight=500)
    much = fit("vitamin C · 30 ml", width=width - 60, height=40, size=20, min_size=20, weight=500)
    words = "".join(_centred(block, top) for block, top in ((name, y + 74), (line, y + 212), (much, y + 314)))
    drawn = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}"><defs>{_defs()}</defs>'
        f'<path d="{BODY}" fill="url(#glass)"/><path d="{BODY}" fill="url(#depth)"/>'
        # The pipette within, and what the bottle is filled with.
        '<rect x="266" y="300" width="28" height="420" rx="12" fill="#fff" fill-opacity=".10"/>'
        '<g clip-path="url(#body)">'
        '<rect x="0" y="470" width="560" height="600" fill="#2a0e02" fill-opacity=".18"/>'
        '<rect x="52" y="420" width="34" height="590" rx="17" fill="url(#shine)"/>'
        '<rect x="96" y="430" width="8" height="570" rx="4" fill="#ffe9cf" fill-opacity=".22"/>'
        '<rect x="488" y="430" width="20" height="570" rx="10" fill="#ffb066" fill-opacity=".34"/>'
        '<path d="M 70 452 C 90 408 140 400 190 384" fill="none" stroke="#ffe3c2" stroke-opacity=".75" '
        'stroke-width="9" stroke-linecap="round"/>'
        '<rect x="0" y="1000" width="560" height="60" fill="url(#base)"/></g>'
        f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="6" fill="url(#paper)"/>'
        f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="6" fill="url(#round)"/>'
        f'<rect x="240" y="{y + 36}" width="80" height="4" rx="2" fill="#c08a3e"/>'
        f'<rect x="{x + 46}" y="{y + 280}" width="{width - 92}" height="1.5" fill="{INK}" fill-opacity=".35"/>'
        # The collar, with its grooves, and the bulb.
        '<rect x="186" y="170" width="188" height="138" rx="12" fill="url(#gold)"/>'
        + "".join(
            f'<rect x="{196 + 9.2 * n:.1f}" y="196" width="2.4" height="88" fill="#5b3a0c" fill-opacity=".22"/>'
            for n in range(19)
        )
        + '<rect x="186" y="182" width="188" height="5" fill="#fff3d0" fill-opacity=".55"/>'
        '<rect x="186" y="292" width="188" height="6" fill="#4a2f08" fill-opacity=".45"/>'
        f'<path d="{BULB}" fill="url(#rubber)"/>'
        '<rect x="240" y="46" width="12" height="112" rx="6" fill="#fff" fill-opacity=".26"/>'
        f"{words}</svg>"
    )
    files = font_files([name, line, much])
    return svg.render(drawn, WIDTH, HEIGHT, font_files=files, words=True)


def _centred(block: Block, top: float) -> str:
    x, _, width, _ = LABEL
    return svg_text(block, x=x, y=top, width=width, align="center", fill=INK)


def _defs() -> str:
    body = "#4d1d05 0,#a1500f .10,#c9731d .22,#8d400c .45,#74310a .62,#b9661a .86,#7a370c .95,#3d1604 1"
    return "".join(
        (
            _gradient("glass", body),
            _gradient("depth", "#000:0 0,#000:0 .55,#1d0800:.42 1", down=True),
            _gradient("shine", "#fff6e8:.05 0,#fff6e8:.85 .18,#fff6e8:.55 .8,#fff6e8:.05 1", down=True),
            _gradient("base", "#1a0700:0 0,#1a0700:.5 .8,#e59a4c:.4 1", down=True),
            _gradient("paper", "#fbf6ec 0,#f3ecdf 1", down=True),
            _gradient("round", "#3a2410:.30 0,#fff:.0 .16,#fff:.20 .30,#fff:0 .6,#3a2410:.34 1"),
            _gradient(
                "gold", "#6b4710 0,#d9ab55 .12,#fbe7b0 .26,#c8963f .46,#9a6c22 .66,#e2b865 .86,#6b4710 1"
            ),
            _gradient("rubber", "#0f0d0d 0,#3b3735 .2,#55504d .32,#262322 .6,#161414 .85,#0b0a0a 1"),
            f'<clipPath id="body"><path d="{BODY}"/></clipPath>',
        )
    )


def _gradient(name: str, stops: str, down: bool = False) -> str:
    """From left to right, or down; each stop is its colour, its opacity where it has one, and its place."""
    made = []
    for stop in stops.split(","):
        color, place = stop.split()
        paint, _, opacity = color.partition(":")
        made.append(f'<stop offset="{place}" stop-color="{paint}" stop-opacity="{opacity or 1}"/>')
    ends = 'x1="0" y1="0" x2="0" y2="1"' if down else 'x1="0" y1="0" x2="1" y2="0"'
    return f'<linearGradient id="{name}" {ends}>{"".join(made)}</linearGradient>'


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else SAMPLE
    file = io.BytesIO()
    bottle().save(file, "PNG", optimize=True)
    target.write_bytes(file.getvalue())
