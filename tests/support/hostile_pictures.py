"""Files that say they are a picture and must not be kept."""

import io
import os
import struct
import sys
import zlib
from pathlib import Path

from PIL import Image

__all__ = ["GOOD", "HOSTILE", "chunk", "encode", "noise"]


def encode(picture: Image.Image, kind: str, **more) -> bytes:
    out = io.BytesIO()
    picture.save(out, kind, **more)
    return out.getvalue()


def noise(mode: str = "RGB", size: tuple[int, int] = (64, 48)) -> Image.Image:
    return Image.effect_noise(size, 80).convert(mode)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, data: bytes, *more: bytes, depth: int = 8, colour: int = 0) -> bytes:
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return (
        b"\x89PNG\r\n\x1a\n"
        + head
        + b"".join(more)
        + chunk(b"IDAT", zlib.compress(data))
        + chunk(b"IEND", b"")
    )


def bomb(width: int, height: int) -> bytes:
    """A small file of many pixels, one bit each."""
    packer = zlib.compressobj(9)
    row = b"\0" * ((width + 7) // 8 + 1)
    data = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", data) + chunk(b"IEND", b"")


GOOD = {kind: encode(noise(), kind) for kind in ("PNG", "JPEG", "WEBP")}
FRAMES = {"save_all": True, "append_images": [noise()], "duration": 50}
SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><script>alert(1)</script></svg>'
HOSTILE = {
    "nothing": b"",
    "text": b"hello",
    "html": b"<!doctype html><script>alert(1)</script>",
    "svg": SVG,
    "svg with a prologue": b'<?xml version="1.0"?>' + SVG,
    "zip": b"PK\x03\x04" + b"\0" * 100,
    "a program": Path(sys.executable).read_bytes()[:100_000],
    "random": os.urandom(10_000),
    **{kind.lower(): encode(noise(), kind) for kind in ("GIF", "BMP", "TIFF", "ICO", "PPM", "TGA", "AVIF")},
    **{f"{kind} cut in half": data[: len(data) // 2] for kind, data in GOOD.items()},
    **{f"{kind} without its last byte": data[:-1] for kind, data in GOOD.items()},
    **{f"{kind} head alone": data[:40] for kind, data in GOOD.items()},
    **{f"{kind} after a page": b"<html>" + data for kind, data in GOOD.items()},
    # Of a WebP no container could tell: its length is in its head, and it has no checksum.
    **{f"half a {kind} and a whole one": GOOD[kind][: len(GOOD[kind]) // 2] + GOOD[kind] for kind in ("PNG", "JPEG")},
    "animated png": encode(noise(), "PNG", **FRAMES),
    "animated webp": encode(noise(), "WEBP", **FRAMES),
    "wrong checksum": GOOD["PNG"][:60] + bytes([GOOD["PNG"][60] ^ 1]) + GOOD["PNG"][61:],
    "20000 x 20000 by its header": png(20_000, 20_000, b"\0" * 1000),
    "8000 x 8000 by its header": png(8_000, 8_000, b"\0" * 1000),
    "2^31 x 1": png(2**31 - 1, 1, b"\0" * 100),
    "0 x 5": png(0, 5, b"\0" * 100),
    "12000 x 12000": bomb(12_000, 12_000),
    "7500 x 7500": bomb(7_500, 7_500),
    "fewer pixels than it says": png(600, 600, b"\0" * 100),
    "pixels that do not unpack": GOOD["PNG"][:8] + GOOD["PNG"][8:33] + chunk(b"IDAT", b"no") + chunk(b"IEND", b""),
    "a text bomb": png(9, 9, b"\0" * 100, chunk(b"zTXt", b"k\0\0" + zlib.compress(b"\0" * 90_000_000))),
    "a profile bomb": png(9, 9, b"\0" * 100, chunk(b"iCCP", b"k\0\0" + zlib.compress(b"\0" * 90_000_000))),
    "an unknown depth": png(9, 9, b"\0" * 100, depth=3),
    "an unknown colour": png(9, 9, b"\0" * 400, colour=5),
    "webp of nothing": b"RIFF\x16\0\0\0WEBPVP8 \x0a\0\0\0" + b"\0" * 10,
}  # fmt: skip
