"""Is this really an SVG, whole and harmless? Read once from end to end, by a parser that expands nothing.

An SVG is a document that a browser runs. What a provider gives is kept as it came or not at all: shapes,
text, gradients and pictures within it are let through; scripts, event handlers, links to elsewhere, embedded
documents, animations and everything else that is not listed here are not (the elements are those of W3C
SVG 2, appendix L). Who looks at one gets it with a policy that runs no script all the same.
"""

import re
from typing import Any
from xml.parsers.expat import ExpatError, ParserCreate

from gateway.verify import BrokenImage, Verified, sane

__all__ = ["SVG", "verify_svg"]

SVG = "image/svg+xml"
MOST_BYTES = 16 << 20
MOST_DEPTH = 200
_NAMESPACE = "http://www.w3.org/2000/svg"
_ELEMENTS = re.compile(
    "svg|g|path|rect|circle|ellipse|line|polyline|polygon|text|tspan|textPath|defs|symbol|use|marker|pattern|"
    "linearGradient|radialGradient|stop|clipPath|mask|title|desc|metadata|style|image|switch|a|filter|"
    "fe(?:Blend|ColorMatrix|ComponentTransfer|Composite|ConvolveMatrix|DiffuseLighting|DisplacementMap|"
    "DistantLight|DropShadow|Flood|Func[ABGR]|GaussianBlur|Merge|MergeNode|Morphology|Offset|PointLight|"
    "SpecularLighting|SpotLight|Tile|Turbulence)"
)
_INSIDE = re.compile(r"#[^\s]*|data:image/(?:png|jpeg|webp);base64,[A-Za-z0-9+/=\s]*")
_REACHES_OUT = re.compile(r"@import|expression\s*\(|javascript:|url\((?!\s*['\"]?\s*#)", re.IGNORECASE)
_LENGTH = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(?:px)?\s*")


def verify_svg(data: bytes) -> Verified:
    """Check an SVG.

    Returns:
        Its size in pixels by `width` and `height`, else by its `viewBox`; rounded, at least 1.

    Raises:
        BrokenImage: not XML to its end, no SVG, without a size, or with a part that could do something.
    """
    if len(data) > MOST_BYTES:
        raise BrokenImage(f"the SVG has more than {MOST_BYTES >> 20} MiB")
    reader = _Reader()
    parser = ParserCreate(namespace_separator=" ")
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = reader.doctype
    parser.ProcessingInstructionHandler = reader.instruction
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.text
    try:
        parser.Parse(data, True)
    except ExpatError as error:
        raise BrokenImage(f"the SVG is not whole: {error}") from error
    return sane(SVG, "svg", *reader.size)


class _Reader:
    """What the parser calls."""

    def __init__(self) -> None:
        self.depth = 0
        self.in_style = False
        self.size = (0, 0)

    def doctype(self, *_: Any) -> None:
        raise BrokenImage("the SVG has a DOCTYPE")

    def instruction(self, target: str, _: str) -> None:
        raise BrokenImage(f"the SVG has the processing instruction {target[:40]!r}")

    def start(self, name: str, attributes: dict[str, str]) -> None:
        namespace, _, local = name.rpartition(" ")
        if self.depth == 0:
            if (namespace, local) != (_NAMESPACE, "svg"):
                raise BrokenImage(f"it is XML, but no SVG: {local[:40]!r}")
            self.size = _size(attributes)
        # Editors' own elements (Inkscape, Adobe) do nothing in a browser.
        elif namespace in (_NAMESPACE, "") and not _ELEMENTS.fullmatch(local):
            raise BrokenImage(f"the SVG has <{local[:40]}>")
        elif "xhtml" in namespace or "MathML" in namespace:
            raise BrokenImage(f"the SVG has <{local[:40]}> of another document")
        self.depth += 1
        if self.depth > MOST_DEPTH:
            raise BrokenImage(f"the SVG is nested more than {MOST_DEPTH} deep")
        self.in_style = local == "style"
        for key, value in attributes.items():
            _check_attribute(local, key.rpartition(" ")[2], value)

    def end(self, _: str) -> None:
        self.depth -= 1
        self.in_style = False

    def text(self, data: str) -> None:
        if self.in_style and _REACHES_OUT.search(data):
            raise BrokenImage("the SVG's style reaches out of it")


def _check_attribute(element: str, name: str, value: str) -> None:
    if name.lower().startswith("on"):
        raise BrokenImage(f"the SVG has an event handler: {name[:40]}")
    if name in ("href", "src") and value.strip() and not _INSIDE.fullmatch(value.strip()):
        raise BrokenImage(f"the SVG's <{element[:40]}> points out of it")
    if _REACHES_OUT.search(value):
        raise BrokenImage(f"the SVG's {name[:40]} reaches out of it")


def _size(attributes: dict[str, str]) -> tuple[int, int]:
    edges = [_LENGTH.fullmatch(attributes.get(name, "")) for name in ("width", "height")]
    if all(edges):
        width, height = (float(edge[1]) for edge in edges if edge is not None)
    else:
        box = re.split(r"[\s,]+", attributes.get("viewBox", "").strip())
        try:
            width, height = float(box[2]), float(box[3])
        except (IndexError, ValueError):
            raise BrokenImage("the SVG has no size") from None
    if not (0 < width < 1e6 and 0 < height < 1e6):
        raise BrokenImage("the SVG's size is not believable")
    return max(1, round(width)), max(1, round(height))
