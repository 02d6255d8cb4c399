"""Which size is asked for, and how it is sent."""

from typing import Any

import pytest

from providers.sizing import plan_size
from registry.inputs import UnifiedInputs
from registry.load import load_registry
from registry.schema import Route

MODELS = load_registry().models
FLUX = MODELS["flux-dev"].routes[4]  # image_size, 1024x768, 64..2048 by 8
GLM = MODELS["zai-org/GLM-Image"].routes[0]  # width and height, 1024x1024, 512..2048 by 32
MINI = MODELS["embedded-mini"].routes[0]  # width and height, 256x256, 64..1024, draws four sizes itself
MINI_TEXT = MODELS["embedded-mini"].routes[1]
LORA_EDIT = MODELS["flux-dev"].routes[1]  # image_size; follows the image unless asked
EDIT = MODELS["flux-dev"].routes[3]  # no size


def plan(route: Route, **asked: Any) -> Any:
    return plan_size(UnifiedInputs(**asked), route)


@pytest.mark.parametrize(
    ("route", "asked", "size"),
    [
        (FLUX, {}, (1024, 768)),
        (FLUX, {"width": 512, "height": 512}, (512, 512)),
        (FLUX, {"width": 512}, (512, 768)),  # the other edge is the model's own
        (FLUX, {"height": 512}, (1024, 512)),
        (FLUX, {"width": 512, "aspect_ratio": "1:1"}, (512, 512)),
        (FLUX, {"height": 720, "aspect_ratio": "16:9"}, (1280, 720)),
        (FLUX, {"aspect_ratio": "1:1"}, (888, 888)),  # the area of 1024x768
        (FLUX, {"resolution": "1K", "aspect_ratio": "1:1"}, (1024, 1024)),
        (FLUX, {"resolution": "1K"}, (1184, 888)),  # 4:3, as the default
        (FLUX, {"resolution": "2K", "aspect_ratio": "1:1"}, (2048, 2048)),
        (GLM, {"aspect_ratio": "16:9"}, (1376, 768)),
        (MINI, {"aspect_ratio": "3:1"}, (443, 148)),
        (LORA_EDIT, {"width": 512}, (512, 768)),
    ],
)
def test_a_size_follows_from_what_was_asked(
    route: Route, asked: dict[str, Any], size: tuple[int, int]
) -> None:
    found = plan(route, **asked)
    assert (found.width, found.height) == size
    assert found.problem is None
    assert found.overruled == {}


@pytest.mark.parametrize(
    ("route", "asked", "nearest", "moved"),
    [
        (FLUX, {"width": 4096, "height": 512}, (2048, 512), ("width",)),
        (FLUX, {"width": 1001, "height": 16}, (1000, 64), ("width", "height")),
        (FLUX, {"resolution": "4K"}, (2048, 2048), ("width", "height")),
        (GLM, {"width": 1000, "height": 1024}, (992, 1024), ("width",)),
        (GLM, {"width": 1024, "height": 500}, (1024, 512), ("height",)),
        (MINI, {"aspect_ratio": "20:1"}, (1024, 64), ("width", "height")),
    ],
)
def test_a_size_that_the_route_has_not(
    route: Route, asked: dict[str, Any], nearest: tuple[int, int], moved: tuple[str, ...]
) -> None:
    found = plan(route, **asked)
    assert (found.width, found.height, found.moved) == (*nearest, moved)
    assert f"the nearest is {nearest[0]}x{nearest[1]}" in found.problem
    assert str(route.size.multiple_of) in found.allowed


@pytest.mark.parametrize(
    ("asked", "overruled"),
    [
        ({"width": 1024, "height": 1024, "aspect_ratio": "16:9"}, {"aspect_ratio": "1024x1024 is not 16:9"}),
        ({"width": 512, "height": 512, "resolution": "2K"}, {"resolution": "512x512 is not 2K"}),
        ({"width": 512, "resolution": "4K"}, {"resolution": "512x768 is not 4K"}),
        ({"width": 1360, "height": 768, "aspect_ratio": "16:9"}, {}),  # near enough
        ({"width": 1280, "height": 720, "resolution": "1K"}, {}),
        ({"width": 1024, "aspect_ratio": "16:9", "resolution": "1K"}, {}),
    ],
)
def test_edges_overrule_what_they_contradict(asked: dict[str, Any], overruled: dict[str, str]) -> None:
    assert plan(FLUX, **asked).overruled == overruled


@pytest.mark.parametrize(
    ("route", "sent"),
    [
        (FLUX, {"image_size": {"width": 512, "height": 512}}),
        (MINI, {"width": 512, "height": 512}),
    ],
)
def test_each_style_is_spelled_its_way(route: Route, sent: dict[str, Any]) -> None:
    assert plan(route, width=512, height=512).sent == sent


def test_an_endpoint_without_sizes_gets_none() -> None:
    found = plan(EDIT, width=512, height=512)
    assert (found.unsupported, found.sent, found.width, found.height) == (True, {}, None, None)


def test_an_edit_follows_its_image_unless_asked() -> None:
    found = plan(LORA_EDIT)
    assert (found.sent, found.width, found.unsupported) == ({}, None, False)


@pytest.mark.parametrize(
    ("route", "word", "spelled", "how", "sent_as", "sent"),
    [
        (MINI, "width", "width", "exact", "width", 256),
        (MINI, "width", "w", "alias", "width", 256),
        (MINI, "size", "size", "converted", "width, height", "256x256"),
        (MINI, "aspect_ratio", "aspect_ratio", "converted", "width, height", "256x256"),
        (FLUX, "width", "width", "converted", "image_size", {"width": 256, "height": 256}),
        (FLUX, "size", "image_size", "converted", "image_size", {"width": 256, "height": 256}),
    ],
)
def test_a_word_is_told_how_it_went(
    route: Route, word: str, spelled: str, how: str, sent_as: str, sent: Any
) -> None:
    found = plan(route, width=256, height=256)
    assert (found.how(word, spelled), found.sent_as(word), found.sent_value(word)) == (how, sent_as, sent)


@pytest.mark.parametrize(
    ("asked", "how"),
    [
        ({}, None),
        ({"width": 256, "height": 256}, None),
        ({"width": 576, "height": 192}, None),
        ({"width": 1024, "height": 1024}, "drawn at 256x256, which this model draws itself, then scaled"),
        ({"width": 900, "height": 300}, "drawn at 576x192, which this model draws itself, then scaled"),
        (
            {"aspect_ratio": "16:9"},
            "drawn at 320x192, which this model draws itself, then cut to its proportions and scaled",
        ),
    ],
)
def test_a_size_that_the_weights_do_not_draw_is_made_of_one_that_they_do(
    asked: dict[str, Any], how: str | None
) -> None:
    assert plan(MINI_TEXT, **asked).emulated == how


def test_what_is_made_of_a_picture_is_not_cut() -> None:
    assert "cut" not in plan(MINI, width=640, height=360).emulated
    assert plan(FLUX, width=640, height=360).emulated is None
