"""What lies between a scene and its words: an underlay, a part of the output, round corners, lines through words."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from templates.canvas import Drawing, Spot, compile_overlay, draw
from templates.compose import compose, finish, laid_out
from templates.errors import TemplateError
from templates.library import TemplateLibrary
from templates.paint import paint
from templates.present import present
from templates.rows import Output
from templates.shape import inked
from templates.spots import Staged
from templates.typeset import fit, ink_of
from tests.support.products import bottle

CARD = Output(name="card", width=600, height=400, safe=0.05)
CARD_SIZE = (600, 400)
WHITE = Image.new("RGB", CARD_SIZE, "white")


def drawn(
    inside: str, values: Mapping[str, Any] | None = None, language: str = "en", product: Spot | None = None
) -> Drawing:
    root = '<svg xmlns="http://www.w3.org/2000/svg" width="{{ w }}" height="{{ h }}">'
    return draw(compile_overlay(f"{root}{inside}</svg>"), CARD, values or {}, {}, language, product=product)


def dark_box(picture: Image.Image) -> tuple[int, int, int, int]:
    """Where there is ink on white."""
    box = picture.convert("L").point([255] * 128 + [0] * 128).getbbox()
    assert box is not None
    return box


# ---- words ---------------------------------------------------------------------------------


@pytest.mark.parametrize("align", ["left", "center", "right"])
def test_a_line_goes_through_struck_words(align: str) -> None:
    words = '{{ text(value="1.299", name="price", y=100, height=100, size=80, color="#111111", align="%s", strike=%s) }}'
    plain = np.asarray(paint(drawn(words % (align, "false")), WHITE).picture.convert("L")) < 128
    painted = paint(drawn(words % (align, "true")), WHITE)
    struck = np.asarray(painted.picture.convert("L")) < 128
    spot = painted.words[0].words.spot
    more = np.argwhere(struck & ~plain)
    assert (struck | ~plain).all()  # nothing of the figures is lost
    assert spot.x - 8 <= more[:, 1].min() < spot.x + 2
    assert spot.right - 2 < more[:, 1].max() <= spot.right + 8
    assert more[:, 0].max() - more[:, 0].min() <= 8  # one bar,
    middle = (np.argwhere(plain)[:, 0].min() + np.argwhere(plain)[:, 0].max()) / 2
    assert abs(more[:, 0].mean() - middle) < 10  # through the middle of the figures


def test_a_line_through_words_costs_them_no_contrast() -> None:
    shown = paint(
        drawn('{{ text(value="19", name="p", size=80, color="#111111", strike=true) }}'), WHITE
    ).words[0]
    assert shown.contrast > 15
    assert shown.scrim == 0


@pytest.mark.parametrize("sign", ["A", "g", "Q", "j", "س", "山", "🌱", "▲", "-"])
def test_the_ink_of_a_lone_sign_is_in_the_middle(sign: str) -> None:
    words = '{{ text("sign", size=200, color="#111111", align="center", optical=true) }}'
    painted = paint(drawn(words, {"sign": sign}), WHITE)
    left, top, right, bottom = dark_box(painted.picture)
    assert abs((left + right) / 2 - 300) <= 1
    assert abs((top + bottom) / 2 - 200) <= 1
    spot = painted.words[0].words.spot  # is the ink's own: what is told, and what contrast is measured in
    assert abs(spot.x - left) <= 2
    assert abs(spot.y - top) <= 2
    assert abs(spot.right - right) <= 2
    assert abs(spot.bottom - bottom) <= 2


def test_ink_of_words_without_ink() -> None:
    block = fit("\u200d", width=100, height=100, size=40, min_size=40)
    assert ink_of(block) == (0.0, 0.0, block.width, block.height)
    face = fit("A", width=100, height=100, size=40, min_size=40).faces[0]
    assert inked(face, " ", False) is None


def test_measuring_places_nothing_and_finds_the_same() -> None:
    setting = "x=30, y=40, width=300, height=100, size=60, min_size=20, max_lines=2"
    found = drawn(
        f'{{% set one = measure(value="Golden Week", name="h", {setting}) %}}'
        f'{{% set two = text(value="Golden Week", name="h", {setting}) %}}'
        '<rect id="{{ one == two }}" width="1" height="1"/>'
    )
    assert 'id="True"' in found.shapes
    assert len(found.words) == 1


def test_what_does_not_fit_has_no_size_when_it_is_measured() -> None:
    found = drawn(
        '{% set one = measure(value="incomprehensibilities", name="h", width=60, height=40, size=20, min_size=20) %}'
        '<rect id="{{ one.drawn }} {{ one.size }}" width="1" height="1"/>'
    )
    assert 'id="True 0.0"' in found.shapes


def test_what_one_branch_sets_is_the_overlays_own() -> None:
    source = "{% if w > 9 %}{% set a = 1 %}{% if h > 9 %}{{ a }}{% endif %}{% endif %}"
    compile_overlay(source, frozenset())
    with pytest.raises(TemplateError, match="no variable 'b'"):
        compile_overlay(source + "{{ b }}", frozenset())


# ---- outputs -------------------------------------------------------------------------------


def halves() -> Image.Image:
    """Red above blue."""
    scene = Image.new("RGB", (100, 100), (255, 0, 0))
    scene.paste((0, 0, 255), (0, 50, 100, 100))
    return scene


def test_a_scene_fills_its_part_of_an_output() -> None:
    tower = Output(name="t", width=100, height=400, area=(0, 0, 1, 0.25))
    ground = laid_out(halves(), tower, "en")
    assert ground.size == (100, 400)
    assert ground.getpixel((50, 20)) == (255, 0, 0)
    assert ground.getpixel((50, 80)) == (0, 0, 255)  # all of it, not the quarter that lies there
    assert ground.getpixel((50, 101)) == (255, 255, 255)


@pytest.mark.parametrize(("language", "scene_at"), [("en", 390), ("he", 10)])
def test_a_part_is_mirrored_for_what_is_read_from_the_right(language: str, scene_at: int) -> None:
    strip = Output(name="s", width=400, height=100, area=(0.75, 0, 1, 1))
    ground = laid_out(halves(), strip, language)
    assert ground.getpixel((scene_at, 20)) == (255, 0, 0)
    assert ground.getpixel((400 - scene_at, 20)) == (255, 255, 255)


def test_a_trim_cuts_a_scenes_edges_off() -> None:
    scene = Image.new("RGB", (100, 100), "black")
    scene.paste((0, 200, 0), (5, 5, 95, 95))
    assert laid_out(scene, Output(name="s", width=50, height=50, trim=0.06), "en").getextrema() == (
        (0, 0),
        (200, 200),
        (0, 0),
    )


@pytest.mark.parametrize("form", ["png", "webp"])
def test_beyond_round_corners_it_is_clear(form: Any) -> None:
    made = compose(None, Output(name="i", width=64, height=64, radius=0.25, format=form), {}, halves(), {})
    picture = opened(made.data)
    assert picture.mode == "RGBA"
    alpha = picture.getchannel("A")
    assert [alpha.getpixel(at) for at in ((0, 0), (63, 0), (0, 63), (63, 63))] == [0, 0, 0, 0]
    assert alpha.getpixel((32, 0)) == alpha.getpixel((0, 32)) == alpha.getpixel((32, 32)) == 255
    plain = compose(None, Output(name="i", width=64, height=64, format=form), {}, halves(), {})
    assert opened(plain.data).mode == "RGB"


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


@pytest.mark.parametrize(
    ("wrong", "says"),
    [({"radius": 0.6}, "radius"), ({"trim": 0.5}, "trim"), ({"area": (0.5, 0, 0.5, 1)}, "room")],
)
def test_what_an_output_cannot_be(wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Output(name="o", width=10, height=10, **wrong)


# ---- the underlay --------------------------------------------------------------------------

YAML = """\
title: T
description: D
variables:
  photo: {type: image, required: true, about: The product}
  locale: {type: locale, default: en, about: Language}
