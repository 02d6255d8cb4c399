"""Finished pictures as files: PNG, JPEG, WebP and PDF, in sRGB, the same bytes for the same picture."""

import io
import struct
from functools import cache
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["CONTENT_TYPES", "encode"]

Format = Literal["png", "jpeg", "webp", "pdf"]

CONTENT_TYPES: dict[str, str] = {
    "png": "image/png",
    "jpeg": "image/jpeg",
    "webp": "image/webp",
    "pdf": "application/pdf",
}
JPEG_QUALITY = 92
WEBP_QUALITY = 90
POINTS_PER_INCH = 72


def encode(picture: "Image", form: Format, dpi: int = 150) -> bytes:
    """The file of a picture, RGB or RGBA.

    Args:
        picture: what is written; nothing of its own metadata is.
        form: JPEG and PDF have no alpha: what is clear becomes white.
        dpi: pixels per inch: what a PDF's page measures, and what PNG and JPEG say.
    """
    if form == "png":
        return _png(picture, dpi)
    if form == "webp":
        target = io.BytesIO()
        picture.save(
            target,
            "WEBP",
            quality=WEBP_QUALITY,
            method=4,
            use_sharp_yuv=True,  # words in a colour keep their edges
            icc_profile=_profile(),
            exif=b"",
        )
        return target.getvalue()
    opaque = over_white(picture)
    if form == "pdf":
        return _pdf(opaque, dpi)
    target = io.BytesIO()
    opaque.save(
        target,
        "JPEG",
        quality=JPEG_QUALITY,
        subsampling=0,
        optimize=True,
        dpi=(dpi, dpi),
        icc_profile=_profile(),
        exif=b"",
    )
    return target.getvalue()


def over_white(picture: "Image") -> "Image":
    """The picture without alpha: what is clear shows white."""
    from PIL import Image

    if picture.mode == "RGB":
        return picture
    shown = picture.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", shown.size, "white"), shown).convert("RGB")


def _png(picture: "Image", dpi: int) -> bytes:
    from PIL.PngImagePlugin import PngInfo

    told = PngInfo()
    told.add(b"sRGB", b"\x00")  # perceptual: a word of four letters where a profile takes hundreds of bytes
    target = io.BytesIO()
    picture.save(target, "PNG", pnginfo=told, dpi=(dpi, dpi), icc_profile=None, exif=b"")
    return target.getvalue()


@cache
def _profile() -> bytes:
    """A profile of sRGB whose date is fixed: the library writes the time of the call."""
    from PIL import ImageCms

    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    profile[24:36] = struct.pack(">6H", 2020, 1, 1, 0, 0, 0)
    return bytes(profile)


def _pdf(picture: "Image", dpi: int) -> bytes:
    """One page with the picture, without loss.

    Written here because the page's colour space and its bytes matter: the library's writer has no
    profile, puts in dates, and compresses with loss. The picture is the very stream of a PNG, which
    PDF knows how to read.
    """
    width, height = picture.size
    across, up = (f"{edge * POINTS_PER_INCH / dpi:.4f}" for edge in (width, height))
    pixels = _idat(_png(picture, dpi))
    shown = f"q {across} 0 0 {up} 0 0 cm /Picture Do Q".encode()
    form = f"/Predictor 15 /Colors 3 /BitsPerComponent 8 /Columns {width}"
    image = (
        f"/Type /XObject /Subtype /Image /Width {width} /Height {height} /BitsPerComponent 8 "
        f"/ColorSpace [/ICCBased 6 0 R] /Filter /FlateDecode /DecodeParms << {form} >>"
    )
    page = (
        f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 {across} {up}] /Contents 4 0 R "
        "/Resources << /XObject << /Picture 5 0 R >> >> >>"
    )
    return _pdf_file(
        [
            b"<< /Type /Catalog /Pages 2 0 R >>",
            b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
            page.encode(),
            _stream("", shown),
            _stream(image, pixels),
            _stream("/N 3 /Alternate /DeviceRGB", _profile()),
        ]
    )


def _stream(words: str, data: bytes) -> bytes:
    return f"<< {words} /Length {len(data)} >>\nstream\n".encode() + data + b"\nendstream"


def _pdf_file(objects: list[bytes]) -> bytes:
    """A file of numbered objects, the first of which is its catalogue."""
    file = bytearray(b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n")
    places = []
    for index, body in enumerate(objects, 1):
        places.append(len(file))
        file += f"{index} 0 obj\n".encode() + body + b"\nendobj\n"
    start = len(file)
    file += f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n".encode()
    file += b"".join(f"{place:010d} 00000 n \n".encode() for place in places)
    file += f"trailer\n<< /Size {len(objects) + 1} /Root 1 0 R >>\nstartxref\n{start}\n%%EOF\n".encode()
    return bytes(file)


def _idat(png: bytes) -> bytes:
    """The compressed pixels of a PNG."""
    found, at = bytearray(), 8
    while at < len(png):
        (length,) = struct.unpack_from(">I", png, at)
        if png[at + 4 : at + 8] == b"IDAT":
            found += png[at + 8 : at + 8 + length]
        at += length + 12
    return bytes(found)
