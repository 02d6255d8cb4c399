"""Pictures by key, in a folder, in memory or in a bucket."""

import os
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from support.s3_server import S3Server, make_bucket, objects_of

from gateway.storage import ImageStore, StorageError, open_store

NUMBERS = count()


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Server]:
    with S3Server() as server:
        make_bucket(server.env, "pictures", {"other/images/x.png": b"somebody's"})
        yield server


@pytest.fixture
def bucket_url() -> str:
    """A place of this test's own."""
    return f"s3://pictures/igw/{next(NUMBERS)}"


@pytest.fixture(params=["file", "memory", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path, s3: S3Server, bucket_url: str) -> ImageStore:
    urls = {"file": (tmp_path / "a b" / "s").as_uri(), "memory": "memory://", "s3": bucket_url}
    return open_store(urls[request.param], s3.env)


async def test_put_and_get(store) -> None:
    await store.put("images/a.png", b"one", "image/png")
    assert await store.get("images/a.png") == b"one"


async def test_a_second_put_replaces_the_first(store) -> None:
    for data in (b"a long one", b"two"):
        await store.put("images/a.png", data, "image/png")
    assert await store.get("images/a.png") == b"two"


async def test_what_is_not_there(store) -> None:
    assert await store.get("images/none.png") is None


async def test_keys_by_prefix(store) -> None:
    for key in ("images/a.png", "images/b.png", "other/c.png"):
        await store.put(key, b"x", "image/png")
    assert sorted(await store.keys("images")) == ["images/a.png", "images/b.png"]
    assert set(await store.keys("")) - {"start-check"} == {"images/a.png", "images/b.png", "other/c.png"}


async def test_pages_tell_size_and_the_stores_own_time(store) -> None:
    before = time.time_ns() // 1_000_000
    for number in range(3):
        await store.put(f"images/{number}.png", b"x" * (number + 1), "image/png")
    files = [file async for page in store.pages("images") for file in page]
    assert {(file.key, file.byte_size) for file in files} == {
        ("images/0.png", 1),
        ("images/1.png", 2),
        ("images/2.png", 3),
    }
    # S3 servers tell whole seconds.
    assert all(before - 1000 <= file.written_at <= time.time_ns() // 1_000_000 for file in files)
    assert [page async for page in store.pages("nothing")] == []


async def test_more_keys_than_a_page_has(store) -> None:
    wanted = {f"media/{number}" for number in range(12)}
    for key in wanted:
        await store.put(key, b"x", "text/plain")
    pages = [page async for page in store.pages("media", size=5)]
    assert [len(page) for page in pages] == [5, 5, 2]
    assert {file.key for page in pages for file in page} == wanted


async def test_delete_and_has(store) -> None:
    for key in ("images/a.png", "images/b.png"):
        await store.put(key, b"x", "image/png")
    assert await store.has("images/a.png")
    for _ in range(2):  # the second time there is nothing to remove
        await store.delete("images/a.png")
    assert not await store.has("images/a.png")
    assert await store.get("images/a.png") is None
    assert await store.keys("images") == ["images/b.png"]


async def test_what_was_left_half_written_is_swept(tmp_path) -> None:
    store = open_store(tmp_path.as_uri())
    for folder in ("images", "media", "mine"):
        (tmp_path / folder).mkdir()
        for name in ("a.png", "a.png#1", "b.png#27", "c#d.png#1"):
            (tmp_path / folder / name).write_bytes(b"x")
            os.utime(tmp_path / folder / name, (1000, 1000))
    (tmp_path / "images" / "new.png#1").write_bytes(b"x")
    # obstore does not show them.
    assert sorted(await store.keys("images")) == ["images/a.png", "images/c#d.png#1"]
    assert await store.sweep_unfinished(("images", "media", "none"), 1_000_001) == 4
    left = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())
    assert left == ["images/a.png", "images/c#d.png#1", "images/new.png#1", "media/a.png", "media/c#d.png#1",
                    "mine/a.png", "mine/a.png#1", "mine/b.png#27", "mine/c#d.png#1"]  # fmt: skip
    assert await open_store("memory://").sweep_unfinished(("images",), 1_000_001) == 0


async def test_a_put_removes_what_was_left_half_written_of_its_key(tmp_path) -> None:
    store = open_store(tmp_path.as_uri())
    (tmp_path / "images").mkdir()
    for name in ("a.png#1", "a.png#2", "b.png#1"):
        (tmp_path / "images" / name).write_bytes(b"half")
    await store.put("images/a.png", b"whole", "image/png")
    assert {path.name: path.read_bytes() for path in (tmp_path / "images").iterdir()} == {
        "a.png": b"whole",
        "b.png#1": b"half",
    }


async def test_a_store_opened_to_be_read_makes_nothing(tmp_path, s3) -> None:
    with pytest.raises(StorageError, match="is not there"):
        open_store((tmp_path / "none").as_uri(), to_write=False)
    assert not (tmp_path / "none").exists()
    bucket = f"read-{next(NUMBERS)}"
    make_bucket(s3.env, bucket, {"images/a.png": b"one"})
    store = open_store(f"s3://{bucket}", s3.env, to_write=False)
    assert await store.keys("") == ["images/a.png"]
    nobody = open_store("s3://nobody-has-it", s3.env, to_write=False)
    for call in (nobody.keys("images"), nobody.has("images/a.png"), nobody.delete("images/a.png")):
        with pytest.raises(StorageError, match="NoSuchBucket"):
            await call


async def test_a_file_is_stored_as_its_bytes_are(store, tmp_path) -> None:
    data = bytes(range(256)) * 50_000  # 12.8 MB: three parts
    (tmp_path / "weights").write_bytes(data)
    await store.put("media/w.safetensors", tmp_path / "weights", "application/octet-stream")
    assert await store.get("media/w.safetensors") == data


async def test_files_outlive_the_process(tmp_path) -> None:
    await open_store(tmp_path.as_uri()).put("images/a.png", b"kept", "image/png")
    assert await open_store(tmp_path.as_uri()).get("images/a.png") == b"kept"
    assert (tmp_path / "images" / "a.png").read_bytes() == b"kept"


async def test_a_key_cannot_leave_the_folder(tmp_path) -> None:
    (tmp_path / "secret").write_text("x")
    store = open_store((tmp_path / "s").as_uri())
    with pytest.raises(ValueError, match="illegal"):
        await store.get("../secret")


async def test_a_store_that_cannot_be_written_says_so(tmp_path) -> None:
    (tmp_path / "images").write_text("a file where the folder should be")
    with pytest.raises(StorageError, match="could not be stored") as caught:
        await open_store(tmp_path.as_uri()).put("images/a.png", b"x", "image/png")
    assert "\n" not in str(caught.value)


async def test_a_store_that_cannot_be_read_says_so(tmp_path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").symlink_to("a.png")  # a loop
    store = open_store(tmp_path.as_uri())
    with pytest.raises(StorageError, match="could not be read"):
        await store.get("images/a.png")


@pytest.mark.parametrize(
    "url",
    ["./data", "/data", "", "file://store/p", "file:store", "http://x/y", "s3:", "s3://", "s3:///p", "s3://b",
     "s3://key:hush@bucket/p", "s3://bucket:80/p", "s3://bucket/a/../p", "s3://bucket/./p", "s3://bucket//p",
     "s3://bucket/a b", "s3://bucket/a%20b", "s3://bucket/p?x=hush", "s3://bucket/p#x", "s3://bücket"],
)  # fmt: skip
def test_urls_that_are_not_served(url, s3) -> None:
    with pytest.raises(StorageError, match="GATEWAY_STORAGE_URL") as caught:
        open_store(url, s3.env)
    assert "hush" not in str(caught.value)


def test_a_folder_that_cannot_be_made(tmp_path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError, match="cannot be used"):
        open_store((tmp_path / "file" / "s").as_uri())


# -- S3 --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "below"), [("", ""), ("/", ""), ("/igw", "igw/"), ("/a/b-c/d_1.e/", "a/b-c/d_1.e/")]
)
async def test_keys_lie_below_the_prefix_with_their_type(s3, path, below) -> None:
    bucket = f"prefix-{next(NUMBERS)}"
    make_bucket(s3.env, bucket, {})
    store = open_store(f"s3://{bucket}{path}", s3.env)
    await store.put("images/a.webp", b"one", "image/webp")
    found = objects_of(s3.env, bucket)
    assert found.keys() == {f"{below}images/a.webp", f"{below}start-check"}
    assert found[f"{below}images/a.webp"][:2] == (b"one", "image/webp")
    assert sorted(await store.keys("")) == ["images/a.webp", "start-check"]


async def test_what_is_outside_the_prefix_is_not_seen(s3) -> None:
    store = open_store("s3://pictures/oth", s3.env)
    assert await store.keys("") == ["start-check"]
    assert await store.get("images/x.png") is None


async def test_a_large_file_goes_up_in_parts_with_its_type(s3, bucket_url, tmp_path) -> None:
    (tmp_path / "weights").write_bytes(b"w" * (12 << 20))
    await open_store(bucket_url, s3.env).put("media/w", tmp_path / "weights", "application/x-weights")
    found = objects_of(s3.env, "pictures")[f"{bucket_url.removeprefix('s3://pictures/')}/media/w"]
    assert (len(found.data), found.content_type, found.parts) == (12 << 20, "application/x-weights", 3)


async def test_objects_outlive_the_process(s3, bucket_url) -> None:
    await open_store(bucket_url, s3.env).put("images/a.png", b"kept", "image/png")
    assert await open_store(bucket_url, s3.env).get("images/a.png") == b"kept"
