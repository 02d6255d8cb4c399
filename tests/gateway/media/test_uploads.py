"""`POST /api/uploads` over the whole application."""

import hashlib
import io
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from PIL import Image
from support.scripted_provider import picture

MIB = 1 << 20
LORA_HEADER = b'{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}'
LORA = len(LORA_HEADER).to_bytes(8, "little") + LORA_HEADER + b"xy"


async def send(api, data, kind="image/png", **headers):
    return await api.post("/api/uploads", content=data, headers={"Content-Type": kind, **headers})


@pytest.mark.parametrize(
    ("kind", "sent_as", "kept_as"),
    [("PNG", "image/png", "image/png"), ("JPEG", "image/jpeg; x=y", "image/jpeg"),
     ("WEBP", "IMAGE/WEBP", "image/png"), ("PNG", "image/jpeg", "image/png")],
)  # fmt: skip
async def test_a_picture(kind, sent_as, kept_as, api, tmp_path: Path) -> None:
    response = await send(api, picture(64, 48, kind), sent_as)
    body = response.json()
    assert response.status_code == 201, body
    assert body["id"].startswith("upl_")
    assert (body["url"], body["contentType"]) == (body["id"], kept_as)
    assert (body["width"], body["height"]) == (64, 48)
    (kept,) = (tmp_path / "data" / "store" / "media").iterdir()
    assert (body["size"], body["sha256"]) == (
        kept.stat().st_size,
        hashlib.sha256(kept.read_bytes()).hexdigest(),
    )
    with Image.open(io.BytesIO(kept.read_bytes())) as found:
        assert found.size == (64, 48)


async def test_a_lora(api) -> None:
    response = await send(api, LORA, "application/octet-stream")
    body = response.json()
    assert (response.status_code, body["size"], body["width"]) == (201, len(LORA), None)
    assert body["sha256"] == hashlib.sha256(LORA).hexdigest()


@pytest.mark.parametrize(
    ("data", "kind"),
    [(b"", "image/png"), (b"hello", "image/png"), (b"<svg/>", "image/png"), (picture()[:-9], "image/png"),
     (LORA, "image/png"), (picture(), "application/octet-stream"), (LORA[:-1], "application/octet-stream")],
)  # fmt: skip
async def test_what_is_not_kept(data, kind, api, tmp_path) -> None:
    response = await send(api, data, kind)
    assert (response.status_code, response.json()["code"]) == (422, "invalid_upload")
    assert not (tmp_path / "data" / "store" / "media").exists()
    assert list((tmp_path / "data" / "tmp").iterdir()) == []


@pytest.mark.parametrize(
    "kind", ["text/html", "image/svg+xml", "image/gif", "multipart/form-data; boundary=x", ""]
)
async def test_other_types(kind, api) -> None:
    response = await send(api, b"x", kind)
    assert (response.status_code, response.json()["code"]) == (415, "unsupported_media_type")


async def test_json_is_no_upload(api) -> None:
    response = await send(api, b"{}", "application/json")
    assert (response.status_code, response.json()["code"]) == (415, "unsupported_media_type")


async def test_too_large_by_its_own_word(api) -> None:
    async def nothing() -> AsyncIterator[bytes]:
        raise AssertionError("the body was read")
        yield b""

    response = await send(api, nothing(), **{"Content-Length": str(25 * MIB + 1)})
    assert (response.status_code, response.json()["code"]) == (413, "body_too_large")


async def test_too_large_without_a_word(api, tmp_path) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while sent < 100:
            sent += 1
            yield b"x" * MIB

    response = await send(api, endless())
    assert (response.status_code, response.json()["code"]) == (413, "body_too_large")
    assert list((tmp_path / "data" / "tmp").iterdir()) == []


async def test_a_lora_may_be_larger_than_a_picture(api) -> None:
    header = b'{"a":{"dtype":"U8","shape":[27262976],"data_offsets":[0,27262976]}}'
    response = await send(
        api, len(header).to_bytes(8, "little") + header + b"\0" * (26 * MIB), "application/octet-stream"
    )
    assert (response.status_code, response.json()["size"]) == (201, 8 + len(header) + 26 * MIB)


async def test_other_paths_take_json_alone(api) -> None:
    response = await api.post(
        "/api/images/generate", content=b"{}", headers={"Content-Type": "application/octet-stream"}
    )
    assert response.status_code == 415


async def test_the_document_tells_of_the_body(api) -> None:
    document = (await api.get("/schema/openapi.json")).json()
    content = document["paths"]["/api/uploads"]["post"]["requestBody"]["content"]
    assert set(content) == {"image/png", "image/jpeg", "image/webp", "application/octet-stream"}
    assert content["image/png"]["schema"] == {"type": "string", "format": "binary"}


async def test_a_store_that_takes_nothing(api, tmp_path) -> None:
    (tmp_path / "data" / "store" / "media").write_text("a file where the folder should be")
    response = await send(api, picture())
    assert (response.status_code, response.json()["code"]) == (503, "storage_unavailable")
    assert response.json()["retryable"] is True


async def test_a_client_that_goes_away(api, tmp_path, caplog) -> None:
    messages = iter(
        [{"type": "http.request", "body": b"abc", "more_body": True}, {"type": "http.disconnect"}]
    )
    sent = []

    async def receive():
        return next(messages)

    async def tell(message):
        sent.append(message)

    scope = {
        "type": "http", "method": "POST", "path": "/api/uploads", "raw_path": b"/api/uploads", "scheme": "http",
        "headers": [(b"host", b"127.0.0.1:8000"), (b"content-type", b"image/png")], "query_string": b"",
        "root_path": "", "server": ("127.0.0.1", 8000), "client": ("127.0.0.1", 5), "http_version": "1.1",
        "asgi": {"version": "3.0"},
    }  # fmt: skip
    await api._transport.app(scope, receive, tell)
    assert sent[0]["status"] == 400
    assert "broke" not in caplog.text
    assert list((tmp_path / "data" / "tmp").iterdir()) == []