product: {of: photo, room: [0.5, 0.1, 0.9, 0.8], shadow: none}
steps:
  - {name: scene, do: generate, use: [{intent: realistic}]}
sample: {photo: x.png}
outputs:
  - {name: wide, width: 800, height: 400}
"""
SHELF = """\
<svg xmlns="http://www.w3.org/2000/svg" width="{{ w }}" height="{{ h }}">
<rect x="{{ product.x }}" y="{{ product.bottom }}" width="{{ product.width }}" height="20" fill="#00ff00"/>
<rect x="{{ product.center - 2 }}" y="{{ product.middle }}" width="4" height="4" fill="#00ff00"/></svg>
"""


def library(folder: Path, underlay: str = SHELF, yaml: str = YAML) -> TemplateLibrary:
    (folder / "mine").mkdir()
    (folder / "mine" / "template.yaml").write_text(yaml)
    (folder / "mine" / "prompt.jinja").write_text("a shelf")
    (folder / "mine" / "underlay.svg.jinja").write_text(underlay)
    return TemplateLibrary.load(folder)


def as_png(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize(("language", "half"), [("en", "right"), ("ar", "left")])
def test_a_product_stands_on_what_the_underlay_draws(tmp_path: Path, language: str, half: str) -> None:
    template = library(tmp_path).templates["mine"]
    outputs = template.row.outputs
    data = as_png(bottle(300))
    made = present(template, outputs, {"photo": "u", "locale": language}, language, halves(), {"photo": data})
    seen = np.asarray(opened(made[0].data).convert("RGB")).astype(int)
    green = np.argwhere((seen == (0, 255, 0)).all(axis=2))
    assert green[:, 0].min() == 320  # right below the foot; what lies behind the product is not seen
    assert len(set(green[:, 0])) == 20
    middle = (green[:, 1].min() + green[:, 1].max()) / 2
    assert middle == pytest.approx(560 if half == "right" else 240, abs=2)


def test_an_underlay_has_shapes_alone(tmp_path: Path) -> None:
    words = SHELF.replace("</svg>", '{{ text(value="no", name="photo", size=20) }}</svg>')
    with pytest.raises(TemplateError, match="shapes alone"):
        library(tmp_path, words)


def test_an_underlay_without_a_product(tmp_path: Path) -> None:
    row = next(line for line in YAML.splitlines() if line.startswith("product:"))
    with pytest.raises(TemplateError, match="no `product`"):
        library(tmp_path, yaml=YAML.replace(row + "\n", ""))


def test_an_underlay_is_no_way_out(tmp_path: Path) -> None:
    image = SHELF.replace("</svg>", '<image href="file:///etc/hostname" width="9" height="9"/></svg>')
    with pytest.raises(TemplateError, match="outside"):
        library(tmp_path, image)


def test_without_a_scene_nothing_is_underlaid(tmp_path: Path) -> None:
    template = library(tmp_path, yaml=YAML.replace("height: 400}", "height: 400, scene: false}")).templates[
        "mine"
    ]
    made = present(
        template, template.row.outputs, {"photo": "u"}, "en", halves(), {"photo": as_png(bottle(300))}
    )
    seen = np.asarray(opened(made[0].data).convert("RGB"))
    assert (seen[0] == 255).all()
    assert not (seen == (0, 255, 0)).all(axis=2).any()


def test_nothing_is_laid_over_without_an_overlay() -> None:
    assert finish(None, CARD, {}, halves(), {}).words == ()


@pytest.mark.parametrize("beneath_words", [False, True])
def test_scrims_keep_off_what_is_staged_but_for_words_on_it(beneath_words: bool) -> None:
    """A bright scene, white words forced: a scrim is needed, which fades out over what stands nearby."""
    product = Image.new("L", CARD_SIZE)
    product.paste(255, (0, 0, 600, 400) if beneath_words else (0, 200, 600, 400))

    def stage(scene: Image.Image) -> Staged:
        return Staged(picture=Image.new("RGB", scene.size, (250, 250, 250)), kept=product)

    root = '<svg xmlns="http://www.w3.org/2000/svg" width="{{ w }}" height="{{ h }}">'
    words = compile_overlay(
        root + '{{ text(value="Hi", name="a", y=60, height=100, size=90, color="#ffffff") }}</svg>'
    )
    painted = finish(words, CARD, {}, halves(), {}, stage=stage)
    seen = np.asarray(painted.picture.convert("L")).astype(int)
    assert painted.words[0].scrim > 0.4
    assert painted.words[0].contrast >= 4.5
    assert (seen[200:] == 250).all()
    assert bool((seen[:200, 140:200] < 245).any()) is not beneath_words
