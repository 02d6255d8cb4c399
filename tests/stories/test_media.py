"""A user's own pictures: uploaded or named, fetched once by us, checked, handed on at submit."""

import base64
import io

import pytest
from PIL import Image
from support.gateway_process import GatewayProcess
from support.loopback_fal import LoopbackFal

pytestmark = pytest.mark.slow


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
    ((kept,),) = paid.query(f"select request from job where id = '{job['jobId']}'")
    assert one not in kept
    assert two not in kept


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


def test_a_phones_photo_loses_the_film_behind_it(paid: GatewayProcess, fal: LoopbackFal) -> None:
    out = io.BytesIO()
    Image.new("RGB", (96, 64), "teal").save(out, "JPEG")
    photo = out.getvalue() + b"\0\0\0\x18ftypmp42\0\0\0\0isommp42 a secret film"
    made = paid.http.post("/api/uploads", content=photo, headers={"Content-Type": "image/jpeg"})
    assert made.status_code == 201, made.text
    inputs = {"prompt": "use photo", "image_url": made.json()["url"]}
    answer = paid.generate({"model": "image-to-image", "inputs": inputs})
    assert answer.status_code == 200, answer.text
    (invoice,) = fal.invoices("use photo")
    (kept,) = [u for path, u in fal.uploads.items() if invoice.payload["image_url"].endswith(path)]
    assert kept.data.endswith(b"\xff\xd9")
    assert b"secret" not in kept.data


def test_an_upload_that_is_no_picture_is_refused(paid: GatewayProcess) -> None:
    answer = paid.http.post("/api/uploads", content=b"<html>", headers={"Content-Type": "image/png"})
    assert answer.status_code == 422, answer.text


def test_the_embedded_model_starts_from_a_picture(gateway: GatewayProcess) -> None:
    """Without a key: an upload redrawn, nearer to it or farther from it by its strength."""
    colour = png(128, 128, "red")
    image = gateway.http.post("/api/uploads", content=colour, headers={"Content-Type": "image/png"}).json()
    inputs = {"prompt": "a hill", "image_url": image["url"], "strength": 0.3, "steps": 10, "seed": 5}
    job = gateway.generate({"inputs": inputs}).json()
    assert job["status"] == "completed", job
    made = Image.open(io.BytesIO(gateway.http.get(job["imageUrl"]).content))
    assert made.size == (128, 128)
    sent = {row["name"]: (row["how"], row["sentAs"]) for row in job["report"]}
    assert (sent["image_url"], sent["strength"]) == (("converted", "image"), ("exact", "strength"))
    other = gateway.generate({"inputs": {**inputs, "strength": 1}}).json()
    assert other["images"][0]["sha256"] != job["images"][0]["sha256"]
