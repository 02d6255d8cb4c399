"""What an image costs at a size."""

from decimal import Decimal

import msgspec
import pytest

from registry.prices import MEGAPIXEL, image_dollars, megapixels
from registry.schema import Price


@pytest.mark.parametrize(
    ("width", "height", "count"),
    [
        (1, 1, 1),
        (512, 512, 1),
        (1024, 1024, 1),
        (1024, 1025, 2),
        (1448, 1448, 2),
        (2048, 2048, 4),
        (14142, 14142, 191),
    ],
)
def test_megapixels_round_up(width: int, height: int, count: int) -> None:
    assert megapixels(width, height) == count
    assert (count - 1) * MEGAPIXEL < width * height <= count * MEGAPIXEL


@pytest.mark.parametrize(
    ("row", "size", "dollars"),
    [
        ({"per_image": "0.05"}, (2048, 2048), "0.05"),
        ({"per_megapixel": "0.03"}, (1024, 768), "0.03"),
        ({"per_megapixel": "0.03"}, (1024, 1025), "0.06"),
        ({"per_gpu_second": "0.000542", "typical_seconds": "60"}, (64, 64), "0.032520"),
        ({"per_image": 0}, (64, 64), "0"),
        ({"per_image": 0.1}, (64, 64), "0.1"),
    ],
)
def test_an_image_costs(row: dict[str, str], size: tuple[int, int], dollars: str) -> None:
    assert image_dollars(msgspec.convert(row, Price), *size) == Decimal(dollars)


@pytest.mark.parametrize(
    "row",
    [
        {},
        {"per_image": "1", "per_gpu_second": "1", "typical_seconds": "1"},
        {"per_image": "-0.01"},
        {"per_image": "NaN"},
        {"per_image": "Infinity"},
        {"per_image": "1", "typical_seconds": "1"},
        {"per_gpu_second": "1"},
        {"per_gpu_second": "1", "typical_seconds": "0"},
        {"per_gpu_second": "1", "typical_seconds": "NaN"},
        {"per_image": True},
        {"per_image": "1", "round": "down"},
    ],
)
def test_what_is_no_price(row: dict[str, object]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(row, Price)
