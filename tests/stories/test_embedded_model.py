"""The model that comes with the gateway, at any size, with a picture and a mask."""

import io

import numpy
import pytest
from PIL import Image
from support.gateway_process import GatewayProcess


def made(gateway: GatewayProcess, **body: object) -> tuple[dict, Image.Image]:
    answer = gateway.generate({"model": "embedded-mini", **body})
    assert answer.status_code == 200, answer.text
    job = answer.json()
    return job, Image.open(io.BytesIO(gateway.http.get(job["imageUrl"]).content)).convert("RGB")


def uploaded(gateway: GatewayProcess, picture: Image.Image) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    png = {"Content-Type": "image/png"}
    answer = gateway.http.post("/api/uploads", content=buffer.getvalue(), headers=png)
    assert answer.status_code == 201, answer.text
    return answer.json()["url"]


@pytest.mark.parametrize("size", ["64x64", "1024x1024", "1000x400", "300x500"])
def test_a_size_that_it_does_not_draw_is_made_of_one_that_it_does(gateway: GatewayProcess, size: str) -> None:
    job, picture = made(gateway, inputs={"prompt": "a hill", "seed": 1}, options={"size": size})
    assert f"{picture.width}x{picture.height}" == size
    row = next(row for row in job["report"] if row["name"] == "size")
    assert (row["how"], row["requested"]) == ("emulated", size)
    assert row["why"].startswith("drawn at ")
    assert row["why"].endswith("scaled")
    assert job["warnings"] == []


def test_its_own_sizes_are_drawn_as_they_are(gateway: GatewayProcess) -> None:
    job, picture = made(gateway, inputs={"prompt": "a hill"}, options={"size": "384x128"})
    assert picture.size == (384, 128)
    assert next(row for row in job["report"] if row["name"] == "size")["how"] == "converted"


def test_a_mask_keeps_what_is_outside_of_it(gateway: GatewayProcess) -> None:
    mask = Image.new("L", (200, 120))
    mask.paste(255, (100, 0, 200, 120))
    before = Image.effect_noise((200, 120), 60).convert("RGB")
    urls = {"image_url": uploaded(gateway, before), "mask_url": uploaded(gateway, mask)}
    _, after = made(gateway, inputs={"prompt": "a hill", **urls, "strength": 1.0, "seed": 1})
    was, now = numpy.asarray(before, int), numpy.asarray(after, int)
    assert (now[:, :100] == was[:, :100]).all()
    assert abs(now[:, 100:] - was[:, 100:]).mean() > 10
