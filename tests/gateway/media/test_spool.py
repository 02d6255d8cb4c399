"""Bytes on their way in: capped, gone afterwards, and a full disk is our fault."""

import os
import resource
import time

import pytest

from gateway.media.errors import MediaTooLarge
from gateway.media.library import sweep
from gateway.storage import StorageError


async def test_what_was_written_is_there_and_then_gone(spool) -> None:
    async with spool() as into:
        await into.write(b"one")
        await into.write(b"two")
        await into.flush()
        path = into.path
        assert (path.read_bytes(), into.size) == (b"onetwo", 6)
    assert not path.exists()


async def test_the_last_byte_that_is_taken(spool) -> None:
    async with spool(3) as into:
        await into.write(b"abc")
        with pytest.raises(MediaTooLarge):
            await into.write(b"d")


async def test_what_says_that_it_is_too_large(spool) -> None:
    async with spool(3) as into:
        into.expect(None)
        into.expect(3)
        with pytest.raises(MediaTooLarge):
            into.expect(4)


async def test_a_full_disk_is_our_fault(spool) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    async with spool() as into:
        await into.write(b"x" * 5000)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
        try:
            with pytest.raises(StorageError):
                await into.flush()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)


async def test_a_folder_that_cannot_be_made(tmp_path, spool) -> None:
    (tmp_path / "in").write_text("a file")
    with pytest.raises(StorageError):
        async with spool():
            pass


def test_what_a_killed_process_left_is_swept(tmp_path) -> None:
    for name in ("in-old", "in-new", "other"):
        (tmp_path / name).write_text("x")
    for name in ("in-old", "other"):
        os.utime(tmp_path / name, (0, time.time() - 2 * 86_400))
    sweep(tmp_path)
    sweep(tmp_path / "not there")
    assert {path.name for path in tmp_path.iterdir()} == {"in-new", "other"}
