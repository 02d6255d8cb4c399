"""Whole pictures pass with their size; anything else is refused."""

import io
import struct
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from support.scripted_provider import picture

from gateway.verify import BrokenImage, find_image, verify_image

SIZE = (96, 40)


def saved(kind: str, mode: str = "RGB", size: tuple[int, int] = SIZE, **options: object) -> bytes:
    out = io.BytesIO()
    Image.effect_noise(size, 80).convert(mode).save(out, kind, **options)
    return out.getvalue()


def exif() -> Image.Exif:
    found = Image.Exif()
    found[0x010E] = "a description"
    return found


GOOD = {
    "png": saved("PNG"),
    "png-rgba": saved("PNG", "RGBA"),
    "png-palette": saved("PNG", "P", optimize=True),
    "png-16": saved("PNG", "I;16"),
    "jpeg": saved("JPEG"),
    "jpeg-progressive": saved("JPEG", progressive=True),
    "jpeg-restarts": saved("JPEG", restart_marker_blocks=2),
    "jpeg-exif": saved("JPEG", exif=exif()),
    "jpeg-grey": saved("JPEG", "L"),
    "webp": saved("WEBP"),
    "webp-lossless": saved("WEBP", lossless=True),
    "webp-alpha": saved("WEBP", "RGBA"),
    "webp-exif": saved("WEBP", exif=exif()),
    "webp-animated": saved("WEBP", save_all=True, append_images=[Image.new("RGB", SIZE, "red")]),
}
TYPES = {"png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp"}
SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="1" height="1"/>'
HTML = b"<!doctype html><title>x</title>"


def refused(data: bytes) -> bool:
    try:
        verify_image(data)
    except BrokenImage:
        return True
    return False


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width: int, height: int, *more: bytes) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(more) + chunk(b"IEND", b"")


@pytest.mark.parametrize("name", GOOD)
def test_a_whole_picture(name) -> None:
    found = verify_image(GOOD[name])
    assert (found.width, found.height) == SIZE
    assert found.content_type == TYPES[name.split("-")[0]]


@pytest.mark.parametrize("size", [(1, 1), (3, 500), (512, 2)])
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_odd_sizes(kind, size) -> None:
    found = verify_image(saved(kind, size=size))
    assert (found.width, found.height) == size


@pytest.mark.parametrize("name", GOOD)
def test_cut_short(name) -> None:
    data = GOOD[name]
    cuts = {*range(0, len(data), 64), *range(40), *range(len(data) - 20, len(data))}
    assert [cut for cut in cuts if not refused(data[:cut])] == []


TAILS = [b"\x00", b"\n", HTML, b"PK\x03\x04", b"\xff\xd9", HTML + b"\xff\xd9"]


@pytest.mark.parametrize("tail", TAILS)
@pytest.mark.parametrize("name", GOOD)
def test_bytes_behind_the_end(name, tail) -> None:
    assert refused(GOOD[name] + tail)


@pytest.mark.parametrize("tail", [b"", *TAILS, GOOD["jpeg"], GOOD["png"], GOOD["webp"]])
@pytest.mark.parametrize("name", GOOD)
def test_where_a_picture_ends(name, tail) -> None:
    found, end = find_image(GOOD[name] + tail)
    assert end == len(GOOD[name])
    assert found == verify_image(GOOD[name])


@pytest.mark.parametrize("name", [name for name in GOOD if name.startswith("png")])
def test_a_flipped_byte_in_a_png(name) -> None:
    data = GOOD[name]
    kept = [at for at in range(0, len(data), 7) if not refused(_flip(data, at))]
    assert kept == []


def _flip(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 0x20]) + data[at + 1 :]


@given(st.sampled_from(sorted(GOOD)), st.data())
@settings(max_examples=300, deadline=None)
def test_any_cut_is_refused(name, draw) -> None:
    data = GOOD[name]
    start = draw.draw(st.integers(0, len(data) - 1))
    end = draw.draw(st.integers(start + 1, len(data)))
    if name.startswith("png") or start < 12:
        assert refused(data[:start] + data[end:])
    assert refused(data[:start])


@given(st.binary(max_size=400), st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF"]))
@settings(max_examples=300, deadline=None)
def test_noise_is_refused_and_never_breaks(noise, magic) -> None:
    assert refused(magic + noise)


@pytest.mark.parametrize(
    "data",
    [b"", b"x", HTML, SVG, b'{"error":"busy"}', saved("GIF", "P"), saved("BMP"), saved("TIFF"), saved("ICO"),
     b"%PDF-1.7", GOOD["png"][1:], b"\x00" + GOOD["png"], GOOD["jpeg"].replace(b"\xff\xd8", b"\xff\xd7", 1),
     GOOD["webp"].replace(b"WEBP", b"WAVE")],
)  # fmt: skip
def test_no_picture_of_ours(data) -> None:
    assert refused(data)


@pytest.mark.parametrize(
    ("width", "height"), [(20_000, 20_000), (0, 5), (5, 0), (16_385, 1), (1 << 31, 1), (12_000, 12_000)]
)
def test_sizes_that_nobody_means(width, height) -> None:
    assert refused(png(width, height, chunk(b"IDAT", b"x")))


def test_a_png_made_by_hand_passes() -> None:
    assert verify_image(png(20, 30, chunk(b"IDAT", b"x"))).width == 20


@pytest.mark.parametrize(
    "data",
    [
        png(2, 2),  # no pixels
        b"\x89PNG\r\n\x1a\n" + chunk(b"IDAT", b"x") + chunk(b"IEND", b""),  # no header
        png(2, 2, chunk(b"IDAT", b"x"), chunk(b"IEND", b""), HTML),
        png(2, 2, chunk(b"IDAT", b"x"))[:-12] + chunk(b"IEND", HTML),
        b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 0xFFFFFFFF) + b"IHDR" + b"x" * 40,
        b"\xff\xd8\xff\xd9",
        b"\xff\xd8" + b"\xff" * 1000,
        b"\xff\xd8\xff\xe0\x00\x00" * 5,
        b"RIFF" + struct.pack("<I", 22) + b"WEBPVP8X" + struct.pack("<I", 10) + bytes(10),
    ],
)
def test_containers_that_lie(data) -> None:
    assert refused(data)


def test_a_page_between_a_jpegs_parts_is_refused() -> None:
    data = GOOD["jpeg"]
    assert refused(data[:2] + HTML + data[2:])


def test_the_helper_makes_pictures() -> None:
    assert verify_image(picture(8, 9)).height == 9
