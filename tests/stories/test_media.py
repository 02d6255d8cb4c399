"""A user's own pictures: uploaded or named, fetched once by us, checked, handed on at submit."""

import base64
import io

import pytest
from PIL import Image
from support.gateway_process import GatewayProcess
from support.loopback_fal import LoopbackFal


def png(width: int = 96, height: int = 64, colour: str = "teal") -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (width, height), colour).save(out, "PNG")
    return out.getvalue()


def size_at_fal(fal: LoopbackFal, url: str) -> tuple[int, int]:
    """The picture that fal was given under a URL."""
    (kept,) = [upload for path, upload in fal.uploads.items() if url.endswith(path)]
    with Image.open(io.BytesIO(kept.data)) as picture:
        return picture.size


def test_an_upload_is_used_by_its_id(paid: GatewayProcess, fal: LoopbackFal) -> None:
    made = paid.http.post("/api/uploads", content=png(), headers={"Content-Type": "image/png"})
    assert made.status_code == 201, made.text
    upload = made.json()
    assert (upload["contentType"], upload["width"], upload["height"]) == ("image/png", 96, 64)
    body = {"model": "image-to-image", "inputs": {"prompt": "use upload", "image_url": upload["url"]}}
    answer = paid.generate(body)
    assert answer.status_code == 200, answer.text
    (invoice,) = fal.invoices("use upload")
    assert size_at_fal(fal, invoice.payload["image_url"]) == (96, 64)


def test_a_data_url_becomes_a_url_at_fal(paid: GatewayProcess, fal: LoopbackFal) -> None:
    one = "data:image/png;base64," + base64.b64encode(png(80, 80)).decode()
    two = "data:image/png;base64," + base64.b64encode(png(72, 72, "red")).decode()
    job = paid.generate({"model": "face-swap", "inputs": {"image_url": one, "target_image_url": two}}).json()
    assert (job["status"], job["cost"]) == ("completed", 0.02)
    payload = fal.jobs[-1].payload
    assert size_at_fal(fal, payload["base_image_url"]) == (80, 80)
    assert size_at_fal(fal, payload["swap_image_url"]) == (72, 72)
    shown = next(row for row in job["report"] if row["name"] == "image_url")
    assert len(str(shown["requested"])) < 200


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1/x.png",
        "https://localhost/x.png",
        "https://169.254.169.254/latest/meta-data",
        "https://[::1]/x.png",
        "http://example.com/x.png",
        "data:image/svg+xml;base64,PHN2Zy8+",
        "data:image/png;base64,aGVsbG8=",
        "s3://somebody/x.png",
        "upl_nobody",
    ],
)
def test_what_may_not_be_fetched_or_is_no_picture_costs_nothing(
    paid: GatewayProcess, fal: LoopbackFal, url: str
) -> None:
    before = len(fal.jobs), paid.query("select count(*) from job")
    answer = paid.generate({"model": "image-to-image", "inputs": {"prompt": "x", "image_url": url}})
    assert answer.status_code == 422, answer.text
    (fault,) = answer.json()["errors"]
    assert (fault["pointer"], fault["code"]) == ("/inputs/image_url", "invalid_reference")
    assert (len(fal.jobs), paid.query("select count(*) from job")) == before


def test_an_upload_that_is_no_picture_is_refused(paid: GatewayProcess) -> None:
    answer = paid.http.post("/api/uploads", content=b"<html>", headers={"Content-Type": "image/png"})
    assert answer.status_code == 422, answer.text
