"""Finished files: of the right size, in sRGB, the same for the same picture."""

import io
import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from templates.formats import CONTENT_TYPES, encode

poppler = pytest.mark.skipif(
    shutil.which("pdfinfo") is None and not os.environ.get("CI"), reason="poppler-utils is not installed"
)
NAMES = {"image/png": "PNG", "image/jpeg": "JPEG", "image/webp": "WEBP"}


def picture(mode: str = "RGB") -> Image.Image:
    drawn = Image.radial_gradient("L").resize((120, 90))
    found = Image.merge("RGB", (drawn, drawn.rotate(90), Image.linear_gradient("L").resize((120, 90))))
    found.info["exif"] = b"Exif\x00\x00of a camera"
    if mode == "RGBA":
        found.putalpha(Image.linear_gradient("L").resize((120, 90)))
    return found


@pytest.mark.parametrize("form", ["png", "jpeg", "webp"])
def test_size_type_and_no_metadata(form: str) -> None:
    data = encode(picture(), form, dpi=300)  # type: ignore[arg-type]
    read = Image.open(io.BytesIO(data))
    assert (read.format, read.size, read.mode) == (NAMES[CONTENT_TYPES[form]], (120, 90), "RGB")
    assert b"of a camera" not in data
    apart = np.abs(np.asarray(read, dtype=int) - np.asarray(picture(), dtype=int))
    assert apart.mean() <= {"png": 0, "jpeg": 1, "webp": 3}[form]
    assert encode(picture(), form, dpi=300) == data  # type: ignore[arg-type]


def test_each_says_that_it_is_srgb() -> None:
    png = encode(picture(), "png")
    assert b"\x00\x00\x00\x01sRGB\x00" in png
    assert png.index(b"sRGB") < png.index(b"IDAT")
    for form in ("jpeg", "webp"):
        profile = Image.open(io.BytesIO(encode(picture(), form))).info["icc_profile"]  # type: ignore[arg-type]
        assert "sRGB" in ImageCms.getProfileName(ImageCms.ImageCmsProfile(io.BytesIO(profile)))
    assert b"/ICCBased" in encode(picture(), "pdf")


def test_jpeg_keeps_all_colour_and_its_resolution() -> None:
    read = Image.open(io.BytesIO(encode(picture(), "jpeg", dpi=200)))
    assert [layer[1:3] for layer in read.layer] == [(1, 1)] * 3  # type: ignore[attr-defined]
    assert read.info["dpi"] == (200, 200)


def test_clear_pixels_are_kept_or_become_white() -> None:
    clear = Image.new("RGBA", (20, 10), (255, 0, 0, 0))
    for form in ("png", "webp"):
        assert Image.open(io.BytesIO(encode(clear, form))).convert("RGBA").getextrema()[3] == (0, 0)  # type: ignore[arg-type]
    assert Image.open(io.BytesIO(encode(clear, "jpeg"))).getextrema() == ((255, 255),) * 3


@poppler
@pytest.mark.parametrize(("dpi", "points"), [(150, (57.6, 43.2)), (72, (120.0, 90.0)), (300, (28.8, 21.6))])
def test_a_pdf_is_one_page_of_the_pictures_measure(
    tmp_path: Path, dpi: int, points: tuple[float, float]
) -> None:
    file = tmp_path / "picture.pdf"
    file.write_bytes(encode(picture(), "pdf", dpi))
    told = subprocess.run(["pdfinfo", file], capture_output=True, text=True, check=True)
    assert told.stderr == ""
    assert re.search(r"Pages:\s+1\n", told.stdout)
    size = re.search(r"Page size:\s+([\d.]+) x ([\d.]+) pts", told.stdout)
    assert size is not None
    assert (float(size[1]), float(size[2])) == pytest.approx(points, abs=0.01)
    assert "Date" not in told.stdout


@poppler
def test_a_pdf_holds_each_pixel_and_shows_it(tmp_path: Path) -> None:
    file = tmp_path / "picture.pdf"
    file.write_bytes(encode(picture("RGBA"), "pdf", 150))
    white = Image.alpha_composite(Image.new("RGBA", (120, 90), "white"), picture("RGBA")).convert("RGB")
    subprocess.run(["pdfimages", "-png", file, tmp_path / "held"], check=True)
    held = Image.open(tmp_path / "held-000.png").convert("RGB")
    assert np.array_equal(np.asarray(held), np.asarray(white))
    subprocess.run(["pdftoppm", "-r", "150", "-png", "-singlefile", file, tmp_path / "page"], check=True)
    seen = np.asarray(Image.open(tmp_path / "page.png").convert("RGB"), dtype=int)
    assert seen.shape == (90, 120, 3)
    # A page is drawn with half a pixel of slack, so that edges differ.
    assert np.abs(seen - np.asarray(white, dtype=int)).mean() <= 3
    assert encode(picture("RGBA"), "pdf", 150) == file.read_bytes()
