"""Pictures by key, in a folder or in memory."""

from pathlib import Path

import pytest

from gateway.storage import ImageStore, StorageError, open_store


@pytest.fixture(params=["file", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ImageStore:
    return open_store((tmp_path / "a b" / "s").as_uri() if request.param == "file" else "memory://")


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
    assert len(await store.keys("")) == 3


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
    with pytest.raises(StorageError, match="could not be stored"):
        await open_store(tmp_path.as_uri()).put("images/a.png", b"x", "image/png")


@pytest.mark.parametrize(
    "url", ["s3://key:hush@bucket/p", "./data", "/data", "", "file://store/p", "file:store", "http://x/y"]
)
def test_urls_that_this_version_does_not_serve(url) -> None:
    with pytest.raises(StorageError, match="GATEWAY_STORAGE_URL") as caught:
        open_store(url)
    assert "hush" not in str(caught.value)


def test_a_folder_that_cannot_be_made(tmp_path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError, match="cannot be used"):
        open_store((tmp_path / "file" / "s").as_uri())
