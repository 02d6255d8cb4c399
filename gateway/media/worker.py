"""Looks at hostile bytes, in a process of its own with little memory and time.

    python -I -m gateway.media.worker image|lora SOURCE RESULT

Answers one line of JSON: `{"ok": {...}}` or `{"refused": "why"}`. An image is written anew to
RESULT: what is kept was encoded by us, so nothing that hid in the source, or followed it, is in it.
"""

import errno
import io
import json
import resource
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway.media.errors import DISK_FULL, MediaRefused

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

__all__ = ["MAX_PIXELS", "main"]

MEMORY_BYTES = 1 << 30
CPU_S = 5
RESULT_BYTES = 192 << 20
MAX_PIXELS = 50_000_000


def limit() -> None:
    """Take from this process what it does not need. Above the limits the kernel says no."""
    for what, value in (
        # macOS has no such limit.
        *([(resource.RLIMIT_AS, MEMORY_BYTES)] if sys.platform == "linux" else []),
        (resource.RLIMIT_CPU, CPU_S),
        (resource.RLIMIT_FSIZE, RESULT_BYTES),
        (resource.RLIMIT_NOFILE, 64),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(what)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(what, (value, value))


def recode_image(source: Path, result: Path) -> dict[str, Any]:
    """Decode the picture that a file begins with, and write it anew: PNG, or JPEG if it was one.

    What follows it is left out: phones keep a film or a second picture there.

    Raises:
        MediaRefused: not one whole still picture of a kind and size that is taken.
    """
    from PIL import ImageOps

    from gateway.verify import BrokenImage, find_image

    data = source.read_bytes()
    try:
        verified, end = find_image(data)
    except BrokenImage as error:
        raise MediaRefused(str(error)) from error
    size = (verified.width, verified.height)
    if verified.width * verified.height > MAX_PIXELS:
        raise MediaRefused(f"{size[0]}x{size[1]} pixels are more than {MAX_PIXELS // 1_000_000} million")
    photo = verified.content_type == "image/jpeg"
    try:
        with _open(data[:end], photo=photo) as picture:
            if picture.size != size or getattr(picture, "n_frames", 1) > 1:
                raise MediaRefused("it is animated, or several pictures in one; give a still one")
            picture.load()
            ImageOps.exif_transpose(picture, in_place=True)
            return _write(picture, result, photo=photo)
    except (MediaRefused, MemoryError):
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            raise  # the disk's fault
        # Whatever a decoder trips over, hostile bytes led it there.
        raise MediaRefused(f"it cannot be decoded: {error}") from error


def _open(data: bytes, *, photo: bool) -> "Picture":
    """A picture's header, read by the one decoder that its container calls for."""
    from PIL import Image
    from PIL.JpegImagePlugin import JpegImageFile

    Image.MAX_IMAGE_PIXELS = MAX_PIXELS
    warnings.simplefilter("error", Image.DecompressionBombWarning)
    if photo:
        # Not `Image.open`: of a JPEG that lists further pictures after its end it makes all of them.
        return JpegImageFile(io.BytesIO(data))
    return Image.open(io.BytesIO(data), formats=("PNG", "WEBP"))


def _write(picture: "Picture", result: Path, *, photo: bool) -> dict[str, Any]:
    plain = _plain(picture, photo=photo)
    plain.info = {}  # comments, profiles, places
    if photo:
        plain.save(result, "JPEG", quality=95, subsampling=0)
    else:
        plain.save(result, "PNG", compress_level=1)
    kind = ("image/jpeg", "jpg") if photo else ("image/png", "png")
    width, height = plain.size
    return {"content_type": kind[0], "extension": kind[1], "width": width, "height": height}


def _plain(picture: "Picture", *, photo: bool) -> "Picture":
    """In one of the modes that everybody reads: L, RGB, LA, RGBA."""
    if picture.mode.startswith("I"):  # 16 bit grey
        return picture.convert("I").point(lambda value: value * (1 / 256)).convert("L")
    if picture.mode == "1":
        return picture.convert("L")
    if photo:
        return picture if picture.mode == "L" else picture.convert("RGB")
    if picture.has_transparency_data:
        return picture.convert("RGBA")
    return picture if picture.mode in ("L", "RGB") else picture.convert("RGB")


def check_lora(source: Path, result: Path) -> dict[str, Any]:
    """Check weights; they are kept as they came, RESULT stays empty.

    Raises:
        MediaRefused: no safetensors file.
    """
    from gateway.media.lora import check_safetensors

    with source.open("rb") as file:
        check_safetensors(file, source.stat().st_size)
    return {"content_type": "application/octet-stream", "extension": "safetensors"}


def main(kind: str, source: str, result: str) -> None:
    """Answer for one file."""
    work = {"image": recode_image, "lora": check_lora}[kind]
    limit()
    try:
        answer: dict[str, Any] = {"ok": work(Path(source), Path(result))}
    except MediaRefused as error:
        answer = {"refused": str(error)}
    except (MemoryError, RecursionError):
        answer = {"refused": "it takes too much memory to read"}
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        sys.exit(DISK_FULL)
    sys.stdout.write(json.dumps(answer))


if __name__ == "__main__":
    main(*sys.argv[1:])
