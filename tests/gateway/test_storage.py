"""Pictures by key, in a folder, in memory or in a bucket."""

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
