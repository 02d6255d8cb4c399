"""The nearest of a few shapes, grades or sizes."""

from typing import Any

import pytest

from providers.sizing import plan_size
from registry.inputs import UnifiedInputs
from registry.load import load_registry
from registry.schema import Route, SizeRule

MODELS = load_registry().models
BANANA = MODELS["nano-banana"].routes[1]  # ten shapes, about a megapixel
PRO = MODELS["nano-banana-pro"].routes[1]  # the same, in 1K, 2K and 4K
GPT = MODELS["gpt-image-1.5"].routes[1]  # three sizes
GPT_2 = MODELS["gpt-image-2"].routes[1]  # limits of the whole picture
EDIT = MODELS["nano-banana"].routes[0]  # follows the image unless asked


def plan(route: Route, **asked: Any) -> Any:
    return plan_size(UnifiedInputs(**asked), route)


@pytest.mark.parametrize(
    ("route", "asked", "sent", "about"),
    [
        (BANANA, {}, {"aspect_ratio": "1:1"}, (1024, 1024)),
        (BANANA, {"aspect_ratio": "16:9"}, {"aspect_ratio": "16:9"}, (1360, 768)),
        (BANANA, {"width": 1366, "height": 768}, {"aspect_ratio": "16:9"}, (1360, 768)),
        (BANANA, {"width": 1024, "height": 768}, {"aspect_ratio": "4:3"}, (1184, 880)),
        (BANANA, {"resolution": "1K"}, {"aspect_ratio": "1:1"}, (1024, 1024)),
        (BANANA, {"aspect_ratio": "32:18"}, {"aspect_ratio": "16:9"}, (1360, 768)),
        (PRO, {}, {"aspect_ratio": "1:1", "resolution": "1K"}, (1024, 1024)),
        (PRO, {"resolution": "4K"}, {"aspect_ratio": "1:1", "resolution": "4K"}, (4096, 4096)),
        (PRO, {"width": 2048, "height": 2048}, {"aspect_ratio": "1:1", "resolution": "2K"}, (2048, 2048)),
        (PRO, {"width": 1920, "height": 1080}, {"aspect_ratio": "16:9", "resolution": "2K"}, (2736, 1536)),
        (PRO, {"width": 3840, "height": 2160}, {"aspect_ratio": "16:9", "resolution": "4K"}, (5456, 3072)),
        (PRO, {"width": 2560, "height": 1440}, {"aspect_ratio": "16:9", "resolution": "2K"}, (2736, 1536)),
        (GPT, {}, {"image_size": "1024x1024"}, (1024, 1024)),
        (GPT, {"aspect_ratio": "3:2"}, {"image_size": "1536x1024"}, (1536, 1024)),
        (GPT, {"width": 1024, "height": 1536}, {"image_size": "1024x1536"}, (1024, 1536)),
        (EDIT, {}, {}, (None, None)),
        (EDIT, {"aspect_ratio": "3:2"}, {"aspect_ratio": "3:2"}, (1248, 832)),
    ],
)
def test_what_it_has(
    route: Route, asked: dict[str, Any], sent: dict[str, str], about: tuple[int, int]
) -> None:
    found = plan(route, **asked)
    assert (found.sent, found.problem) == (sent, None)
    assert (found.width, found.height) == about
    edges = asked.keys() & {"width", "height"}
    takes_shapes = route.size.style == "aspect_ratio"
    differs = edges and (asked["width"], asked["height"]) != about
    assert (found.note is not None) == bool(takes_shapes and differs)


@pytest.mark.parametrize(
    ("route", "asked", "sent", "said", "moved"),
    [
        (
            BANANA,
            {"aspect_ratio": "3:1"},
            {"aspect_ratio": "21:9"},
            "3:1 is not a shape of this model; the nearest is 21:9",
            "aspect_ratio",
        ),
        (BANANA, {"resolution": "4K"}, {"aspect_ratio": "1:1"}, "4K is not an area", "resolution"),
        (BANANA, {"width": 256, "height": 256}, {"aspect_ratio": "1:1"}, "256x256 is not an area", "width"),
        (
            PRO,
            {"resolution": "0.5K"},
            {"aspect_ratio": "1:1", "resolution": "1K"},
            "0.5K is not an area",
            "resolution",
        ),
        (
            GPT,
            {"aspect_ratio": "16:9"},
            {"image_size": "1536x1024"},
            "the nearest is 1536x1024",
            "aspect_ratio",
        ),
        (
            GPT,
            {"width": 1000, "height": 1000},
            {"image_size": "1024x1024"},
            "the nearest is 1024x1024",
            "width",
        ),
    ],
)
def test_what_it_has_not(
    route: Route, asked: dict[str, Any], sent: dict[str, str], said: str, moved: str
) -> None:
    found = plan(route, **asked)
    assert found.sent == sent
    assert said in found.problem
    assert moved in found.moved
    assert found.allowed.startswith("one of ")
    assert "on_unsupported" in found.allowed


@pytest.mark.parametrize(
    ("asked", "size"),
    [
        ((1280, 720), (1280, 720)),  # within all limits
        ((512, 512), (816, 816)),  # too few pixels in all
        ((3840, 3840), (2880, 2880)),  # too many
        ((3840, 480), (1440, 480)),  # too long
    ],
)
def test_limits_of_the_whole_picture(asked: tuple[int, int], size: tuple[int, int]) -> None:
    found = plan(GPT_2, width=asked[0], height=asked[1])
    assert (found.width, found.height) == size
    assert (found.problem is None) == (asked == size)
    if asked != size:
        assert "655360 to 8294400 in all, edges at most 3:1" in found.allowed


@pytest.mark.parametrize(
    "row",
    [
        {"style": "aspect_ratio"},
        {"style": "image_size", "choices": ("1:1",)},
        {"style": "aspect_ratio", "choices": ("wide",)},
        {"style": "choice", "choices": ("16:9",)},
        {"style": "choice", "choices": ("64x64",), "resolutions": ("1K",)},
        {"style": "aspect_ratio", "choices": ("1:1",), "resolutions": ("8K",)},
        {"style": "image_size", "send": "size"},
        {"style": "image_size", "min_pixels": 9, "max_pixels": 8},
    ],
)
def test_a_rule_that_makes_no_sense(row: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"choices|ratio|size|resolutions|send|min|none of"):
        SizeRule(**row)
