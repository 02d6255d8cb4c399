"""A template's outputs from its values and pictures: the scene, the product on it, the words over both."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from io import BytesIO
from typing import TYPE_CHECKING, Any

from templates.errors import TemplateError
from templates.rows import Output

if TYPE_CHECKING:
    from PIL.Image import Image

    from templates.compose import Finished
    from templates.cutout import Cutout
    from templates.engine import Template
    from templates.spots import Staged

__all__ = ["check", "present", "why_not_cut"]

ROOM = (0.0, 0.0, 1.0, 1.0)


def present(
    template: "Template",
    outputs: Sequence[Output],
    values: Mapping[str, Any],
    language: str,
    scene: "bytes | Image | None",
    pictures: Mapping[str, bytes],
) -> "list[Finished]":
    """The finished outputs, each exactly of its size.

    Args:
        template: has the overlay.
        outputs: those that are wanted.
        values: of every variable; None where there is none.
        language: the locale of the words.
        scene: what fills them, of any size; None: white.
        pictures: the caller's own, by variable, and what steps made, by their name.

    Raises:
        InvalidInputs: words do not fit, no font has a letter of theirs, or the product cannot be cut out.
        TemplateError: the overlay does what it must not.
    """
    from templates.compose import compose
    from templates.enlarge import redrawn, too_small
    from templates.picture import plain

    opened = {name: opened_picture(data) for name, data in pictures.items()}
    ground = opened_picture(scene) if isinstance(scene, bytes) else scene
    if ground is not None and any(too_small(ground.size, one.width, one.height) for one in outputs):
        ground = redrawn(plain(ground).convert("RGB"))  # once for all of them
    product = product_in(template, opened)
    return [
        compose(
            template.overlay,
            output,
            values,
            ground if output.scene else None,
            opened,
            language=language,
            stage=None if product is None else stage_of(template, output, product, values, language),
        )
        for output in outputs
    ]


def check(
    template: "Template",
    outputs: Sequence[Output],
    values: Mapping[str, Any],
    language: str,
    images: Iterable[str],
) -> None:
    """Lay the words and shapes out, and nothing more.

    Args:
        template: has the overlay.
        outputs: those that are wanted.
        values: of every variable.
        language: the locale of the words.
        images: the variables whose pictures will be there.

    Raises:
        InvalidInputs: they do not fit, or no font has a letter of theirs.
        TemplateError: the overlay does what it must not.
    """
    if template.underlay is not None:
        for output in outputs:
            underlaid(template, output, values, language, room_of(template, output, language))
    if template.overlay is None:
        return
    from PIL import Image

    from templates.canvas import draw

    # A logo's shape is not known yet; words that need its very width are the template's fault.
    there = {name: Image.new("RGBA", (3, 2)) for name in images}
    for output in outputs:
        draw(template.overlay, output, values, there, language)


def why_not_cut(picture: "Image") -> str | None:
    """Why a product cannot be cut out of its picture by rule; None when it can be."""
    from templates.cutout import NoCutout, cut_out

    try:
        cut_out(picture)
    except NoCutout as error:
        return str(error)
    return None


def opened_picture(data: bytes) -> "Image":
    """A picture decoded, one of ours or a provider's, which was verified before."""
    from PIL import Image

    with Image.open(BytesIO(data), formats=("PNG", "JPEG", "WEBP")) as picture:
        picture.load()
        return picture.copy()


def product_in(template: "Template", opened: Mapping[str, "Image"]) -> "Cutout | None":
    """The template's product, cut out: by a step that a model did, else by rule.

    Raises:
        TemplateError: it can be cut out in neither way, which was seen before.
    """
    row = template.row.product
    if row is None or row.of not in opened:
        return None
    from templates.cutout import NoCutout, cut_out, cut_out_by

    step = next((one for one in template.row.steps if one.only_if == "no-cutout" and one.of == row.of), None)
    try:
        if step is not None and step.name in opened:
            return cut_out_by(opened[row.of], opened[step.name])
        return cut_out(opened[row.of])
    except NoCutout as error:
        raise TemplateError(f"{template.name}: {error}") from error


def stage_of(
    template: "Template", output: Output, product: "Cutout", values: Mapping[str, Any], language: str
) -> "Callable[[Image], Staged]":
    """What lays the product on an output's scene, over the underlay's shapes."""
    row = template.row.product
    if row is None:
        raise ValueError(f"{template.name} has no product")

    def stage(scene: "Image") -> "Staged":
        from templates import svg
        from templates.locales import is_rtl
        from templates.picture import over
        from templates.place import covered, place
        from templates.shadow import CONTACT, NONE, SOFT, catalogue, shadowed
        from templates.spots import Staged

        if not output.scene:
            white, placed = catalogue(product, scene.size)
            return Staged(picture=white, kept=covered(placed, scene.size))
        across, down = row.align
        align = (1 - across if is_rtl(language) else across, down)
        placed = place(product, room_of(template, output, language), least=row.least, align=align)
        if template.underlay is not None:
            shapes = underlaid(template, output, values, language, placed.box)
            scene = over(scene, svg.render(shapes, *scene.size))
        shade = {"cast": SOFT, "contact": CONTACT, "none": NONE}[row.shadow]
        return Staged(picture=shadowed(scene, placed, shade), kept=covered(placed, scene.size))

    return stage


def room_of(template: "Template", output: Output, language: str) -> tuple[int, int, int, int]:
    """Where a product may be, in an output's pixels: mirrored for what is read from the right."""
    from templates.locales import is_rtl

    left, top, right, bottom = output.room or (template.row.product.room if template.row.product else ROOM)
    if is_rtl(language):
        left, right = 1 - right, 1 - left
    return (
        round(left * output.width),
        round(top * output.height),
        round(right * output.width),
        round(bottom * output.height),
    )


def underlaid(
    template: "Template",
    output: Output,
    values: Mapping[str, Any],
    language: str,
    box: tuple[int, int, int, int],
) -> str:
    """The underlay's shapes around a product, as SVG.

    Raises:
        TemplateError: it has words or pictures, or does what it must not.
    """
    from templates.canvas import Spot, draw

    if template.underlay is None:
        raise ValueError(f"{template.name} has no underlay")
    left, top, right, bottom = box
    spot = Spot(x=left, y=top, width=right - left, height=bottom - top)
    drawing = draw(template.underlay, output, values, {}, language, product=spot)
    if drawing.words or drawing.pictures:
        raise TemplateError(f"the underlay of {template.name} has shapes alone")
    return drawing.shapes
