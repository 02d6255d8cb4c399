"""Is this really a whole picture? Looked at by its container, without decoding a pixel.

A provider's image is stored as it came: decoding 1024x1024 costs 23 ms and encoding 70 and
more, so what is checked is what a broken download or a wrong answer breaks: the magic, the
dimensions, every checksum that the format has, and the end marker.
Formats: PNG (W3C PNG 3rd edition, sections 5 and 11), JPEG (ITU T.81, annex B), WebP (RFC 9649).
"""

import re
import struct
import zlib

from msgspec import Struct

__all__ = ["BrokenImage", "Verified", "extension_of", "find_image", "sane", "verify_image"]

MAX_EDGE = 16_384
MAX_PIXELS = 100_000_000


class BrokenImage(Exception):
    """The bytes are no whole picture of a kind that we pass on; the message says why."""


class Verified(Struct, frozen=True, kw_only=True):
    """What the container says."""

    content_type: str
    extension: str
    width: int
    height: int


def extension_of(content_type: str) -> str:
    """What a file of a picture's type is called by: `png`, `jpeg`, `webp`, `svg`."""
    return content_type.partition("/")[2].partition("+")[0]


def verify_image(data: bytes) -> Verified:
    """Check a picture's container from end to end.

    Raises:
        BrokenImage: empty, another format, cut short, a bad checksum, absurd dimensions, or bytes
            after its end.
    """
    verified, end = find_image(data)
    if end != len(data):
        raise BrokenImage(f"{len(data) - end} bytes follow the picture's end")
    return verified


def find_image(data: bytes) -> tuple[Verified, int]:
    """Check the container of the picture that the bytes begin with.

    Returns:
        What it says, and how many bytes it has; what follows them was not looked at.

    Raises:
        BrokenImage: as `verify_image`, but for bytes after its end.
    """
    if not data:
        raise BrokenImage("it is empty")
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        width, height, end = _png(data)
        return sane("image/png", "png", width, height), end
    if data.startswith(b"\xff\xd8\xff"):
        width, height, end = _jpeg(data)
        return sane("image/jpeg", "jpg", width, height), end
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        end = struct.unpack_from("<I", data, 4)[0] + 8
        return sane("image/webp", "webp", *_webp(data, end)), end
    raise BrokenImage(f"it starts with {data[:8]!r}, which is no PNG, JPEG or WebP")


def sane(content_type: str, extension: str, width: int, height: int) -> Verified:
    """What a container says, if its size can be believed.

    Raises:
        BrokenImage: it cannot.
    """
    if not (0 < width <= MAX_EDGE and 0 < height <= MAX_EDGE and width * height <= MAX_PIXELS):
        raise BrokenImage(f"{width}x{height} pixels are not believable")
    return Verified(content_type=content_type, extension=extension, width=width, height=height)


def _png(data: bytes) -> tuple[int, int, int]:
    """Width, height and length."""
    at, size, pixels = 8, (0, 0), 0
    while True:
        if at + 12 > len(data):
            raise BrokenImage("the PNG is cut short")
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length
        if end > len(data):
            raise BrokenImage("the PNG is cut short")
        if zlib.crc32(data[at + 4 : end - 4]) != struct.unpack_from(">I", data, end - 4)[0]:
            raise BrokenImage(f"the PNG's {kind.decode('latin-1')} chunk has a wrong checksum")
        if at == 8:
            if kind != b"IHDR" or length != 13:
                raise BrokenImage("the PNG does not start with its header")
            size = struct.unpack_from(">II", data, at + 8)
        pixels += length if kind == b"IDAT" else 0
        if kind == b"IEND":
            break
        at = end
    if not pixels:
        raise BrokenImage("the PNG has no pixels")
    if length:
        raise BrokenImage("the PNG's end chunk is not empty")
    return *size, end


# Start-of-frame markers; C4 (tables), C8 (reserved) and CC (coding) lie between them.
JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
JPEG_ALONE = frozenset({0x01, *range(0xD0, 0xD8)})
# In a scan's data an FF is followed by 00 or is a restart; anything else ends the scan.
JPEG_SCAN_END = re.compile(rb"\xff+[^\x00\xff\xd0-\xd7]")


def _jpeg(data: bytes) -> tuple[int, int, int]:
    """Width, height and length."""
    at, size, scans = 2, (0, 0), 0
    while True:
        marker, end = _jpeg_segment(data, at)
        if marker == 0xD9:
            break
        if marker in JPEG_FRAMES and end - at >= 9:
            height, width = struct.unpack_from(">HH", data, at + 5)
            size = (width, height)
        if marker == 0xDA:
            scans += 1
            found = JPEG_SCAN_END.search(data, end)
            if found is None:
                raise BrokenImage("the JPEG is cut short: its end marker is missing")
            end = found.end() - 2
        at = end
    if size == (0, 0) or not scans:
        raise BrokenImage("the JPEG has no picture")
    return *size, end


def _jpeg_segment(data: bytes, at: int) -> tuple[int, int]:
    """The marker of the segment at `at`, and where the segment ends."""
    if at + 2 > len(data) or data[at] != 0xFF:
        raise BrokenImage("the JPEG is cut short")
    marker = data[at + 1]
    if marker == 0xFF:  # a fill byte
        return marker, at + 1
    if marker == 0xD9 or marker in JPEG_ALONE:
        return marker, at + 2
    length = struct.unpack_from(">H", data, at + 2)[0] if at + 4 <= len(data) else 0
    if length < 2 or at + 2 + length > len(data):
        raise BrokenImage("the JPEG is cut short")
    return marker, at + 2 + length


def _webp(data: bytes, end: int) -> tuple[int, int]:
    if end < 30 or end > len(data):
        raise BrokenImage("the WebP is cut short")
    kind, *rest = _riff_chunks(data, end)
    if kind == b"VP8X" and {b"VP8 ", b"VP8L", b"ANMF"} & set(rest):
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if kind == b"VP8 " and data[23:26] == b"\x9d\x01\x2a":
        width, height = struct.unpack_from("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF
    if kind == b"VP8L" and data[20] == 0x2F:
        bits = struct.unpack_from("<I", data, 21)[0]
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    raise BrokenImage("the WebP has no picture")


def _riff_chunks(data: bytes, end: int) -> list[bytes]:
    """The names of the chunks, which must fill the picture to its end."""
    at, names = 12, []
    while at < end:
        if at + 8 > end:
            raise BrokenImage("the WebP is cut short")
        name, length = struct.unpack_from("<4sI", data, at)
        names.append(name)
        at += 8 + length + length % 2
    if at != end:
        raise BrokenImage("the WebP is cut short")
    return names
