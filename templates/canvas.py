"""What `overlay.svg.jinja` sees: the variables, the output's size and safe area, `text()` and `picture()`.

Rendering an overlay gives shapes, as SVG, and what was placed on them: pictures, then words. Words
always lie on top, in boxes within the safe area; `text()` answers where it put them, so that a shape
can be drawn around them and the next words set below them.
"""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import jinja2
import msgspec
from markupsafe import Markup

from registry.errors import Fault, InvalidInputs, pointer
from templates import locales, svg
from templates.colors import contrast, dark, mix, read_color, readable
from templates.errors import TemplateError
from templates.rows import Output
from templates.sandbox import WORDS, Overlay, compile_overlay
from templates.spots import Drawing, Pasted, Safe, Spot, Words, share_of
from templates.typeset import NoGlyph, TextDoesNotFit, fit, ink_of

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["WORDS", "Drawing", "Overlay", "Spot", "compile_overlay", "draw"]

Align = Literal["start", "center", "end", "left", "right"]
Valign = Literal["top", "middle", "bottom"]

ALIGNS = ("start", "center", "end", "left", "right")
VALIGNS = ("top", "middle", "bottom")
MOST_PLACED = 200
SMALLEST = 9.0
"""Pixels: words smaller than this are not read."""


def draw(
    overlay: Overlay,
    output: Output,
    values: Mapping[str, Any],
    pictures: Mapping[str, "Image"],
    language: str = "en",
    product: Spot | None = None,
) -> Drawing:
    """Lay out an output; nothing is painted yet.

    Args:
        overlay: of `compile_overlay`.
        output: its size and safe area.
        values: of every variable; None where there is none.
        pictures: those of the variables that are images, decoded.
        language: the locale of its words.
        product: where the product stands, which an underlay is drawn around.

    Raises:
        InvalidInputs: words do not fit, or no font has a letter of theirs; every fault at once.
        TemplateError: the overlay does what it must not.
    """
    canvas = _Canvas(output, values, pictures, language)
    canvas.product = product
    try:
        shapes = overlay.render(canvas.words())
    except locales.NotWritable as error:
        raise InvalidInputs([Fault(pointer="/variables", code="not_allowed", message=str(error))]) from error
    except (jinja2.TemplateError, TypeError, ValueError, ArithmeticError, AttributeError) as error:
        raise TemplateError(f"the overlay cannot be rendered for {output.name}: {error}") from error
    if canvas.faults:
        raise InvalidInputs(canvas.faults)
    shapes = shapes.strip()
    draws = svg.check(shapes, output.width, output.height)
    return Drawing(
        width=output.width,
        height=output.height,
        shapes=shapes,
        blank=not draws,
        ground=canvas.ground,
        words=tuple(canvas.placed),
        pictures=tuple(canvas.pasted),
        language=language,
    )


