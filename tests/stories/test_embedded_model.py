"""The model that comes with the gateway draws what a prompt says, at any size, with every parameter."""

import io

import numpy
import pytest
from PIL import Image
from support.gateway_process import GatewayProcess

from providers.diffusers_modal.embedded.draw import draw
from providers.diffusers_modal.embedded.measure import measure
from providers.diffusers_modal.embedded.scenes import Landscape, Shape

pytestmark = pytest.mark.slow

RED = Shape("red", "circle", "large", "left", "white")
BLUE = Shape("blue", "square", "large", "right", "yellow")
NIGHT = Landscape("night", "mountains", snow=True, orb="moon", stars=False)
RED_PROMPT = "a large red circle on the left on a white background"
BLUE_PROMPT = "a large blue square on the right on a yellow background"


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


def drawn(scene: Shape, side: int = 256) -> Image.Image:
    return Image.fromarray(draw(scene, side).clip(0, 255).astype("uint8"))


@pytest.mark.parametrize(
    ("prompt", "scene"),
    [
        (RED_PROMPT, RED),
        ("Against white: one BIG, crimson disc (left side). Masterpiece, 8k, trending", RED),
        ("snowy mountains at night with the moon", NIGHT),
        ("moonlit peaks covered in snow at midnight, photograph, 35mm", NIGHT),
    ],
)
def test_a_prompt_is_drawn_whatever_its_words(gateway: GatewayProcess, prompt: str, scene: Shape) -> None:
    _, picture = made(gateway, inputs={"prompt": prompt, "seed": 1})
    assert measure(picture, scene) == dict.fromkeys(measure(picture, scene), True)


def test_another_seed_is_another_composition(gateway: GatewayProcess) -> None:
    prompt = "snowy mountains at night with the moon"
    first, second = (made(gateway, inputs={"prompt": prompt, "seed": seed})[1] for seed in (1, 2))
    assert abs(numpy.asarray(first, int) - numpy.asarray(second, int)).mean() > 2


@pytest.mark.parametrize("size", ["64x64", "1024x1024", "1000x400", "300x500"])
def test_a_size_that_it_does_not_draw_is_made_of_one_that_it_does(gateway: GatewayProcess, size: str) -> None:
    job, picture = made(gateway, inputs={"prompt": RED_PROMPT, "seed": 1}, options={"size": size})
    assert f"{picture.width}x{picture.height}" == size
    row = next(row for row in job["report"] if row["name"] == "size")
    assert (row["how"], row["requested"]) == ("emulated", size)
    assert row["why"].startswith("drawn at ")
    assert "scaled" in row["why"]
    assert job["warnings"] == []
    if picture.width == picture.height:
        assert all(measure(picture, RED).values())


def test_a_little_strength_keeps_the_picture_and_all_of_it_draws_the_prompt(gateway: GatewayProcess) -> None:
    url = uploaded(gateway, drawn(RED, 200))
    inputs = {"prompt": BLUE_PROMPT, "image_url": url, "seed": 1}
    _, little = made(gateway, inputs={**inputs, "strength": 0.2})
    _, full = made(gateway, inputs={**inputs, "strength": 1.0})
    assert little.size == full.size == (200, 200)
    assert measure(little, RED)["position"]
    assert measure(little, RED)["background"]
    assert all(measure(full, BLUE).values())


def test_a_mask_keeps_what_is_outside_of_it(gateway: GatewayProcess) -> None:
    mask = Image.new("L", (256, 256))
    mask.paste(255, (128, 0, 256, 256))
    before = drawn(RED)
    urls = {"image_url": uploaded(gateway, before), "mask_url": uploaded(gateway, mask)}
    _, after = made(gateway, inputs={"prompt": BLUE_PROMPT, **urls, "strength": 1.0, "seed": 1})
    kept = numpy.asarray(after)[:, :128] == numpy.asarray(before)[:, :128]
    assert kept.all()
    assert abs(numpy.asarray(after, int)[:, 128:] - numpy.asarray(before, int)[:, 128:]).mean() > 10
