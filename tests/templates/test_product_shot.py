"""The product shot: the product keeps its own pixels, stands on something, and its catalogue picture is white."""

from typing import Any

import numpy as np
import pytest
from PIL import Image

from registry.errors import InvalidInputs
from templates.cutout import cut_out
from templates.place import Placed, place
from templates.present import room_of
from templates.shadow import catalogue
from tests.support.draw_product import SAMPLE, bottle
from tests.support.presets import logo, made, of, opened, outside, planned, png, scene, well_read
from tests.support.products import before, shoe

pytestmark = pytest.mark.slow

NAME = "product-shot"
TEMPLATE = of(NAME)
OUTPUTS = {output.name: output for output in TEMPLATE.row.outputs}
SCENES = ("square", "portrait", "wide")


def seen(finished: Any) -> Any:
    return np.asarray(opened(finished).convert("RGB")).astype(int)


def placed(picture: Image.Image, name: str, language: str = "en") -> Placed:
    """Where the template puts a product."""
    row, output = TEMPLATE.row.product, OUTPUTS[name]
    assert row is not None
    cutout = cut_out(picture)
    if not output.scene:
        return catalogue(cutout, (output.width, output.height))[1]
    return place(cutout, room_of(TEMPLATE, output, language), least=row.least, align=row.align)


def shown(picture: Any, one: Placed) -> tuple[Any, Any]:
    """The pixels of a finished picture and the product's, where it is opaque."""
    own = np.asarray(one.image).astype(int)
    part = picture[max(one.y, 0) : one.y + own.shape[0], max(one.x, 0) : one.x + own.shape[1]]
    own = own[max(-one.y, 0) :, max(-one.x, 0) :][: part.shape[0], : part.shape[1]]
    opaque = own[..., 3] == 255
    return part[opaque], own[opaque][:, :3]


def test_the_sample_is_drawn_by_the_script() -> None:
    kept = Image.open(SAMPLE)
    assert kept.mode == "RGBA"
    assert kept.getextrema()[3] == (0, 255)
    difference = np.abs(np.asarray(kept).astype(int) - np.asarray(bottle()).astype(int))
    assert difference.max() <= 1


def test_a_products_own_pixels_in_a_square() -> None:
    """At its own size not one of them differs, whatever lies beneath, and under words, price and logo."""
    picture = Image.open(SAMPLE)
    one = placed(picture, "square")
    assert one.scale == 1.0
    given = {"headline": "A headline of two whole lines, above it", "subline": "And a line", "price": "39.90"}
    found = made(
        NAME,
        given,
        ["square"],
        ground=scene("noise"),
        pictures={"product_image_url": SAMPLE.read_bytes(), "logo_url": logo()},
    )
    ours, theirs = shown(seen(found["square"]), one)
    assert len(ours) > 300_000
    assert np.abs(ours - theirs).max() < 1


@pytest.mark.parametrize("background", ["alpha", "gradient"])
def test_a_products_own_pixels_in_every_output(background: str) -> None:
    """Where it is resized for an output, what was resized and nothing else is what is seen."""
    picture = shoe(900) if background == "alpha" else before(shoe(900), background)
    given = {"headline": "Run", "price": "99", "surface": "table"}
    found = made(NAME, given, ground=scene("noise"), pictures={"product_image_url": png(picture)})
    kept = 0
    for name, one in found.items():
        at = placed(picture, name)
        ours, theirs = shown(seen(one), at)
        assert np.abs(ours - theirs).max() < 1, name
        kept += at.scale == 1.0
    assert kept >= 1


def test_sizes_and_words() -> None:
    given = {**TEMPLATE.row.sample, "price": "1249.5", "currency": "AED", "locale": "ar"}
    given |= {"headline": "استيقظي بإشراقة", "subline": "سيروم فيتامين سي"}
    found = made(NAME, given, pictures={"product_image_url": SAMPLE.read_bytes(), "logo_url": logo()})
    for name, one in found.items():
        assert opened(one).size == (OUTPUTS[name].width, OUTPUTS[name].height)
        assert outside(one, OUTPUTS[name]) == []
        assert {word.name for word in one.texts} == (
            {"headline", "subline", "price"} if name in SCENES else set()
        )
    assert well_read(found)
    wide = found["wide"]
    box = placed(Image.open(SAMPLE), "wide", "ar").box
    assert box[2] < wide.width / 2 < min(word.x for word in wide.texts if word.name == "headline")