class _Canvas:
    """One output while its overlay is rendered."""

    def __init__(
        self, output: Output, values: Mapping[str, Any], pictures: Mapping[str, "Image"], language: str
    ) -> None:
        left, top, right, bottom = output.edges
        self._output = output
        self._values = values
        self._pictures = pictures
        self._language = language
        self._rtl = locales.is_rtl(language)
        self._safe = Safe(
            x=left, y=top, width=output.width - left - right, height=output.height - top - bottom
        )
        self.product: Spot | None = None
        self.placed: list[Words] = []
        self.pasted: list[Pasted] = []
        self.ground: Spot | None = None
        self.faults: list[Fault] = []

    def words(self) -> dict[str, Any]:
        """All names of the overlay."""
        own: dict[str, Any] = {
            "text": self.text,
            "measure": self.measure,
            "picture": self.picture,
            "scene": self.scene,
            "out": self._output,
            "w": self._output.width,
            "h": self._output.height,
            "u": min(self._output.width, self._output.height) / 100,
            "safe": self._safe,
            "rtl": self._rtl,
            "locale": self._language,
            "values": dict(self._values),
            "mix": mix,
            "dark": dark,
            "readable": readable,
            "contrast": contrast,
            "product": self.product,
        }
        return {**self._values, **own}

    def text(
        self,
        variable: str | None = None,
        *,
        value: Any = None,
        name: str | None = None,
        x: float | None = None,
        y: float | None = None,
        width: float | None = None,
        height: float | None = None,
        size: float,
        min_size: float | None = None,
        weight: int = 800,
        family: str = "inter",
        align: Align = "start",
        valign: Valign = "top",
        color: str | Sequence[str] | None = None,
        on: str = "auto",
        scrim: str | None = None,
        max_lines: int | None = None,
        upper: bool = False,
        leading: float = 1.1,
        strike: bool = False,
        optical: bool = False,
    ) -> Spot:
        """Set words into a box, as large as they fit; nothing where there are none.

        Args:
            variable: whose value is set; or
            value: the words themselves, with
            name: the variable that they come from, which an error then names.
            x: the box, in pixels; the safe area by default.
            y: its upper edge.
            width: its width.
            height: its height.
            size: of the letters, in pixels, at most.
            min_size: at least, half the size by default; words that need less are refused. Never below
                what can be read.
            weight: 500 to 800.
            family: inter, oswald or serif.
            align: start and end follow the locale.
            valign: top, middle or bottom of the box.
            color: one that has to be taken; or several, of which the first that can be read is. White or
                ink by default, whichever is read better on the pixels beneath.
            on: `auto`, or the colour of a plate behind the words.
            scrim: the brand's dark, taken for a scrim that has to be dark.
            max_lines: at most.
            upper: in capitals.
            leading: of lines, in sizes.
            strike: draw a line through them: a price of before.
            optical: bring what is seen of the letters to the middle of the box, whatever room the face keeps
                around them; for a sign that stands alone.
        """
        called, words = self._words(variable, value, name)
        box = self._box(x, y, width, height, f"text({called!r})")
        if not words:
            return Spot(x=box.x, y=box.y, width=0.0, height=0.0, drawn=False)
        if align not in ALIGNS or valign not in VALIGNS:
            raise TemplateError(f"text({called!r}): align is one of {ALIGNS}, valign of {VALIGNS}")
        if upper:
            words = locales.upper(words, self._language)
        least = size / 2 if min_size is None else min_size
        least = max(least, SMALLEST)
        try:
            block = fit(
                words,
                width=box.width,
                height=box.height,
                size=max(size, least),
                min_size=least,
                family=family,
                weight=weight,
                max_lines=max_lines,
                leading=leading,
                language=locales.language_of(self._language),
            )
        except (TextDoesNotFit, NoGlyph) as error:
            self._fault(called, error)
            return box
        if not block.lines:
            return Spot(x=box.x, y=box.y, width=0.0, height=0.0, drawn=False)
        side = self._side(align)
        spot = Spot(
            x=box.x + share_of(side) * (box.width - block.width),
            y=box.y + share_of(valign) * (box.height - block.height),
            width=block.width,
            height=block.height,
            size=block.size,
            lines=len(block.lines),
        )
        start, top_edge = box.x, spot.y
        if optical:
            left, top, right, bottom = ink_of(block)
            side = "center"
            across = box.x + (box.width - (right - left)) / 2 - left
            down = box.y + (box.height - (bottom - top)) / 2 - top
            start, top_edge = across - (box.width - block.width) / 2, down
            spot = msgspec.structs.replace(
                spot, x=across + left, y=down + top, width=right - left, height=bottom - top
            )
        forced = [color] if isinstance(color, str) else list(color or ())
        self.placed.append(
            Words(
                name=called,
                text=words,
                block=block,
                spot=spot,
                x=start,
                y=top_edge,
                width=box.width,
                align=side,
                colors=tuple(read_color(one) for one in forced),
                ordered=bool(forced),
                plate=None if on == "auto" else read_color(on),
                scrim=None if scrim is None else read_color(scrim),
                strike=strike,
            )
        )
        self._count()
        return spot

    def measure(self, variable: str | None = None, **how: Any) -> Spot:
        """Where `text()` would set words, with the same arguments; nothing is set.

        For what is drawn around words or centred as a whole before they are.
        """
        placed, faults = len(self.placed), len(self.faults)
        spot = self.text(variable, **how)
        del self.placed[placed:], self.faults[faults:]
        return spot

    def picture(
        self,
        variable: str,
        *,
        x: float | None = None,
        y: float | None = None,
        width: float | None = None,
        height: float | None = None,
        align: Align = "start",
        valign: Valign = "middle",
        cover: bool = False,
        radius: float = 0.0,
        plate: bool | str = True,
        bleed: bool = False,
    ) -> Spot:
        """Place a caller's picture, a logo for one, in a box; nothing where there is none.

        Args:
            variable: whose picture it is.
            x: the box, in pixels; the safe area by default.
            y: its upper edge.
            width: its width.
            height: its height.
            align: where in the box it lies, when it does not fill it.
            valign: top, middle or bottom of the box.
            cover: fill the box and cut off what sticks out.
            radius: of its corners.
            plate: put a plate behind it where it would be lost in what lies beneath; of this colour, where
                it is one and the picture is seen on it.
            bleed: it may lie outside of the safe area.
        """
        if variable not in self._values:
            raise TemplateError(f"picture({variable!r}): there is no such variable")
        box = self._box(x, y, width, height, f"picture({variable!r})", bleed)
        picture = self._pictures.get(variable)
        if picture is None:
            return Spot(x=box.x, y=box.y, width=0.0, height=0.0, drawn=False)
        if box.width < 1 or box.height < 1:
            raise TemplateError(f"picture({variable!r}) has no room")
        if align not in ALIGNS or valign not in VALIGNS:
            raise TemplateError(f"picture({variable!r}): align is one of {ALIGNS}, valign of {VALIGNS}")
        scale = min(box.width / picture.width, box.height / picture.height)
        wide, high = (box.width, box.height) if cover else (picture.width * scale, picture.height * scale)
        spot = Spot(
            x=box.x + share_of(self._side(align)) * (box.width - wide),
            y=box.y + share_of(valign) * (box.height - high),
            width=wide,
            height=high,
        )
        self.pasted.append(
            Pasted(
                name=variable,
                spot=spot,
                picture=picture,
                cover=cover,
                radius=radius,
                plate=bool(plate),
                plate_color=read_color(plate) if isinstance(plate, str) else None,
            )
        )
        self._count()
        return spot

    def scene(
        self,
        x: float = 0.0,
        y: float = 0.0,
        width: float | None = None,
        height: float | None = None,
    ) -> Spot:
        """Say which part of the output the scene fills; it is cropped to that, and white lies around it.

        For layouts where a panel would hide what the scene is about.

        Args:
            x: the part, in pixels; all of the output by default. What sticks out of this is cut off.
            y: its upper edge.
            width: its width.
            height: its height.
        """
        wide, high = self._output.width, self._output.height
        left, top = max(0, math.floor(x)), max(0, math.floor(y))
        right = wide if width is None else min(wide, math.ceil(x + width))
        bottom = high if height is None else min(high, math.ceil(y + height))
        if right <= left or bottom <= top:
            raise TemplateError(f"scene() of {self._output.name} has no room")
        self.ground = Spot(x=left, y=top, width=right - left, height=bottom - top)
        return self.ground

    def _words(self, variable: str | None, value: Any, name: str | None) -> tuple[str, str]:
        """The name that an error says, and the words."""
        if variable is not None:
            if variable not in self._values:
                raise TemplateError(f"text({variable!r}): there is no such variable")
            value = self._values[variable]
        called = name or variable
        if called is None:
            raise TemplateError("text() takes the name of a variable, or value= and name=")
        words = "" if value is None else value.unescape() if isinstance(value, Markup) else str(value)
        return called, words if words.strip() else ""

    def _box(
        self,
        x: float | None,
        y: float | None,
        width: float | None,
        height: float | None,
        what: str,
        bleed: bool = False,
    ) -> Spot:
        """A box within the safe area; what is not said reaches to the area's edge."""
        safe = self._safe
        left, top = safe.x if x is None else float(x), safe.y if y is None else float(y)
        wide = safe.right - left if width is None else float(width)
        high = safe.bottom - top if height is None else float(height)
        if not all(math.isfinite(edge) for edge in (left, top, wide, high)):
            raise TemplateError(f"{what} has no place: {left}, {top}, {wide}, {high}")
        slack = 0.5
        beyond = left < safe.x - slack or top < safe.y - slack
        beyond = beyond or left + wide > safe.right + slack or top + high > safe.bottom + slack
        if beyond and not bleed:
            box = f"{left:g}, {top:g} and {wide:g} x {high:g}"
            room = f"{safe.x:g}, {safe.y:g} and {safe.width:g} x {safe.height:g}"
            raise TemplateError(f"{what} of {self._output.name} is at {box}, the safe area at {room}")
        return Spot(x=left, y=top, width=max(wide, 0.0), height=max(high, 0.0))

    def _side(self, align: Align) -> Literal["left", "center", "right"]:
        if align in ("left", "center", "right"):
            return align
        return "right" if (align == "end") != self._rtl else "left"

    def _fault(self, name: str, error: "TextDoesNotFit | NoGlyph") -> None:
        code = "no_glyph" if isinstance(error, NoGlyph) else "text_too_long"
        message = f"{name} of {self._output.name}: {error}"
        self.faults.append(Fault(pointer=pointer("variables", name), code=code, message=message))

    def _count(self) -> None:
        if len(self.placed) + len(self.pasted) > MOST_PLACED:
            raise TemplateError(f"more than {MOST_PLACED} things are placed")
