"""Draws what was set by the renderer that the product uses, and reads it back."""

import io
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path

import resvg_py
from PIL import Image

from templates.typeset import Block, font_files, svg_text

SVG = "{http://www.w3.org/2000/svg}"


def document(inside: str, width: float, height: float) -> str:
    return f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}">{inside}</svg>'


def png(inside: str, width: float, height: float, files: Sequence[str | Path]) -> bytes:
    svg = document(inside, width, height)
    drawn = resvg_py.svg_to_bytes(svg_string=svg, skip_system_fonts=True, font_files=[str(f) for f in files])
    return bytes(drawn)


def ink(inside: str, width: int, height: int, files: Sequence[str | Path]) -> Image.Image:
    """How opaque each pixel is."""
    return Image.open(io.BytesIO(png(inside, width, height, files))).convert("RGBA").getchannel("A")


def draw(block: Block, margin: int = 50, align: str = "left", width: float | None = None) -> Image.Image:
    """A block alone, `margin` pixels around it."""
    room = block.width if width is None else width
    text = svg_text(block, x=margin, y=margin, width=room, align=align, fill="#000")
    return ink(text, int(room) + 2 * margin + 1, int(block.height) + 2 * margin + 1, font_files([block]))


def content(svg: str) -> list[str]:
    """The text of each `<text>`, by an XML parser; the marks of direction that were added are left out."""
    root = ET.fromstring(document(svg, 1, 1))
    assert {node.tag for node in root.iter()} <= {f"{SVG}svg", f"{SVG}text", f"{SVG}tspan"}
    return ["".join(node.itertext()).replace("\u200f", "") for node in root.findall(f"{SVG}text")]
