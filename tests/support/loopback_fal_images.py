"""The pictures of the loopback fal: whole ones of the asked size, and every kind of broken one."""

import io
import struct
import zlib

from PIL import Image

SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="64" height="64"><script>alert(1)</script></svg>'
HTML = b"<!doctype html><title>Sign in</title>"


def picture(width: int, height: int, kind: str = "png", shade: int = 0) -> bytes:
    """A whole PNG or JPEG of that size in pixels."""
    out = io.BytesIO()
    Image.new("RGB", (width, height), (shade % 256, 90, 160)).save(out, kind.upper())
    return out.getvalue()


def size_of(data: bytes) -> tuple[int, int] | None:
    """Width and height of an uploaded picture; None when it is none."""
    try:
        return Image.open(io.BytesIO(data)).size
    except OSError:
        return None


def bomb() -> bytes:
    """A small PNG that says it is 40,000 pixels on each edge."""
    head = struct.pack(">IIBBBBB", 40_000, 40_000, 8, 2, 0, 0, 0)
    rows = zlib.compress(bytes(1 << 20), 9)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", head) + _chunk(b"IDAT", rows) + _chunk(b"IEND", b"")


def broken(fault: str, width: int, height: int, kind: str) -> tuple[bytes, str]:
    """The bytes and content type of a picture with that fault."""
    whole = picture(width, height, kind)
    faults = {
        "image_html": (HTML, "text/html"),
        "image_truncated": (whole[: len(whole) // 2], f"image/{kind}"),
        "image_other_size": (picture(width // 2, height // 2, kind), f"image/{kind}"),
        "image_svg": (SVG, "image/svg+xml"),
        "image_bomb": (bomb(), "image/png"),
        "image_empty": (b"", f"image/{kind}"),
    }
    return faults[fault]


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def vector(width: int, height: int) -> bytes:
    """An SVG as Recraft makes them: a size, a view box, paths."""
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<svg xmlns="http://www.w3.org/2000/svg" version="1.1" '
        f'style="display: block;" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'preserveAspectRatio="none">\n<path transform="translate(0,0)" fill="rgb(225,69,56)" d="M 0 0 L 64 0 L 64 64 z"/>'
        '\n<linearGradient id="g"><stop offset="0" stop-color="#fff"/></linearGradient>'
        '<rect width="9" height="9" fill="url(#g)"/></svg>\n'
    ).encode()
