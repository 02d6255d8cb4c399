"""SVG of a template: read by a strict reader, then drawn by resvg.

What may be drawn stands alone: no file, no address, no style sheet, no program, no words (those come
from `text()`, which knows their fonts). resvg itself would open a file that is named by its whole path.
"""

import io
import re
from collections.abc import Mapping, Sequence
from functools import cache
from tempfile import mkdtemp
from typing import TYPE_CHECKING
from xml.parsers import expat

from templates.errors import TemplateError

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["check", "render", "text_of"]

MOST_BYTES = 8 << 20
MOST_DEPTH = 64
DATA = re.compile(r"\s*data:image/(?:png|jpeg|webp);base64,[A-Za-z0-9+/=\s]*\Z")
WITHIN = re.compile(r"#[\w.-]+\Z")
LINKS = ("href", "src")
PAINTS = ("style", "fill", "stroke", "filter", "mask", "clip-path", "cursor", "color-profile")
"""Attributes that can name something elsewhere by `url()`; in others it is but text."""
# `style` sheets would paint text that was given its colour for what lies beneath.
REFUSED = ("script", "foreignobject", "style", "iframe", "audio", "video", "a", "feimage", "set")
REFUSED_STARTS = ("animate",)
SILENT = ("svg", "g", "defs", "desc", "title", "metadata")
WORDS = ("text", "tspan", "textpath", "tref")
URL = re.compile(r"url\s*\(\s*(['\"]?)(.*?)\1\s*\)", re.IGNORECASE | re.DOTALL)
OPENED = re.compile(r"url\s*\(", re.IGNORECASE)


def check(svg: str, width: int, height: int, words: bool = False) -> bool:
    """See that an SVG has the size it should, and asks for nothing outside of itself.

    Args:
        svg: the document.
        width: of its root, in pixels.
        height: of its root.
        words: whether it may have text.

    Returns:
        Whether there is anything in it to draw.

    Raises:
        TemplateError: it is no XML, or holds what it must not; with the line.
    """
    return _Reader(width, height, words).read(svg)


def text_of(svg: str) -> list[str]:
    """What each `<text>` of an SVG says."""
    found: list[str] = []
    inside = 0

    def start(name: str, _: Mapping[str, str]) -> None:
        nonlocal inside
        if name == "text":
            found.append("")
            inside += 1

    def end(name: str) -> None:
        nonlocal inside
        inside -= name == "text"

    def say(data: str) -> None:
        if inside:
            found[-1] += data

    parser = expat.ParserCreate()
    parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = start, end, say
    parser.Parse(svg, True)
    return found


def render(svg: str, width: int, height: int, font_files: Sequence[str] = (), words: bool = False) -> "Image":
    """An SVG as a picture in RGBA, of exactly this size.

    Args:
        svg: the document; it is checked first.
        width: pixels; also what its root says.
        height: pixels.
        font_files: the only fonts there are.
        words: whether it may have text.

    Raises:
        TemplateError: it holds what it must not, or cannot be drawn.
    """
    from PIL import Image
    from resvg_py import svg_to_bytes

    check(svg, width, height, words)
    try:
        # mypy sees no types here: the library is a compiled one.
        drawn = svg_to_bytes(
            svg_string=svg,
            skip_system_fonts=True,
            font_files=list(font_files) or None,
            resources_dir=_nothing(),
        )
    except ValueError as error:
        raise TemplateError(f"the overlay cannot be drawn: {error}") from error
    picture = Image.open(io.BytesIO(drawn)).convert("RGBA")
    if picture.size != (width, height):
        raise TemplateError(f"the overlay is {picture.width}x{picture.height}, not {width}x{height}")
    return picture


@cache
def _nothing() -> str:
    """An empty folder: what a name without a path is looked for in."""
    return mkdtemp(prefix="no-resources-")


class _Reader:
    """One reading of a document."""

    def __init__(self, width: int, height: int, words: bool) -> None:
        self._size = (width, height)
        self._words = words
        self._depth = 0
        self._draws = False
        self._parser = expat.ParserCreate()
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.StartDoctypeDeclHandler = self._doctype
        self._parser.EntityDeclHandler = self._doctype
        self._parser.ProcessingInstructionHandler = self._instruction

    def read(self, svg: str) -> bool:
        if len(svg) > MOST_BYTES:
            raise TemplateError(f"the overlay's SVG is larger than {MOST_BYTES >> 20} MiB")
        try:
            self._parser.Parse(svg.encode("utf-8"), True)
        except expat.ExpatError as error:
            raise TemplateError(f"the overlay is no XML: {error}") from error
        except UnicodeEncodeError as error:
            raise TemplateError("the overlay holds half a character") from error
        return self._draws

    def _refuse(self, why: str) -> TemplateError:
        return TemplateError(f"line {self._parser.CurrentLineNumber} of the overlay's SVG {why}")

    def _doctype(self, *_: object) -> None:
        raise self._refuse("declares a document type or an entity")

    def _instruction(self, target: str, _: str) -> None:
        raise self._refuse(f"has the instruction <?{target}?>")

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        name = _local(tag)
        self._depth += 1
        if self._depth > MOST_DEPTH:
            raise self._refuse("is nested too deeply")
        if name in REFUSED or name.startswith(REFUSED_STARTS):
            raise self._refuse(f"has <{tag}>, which an overlay cannot have")
        if name in WORDS and not self._words:
            raise self._refuse(f"has <{tag}>: words are written with text()")
        self._draws = self._draws or name not in SILENT
        if self._depth == 1:
            self._root(name, attributes)
        for attribute, value in attributes.items():
            self._attribute(name, attribute, value)

    def _end(self, _: str) -> None:
        self._depth -= 1

    def _root(self, name: str, attributes: Mapping[str, str]) -> None:
        width, height = self._size
        if name != "svg":
            raise self._refuse(f"begins with <{name}>")
        if attributes.get("xmlns") != "http://www.w3.org/2000/svg":
            raise self._refuse('lacks xmlns="http://www.w3.org/2000/svg"')
        if (attributes.get("width"), attributes.get("height")) != (f"{width}", f"{height}"):
            raise self._refuse(f'is not of the output\'s size: write width="{width}" height="{height}"')
        if attributes.get("viewBox", f"0 0 {width} {height}") != f"0 0 {width} {height}":
            raise self._refuse(f'has another viewBox than "0 0 {width} {height}"')

    def _attribute(self, name: str, attribute: str, value: str) -> None:
        link = _local(attribute)
        if link.startswith("on"):
            raise self._refuse(f"has the attribute {attribute}")
        if link in LINKS and not _stands_alone(name, value):
            raise self._refuse(f"refers to {value[:60]!r}, which lies outside of it")
        if link == "base":
            raise self._refuse("has a base address")
        if link in PAINTS or link.startswith("marker"):
            self._paint(value)

    def _paint(self, value: str) -> None:
        """A style, or what a shape is filled, cut or blurred with."""
        if "\\" in value or "@" in value:
            raise self._refuse(f"has the style {value[:60]!r}, with an escape or a rule")
        found = URL.findall(value)
        if len(OPENED.findall(value)) > len(found):
            raise self._refuse(f"refers to {value[:60]!r}, which is not closed")
        for _, target in found:
            if not WITHIN.match(target.strip()):
                raise self._refuse(f"refers to {target[:60]!r}, which lies outside of it")


def _stands_alone(name: str, value: str) -> bool:
    if WITHIN.match(value.strip()):
        return True
    return name == "image" and DATA.match(value) is not None


def _local(name: str) -> str:
    return name.rpartition(":")[2].lower()
