"""Hostile pictures, through the real worker: each is refused in under two seconds."""

import io
import re
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest
from PIL import Image, PngImagePlugin
from support.hostile_pictures import GOOD, HOSTILE, chunk, encode, noise

from gateway.media.decode import Inspector, worker_command
from gateway.media.errors import MediaRefused
from gateway.storage import StorageError
from gateway.verify import Verified, verify_image


@pytest.fixture
def inspector():
    inspector = Inspector()
    yield inspector
    inspector.close()


@pytest.fixture
def look(inspector, tmp_path):
    async def look(data: bytes, kind="image"):
        (tmp_path / "source").write_bytes(data)
        (tmp_path / "result").touch()
        return await inspector.inspect(kind, tmp_path / "source", tmp_path / "result"), tmp_path / "result"

    return look


@pytest.mark.skipif(sys.platform != "linux", reason="has no /dev/full")
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
async def test_a_full_disk_is_no_fault_of_the_picture(kind, inspector, tmp_path) -> None:
    (tmp_path / "source").write_bytes(encode(noise(), kind))
    with pytest.raises(StorageError, match="no space is left"):
        await inspector.inspect("image", tmp_path / "source", Path("/dev/full"))


@pytest.mark.parametrize("name", HOSTILE)
async def test_a_hostile_picture_is_refused(name, look) -> None:
    started = time.monotonic()
    with pytest.raises(MediaRefused) as refused:
        await look(HOSTILE[name])
    assert str(refused.value)
    assert time.monotonic() - started < 2


@pytest.mark.parametrize(
    "name", [name for name in HOSTILE if " x " in name or "bomb" in name or "animated" in name]
)
def test_a_hostile_picture_takes_little_memory(name, tmp_path) -> None:
    (tmp_path / "source").write_bytes(HOSTILE[name])
    # The worker itself says how much it had: what the system tells of a child counts its parent's memory too.
    watch = "import sys; from gateway.media.worker import main; main(*sys.argv[1:]); print(open('/proc/self/status').read())"
    python, isolated, _, _, *given = worker_command("image", tmp_path / "source", tmp_path / "result")
    ended = subprocess.run(
        [python, isolated, "-c", watch, *given], capture_output=True, text=True, timeout=20
    )
    assert ended.returncode == 0, ended.stderr
    assert '"refused"' in ended.stdout
    peak = re.search(r"VmHWM:\s+(\d+) kB", ended.stdout)
    assert peak is not None
    assert int(peak[1]) < 512 * 1024


@pytest.mark.parametrize("kind", GOOD)
async def test_a_good_picture_is_written_anew(kind, look) -> None:
    checked, result = await look(GOOD[kind])
    written = "JPEG" if kind == "JPEG" else "PNG"
    assert (checked.content_type, checked.width, checked.height) == (f"image/{written.lower()}", 64, 48)
    with Image.open(result, formats=[written]) as picture, Image.open(io.BytesIO(GOOD[kind])) as given:
        assert picture.size == given.size
        if written == "PNG":
            assert picture.convert("RGB").tobytes() == given.convert("RGB").tobytes()


def zipped() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("secret.txt", "a secret file")
    return out.getvalue()


TAILS = {
    "a film": b"\0\0\0\x18ftypmp42\0\0\0\0isommp42\0\0\0\x14mdata secret film",  # a phone's motion photo
    "another picture": encode(noise(), "JPEG", comment=b"a secret map"),
    "a zip": zipped(),
    "a page": b"<script>secret</script>",
    "an end marker": b"a secret\xff\xd9",
    "a few bytes": b"secret\0\n",
}


@pytest.mark.parametrize("tail", TAILS)
@pytest.mark.parametrize("kind", GOOD)
async def test_what_follows_a_picture_is_cut_off(kind, tail, look) -> None:
    _, alone = await look(GOOD[kind])
    expected = alone.read_bytes()
    source = GOOD[kind] + TAILS[tail]
    assert b"secret" in source
    checked, result = await look(source)
    kept = result.read_bytes()
    assert kept == expected
    assert kept.endswith(b"\xff\xd9" if kind == "JPEG" else b"IEND\xaeB`\x82")
    assert b"secret" not in kept
    assert not zipfile.is_zipfile(result)
    assert verify_image(kept) == Verified(
        content_type=checked.content_type, extension=checked.extension, width=64, height=48
    )