def test_words_do_not_lie_on_the_product() -> None:
    """A product that fills its whole room, on each side; the longest words."""
    block = Image.new("RGBA", (1400, 1400))
    block.paste((200, 30, 60), (10, 10, 1390, 1390))
    given = {
        "headline": "The longest run of your life starts with two feet of ground.",
        "subline": "x " * 40 + "y",
    }
    found = made(NAME, {**given, "price": "129.90"}, ["wide"], pictures={"product_image_url": png(block)})
    left, top, right, bottom = placed(block, "wide").box
    for word in found["wide"].texts:
        assert word.x + word.width < left or word.x > right or word.y + word.height < top or word.y > bottom


def test_the_catalogue_picture_is_white_and_says_nothing() -> None:
    given = {"headline": "Wake up", "price": "39"}
    pictures = {"product_image_url": png(shoe(500)), "logo_url": logo("#ff0000")}
    one = made(NAME, given, ["white"], ground=scene("noise"), pictures=pictures)["white"]
    picture = seen(one)
    assert one.texts == ()
    edge = np.concatenate(
        [picture[:20].reshape(-1, 3), picture[:, :20].reshape(-1, 3), picture[-20:].reshape(-1, 3)]
    )
    assert (edge == 255).all()


@pytest.mark.parametrize(("surface", "differs"), [("plinth", True), ("table", True), ("none", False)])
def test_what_it_stands_on(surface: str, differs: bool) -> None:
    """Below the product, where no shadow reaches, is the surface's colour or the scene."""
    flat = Image.new("RGB", (64, 64), (90, 120, 200))
    given = {"surface": surface, "surface_color": "#ffcc00"}
    one = made(NAME, given, ["wide"], ground=flat, pictures={"product_image_url": png(bottle())})["wide"]
    left, _, right, bottom = placed(bottle(), "wide").box
    pixel = seen(one)[bottom + 90, (left + right) // 2]
    assert (int(pixel[0]) > int(pixel[2])) is differs


def test_no_words_and_no_price_by_default() -> None:
    flat = Image.new("RGB", (64, 64), (90, 120, 200))
    one = made(
        NAME, {"surface": "none"}, ["square"], ground=flat, pictures={"product_image_url": png(bottle())}
    )
    assert one["square"].texts == ()
    assert (np.abs(seen(one["square"])[:40] - (90, 120, 200)) < 40).all()


@pytest.mark.parametrize(
    ("given", "pointer"),
    [
        ({"product_image_url": None}, "/variables/product_image_url"),
        ({"headline": "Donaudampfschifffahrtsgesellschaftskapitänsmützenabzeichen"}, "/variables/headline"),
        ({"subline": "W" * 90}, "/variables/subline"),
        ({"surface": "cloud"}, "/variables/surface"),
        ({"price": "-1"}, "/variables/price"),
    ],
)
def test_what_is_refused(given: dict[str, Any], pointer: str) -> None:
    with pytest.raises(InvalidInputs) as caught:
        planned(NAME, {**TEMPLATE.row.sample, "product_image_url": "upl_1", **given})
    assert {fault.pointer for fault in caught.value.faults} == {pointer}


def test_a_step_cuts_out_only_what_rules_cannot() -> None:
    run = TEMPLATE.plan({"product_image_url": "upl_1"}, {})
    cut, made_scene = run.requests
    assert (cut.step.do, cut.step.of, cut.step.only_if, cut.model) == (
        *("remove-background", "product_image_url", "no-cutout", "background-removal"),
    )
    assert TEMPLATE.scene == made_scene.step.name == "scene"