async def test_the_first_of_a_phones_pictures_is_taken(look) -> None:
    first, second = noise(), noise(size=(32, 24))
    source = encode(first, "MPO", save_all=True, append_images=[second])
    with Image.open(io.BytesIO(source)) as phone:
        assert phone.n_frames == 2  # the multi-picture format, as of a gain map
    _, alone = await look(encode(first, "JPEG"))
    expected = alone.read_bytes()
    checked, result = await look(source)
    assert (checked.content_type, checked.width, checked.height) == ("image/jpeg", 64, 48)
    assert result.read_bytes() == expected


async def test_a_phones_pictures_are_turned_too(look) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn it by 90 degrees
    source = encode(noise(), "MPO", save_all=True, append_images=[noise()], exif=exif)
    checked, _ = await look(source)
    assert (checked.width, checked.height) == (48, 64)


@pytest.mark.parametrize(
    ("mode", "kind", "written"),
    [("1", "PNG", "L"), ("L", "PNG", "L"), ("LA", "PNG", "RGBA"), ("P", "PNG", "RGB"), ("RGBA", "PNG", "RGBA"),
     ("I;16", "PNG", "L"), ("RGBA", "WEBP", "RGBA"), ("L", "JPEG", "L"), ("CMYK", "JPEG", "RGB")],
)  # fmt: skip
async def test_every_mode_becomes_one_that_all_read(mode, kind, written, look) -> None:
    picture = Image.new(mode, (9, 5)) if mode in ("I;16", "LA", "RGBA") else noise(mode, (9, 5))
    _, result = await look(encode(picture, kind))
    with Image.open(result) as found:
        assert (found.mode, found.size) == (written, (9, 5))


async def test_sixteen_bits_of_grey_keep_their_brightness(look) -> None:
    _, result = await look(encode(Image.new("I;16", (4, 4), 32768), "PNG"))
    with Image.open(result) as found:
        assert found.getpixel((0, 0)) == 128


async def test_a_photo_is_turned_and_tells_nothing_more(look) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn it by 90 degrees
    exif[0x010F] = "a secret camera"
    source = encode(noise(), "JPEG", exif=exif, comment=b"a secret note", icc_profile=b"a secret profile")
    checked, result = await look(source)
    assert (checked.width, checked.height) == (48, 64)
    assert b"secret" in source
    assert b"secret" not in result.read_bytes()
    with Image.open(result) as found:
        assert not found.getexif()


async def test_texts_in_a_png_are_gone(look) -> None:
    texts = PngImagePlugin.PngInfo()
    texts.add_text("parameters", "a secret prompt")
    _, result = await look(encode(noise(), "PNG", pnginfo=texts))
    assert b"secret" not in result.read_bytes()


async def test_what_hides_in_a_chunk_is_gone(look) -> None:
    data = GOOD["PNG"]
    _, result = await look(data[:33] + chunk(b"prVt", b"<script>") + data[33:])
    assert b"<script>" not in result.read_bytes()


async def test_a_lora_is_kept_as_it_came(look) -> None:
    header = b'{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}'
    checked, result = await look(len(header).to_bytes(8, "little") + header + b"xy", "lora")
    assert (checked.extension, checked.width, result.read_bytes()) == ("safetensors", None, b"")


async def test_a_picture_is_no_lora(look) -> None:
    with pytest.raises(MediaRefused, match="no safetensors"):
        await look(GOOD["PNG"], "lora")


async def test_a_worker_that_takes_too_long(tmp_path) -> None:
    (tmp_path / "source").write_bytes(GOOD["PNG"])
    inspector = Inspector(wall_s=0.001)
    with pytest.raises(MediaRefused, match="too long"):
        await inspector.inspect("image", tmp_path / "source", tmp_path / "result")
    inspector.close()


async def test_a_fault_of_ours_is_not_the_pictures(inspector, tmp_path) -> None:
    with pytest.raises(RuntimeError, match="worker broke"):
        await inspector.inspect("image", tmp_path / "not there", tmp_path / "result")


LIMITED = "from gateway.media.worker import limit; limit(); "


@pytest.mark.parametrize(
    ("does", "ends"),
    [
        ("bytearray(2 << 30)", b"MemoryError"),
        ("[open('/dev/null') for _ in range(100)]", b"Too many open files"),
        ("open(sys.argv[1], 'wb').truncate(1 << 30)", b"File too large"),
    ],
)
def test_the_workers_limits(does, ends, tmp_path) -> None:
    command = [sys.executable, "-I", "-c", f"import sys; {LIMITED}x = {does}", str(tmp_path / "big")]
    assert ends in subprocess.run(command, capture_output=True, timeout=20).stderr
