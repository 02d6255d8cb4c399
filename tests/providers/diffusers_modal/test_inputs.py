"""Input pictures reach the pipeline that takes them, at the right size, with no second copy of the weights."""

import io
import zlib

import pytest
from msgspec.structs import replace
from PIL import Image
from support.engines import MINI, code, job, made, pixels
from support.tiny_pipelines import file_of, half_mask, photo

from providers.diffusers_modal import inputs


@pytest.fixture(params=["mini", "sdxl"])
def spec(request):
    return MINI if request.param == "mini" else request.getfixturevalue("sdxl")


def with_image(spec, *, mask=None, image=None, **parameters):
    images = {"image": photo() if image is None else image}
    if mask is not None:
        images["mask_image"] = mask
    return replace(job(pipeline=spec, **({"strength": 0.5} | parameters)), images=images)


def size(done):
    return done.images[0].width, done.images[0].height


def first(engine, work):
    return pixels(made(engine.run(work)).images[0].data)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_the_picture_shows_in_the_result(other_engine, spec, kind):
    one = first(other_engine, with_image(spec, image=photo(kind=kind)))
    other = first(other_engine, with_image(spec, image=photo(kind=kind, seed=1)))
    assert abs(one - other).mean() > 1


def test_strength_says_how_many_steps_run(other_engine, spec):
    for strength, steps in ((0.25, 2), (0.5, 4), (1.0, 8)):
        seen = []
        other_engine.run(with_image(spec, strength=strength, num_inference_steps=8), seen.append)
        told = [(p.step, p.steps) for p in seen if p.phase != "load"]
        assert told == [(step, steps) for step in range(1, steps + 1)]


def test_a_mask_says_where_to_paint(other_engine, spec):
    def by_prompt(white):
        mask = file_of(Image.new("L", (64, 64), white), "PNG")
        return [
            first(other_engine, with_image(spec, mask=mask, prompt=prompt, strength=1.0))
            for prompt in ("a red cat", "a blue sea")
        ]

    one, other = by_prompt(255)
    assert abs(one - other).mean() > 1
    one, other = by_prompt(0)
    assert abs(one - other).max() == 0


@pytest.mark.parametrize("mask", [False, True])
def test_the_modules_are_those_in_memory(other_engine, spec, mask):
    made(other_engine.run(with_image(spec, mask=half_mask() if mask else None)))
    resident = other_engine._runner.resident
    sibling = resident.fitting({"image", "mask_image"} if mask else {"image"})
    assert sibling is not resident.pipeline
    own = resident.pipeline.components
    shared = {name for name, part in sibling.components.items() if part is not None and name != "scheduler"}
    assert {"unet", "vae", "text_encoder"} <= shared
    for name in shared:
        assert sibling.components[name] is own[name]


def test_half_precision_stays_when_a_picture_came(other_engine, sdxl):
    # diffusers' own way from pipeline to pipeline turns the shared weights into float32.
    spec = replace(sdxl, dtype="bfloat16")
    made(other_engine.run(with_image(spec)))
    parts = other_engine._runner.resident.pipeline.components
    assert {str(parts[name].dtype) for name in ("unet", "vae", "text_encoder")} == {"torch.bfloat16"}


@pytest.mark.parametrize("mask", [False, True])
@pytest.mark.parametrize(
    ("picture", "asked", "wanted"),
    [
        ((70, 90), {}, (72, 88)),
        ((70, 90), {"width": 64, "height": 48}, (64, 48)),
        ((100, 50), {"width": 64}, (64, 32)),
        ((100, 50), {"height": 32}, (64, 32)),
        ((3, 3), {}, (8, 8)),
    ],
    ids=str,
)
def test_the_size_is_that_asked_for_or_the_pictures(other_engine, spec, picture, asked, wanted, mask):
    size_ = {"width": None, "height": None} | asked
    masked = half_mask(*picture) if mask else None
    work = with_image(spec, image=photo(*picture), mask=masked, **size_)
    assert size(made(other_engine.run(work))) == wanted


def test_a_models_default_size_is_not_for_pictures(other_engine, sdxl):
    spec = replace(sdxl, defaults={"width": 128, "height": 128, "strength": 0.9})
    work = with_image(spec, width=None, height=None, image=photo(64, 96))
    assert size(made(other_engine.run(work))) == (64, 96)


def test_the_same_picture_and_seed_make_the_same_bytes(other_engine, spec):
    one, two = (made(other_engine.run(with_image(spec))).images[0].data for _ in range(2))
    assert one == two


def test_a_job_without_pictures_is_as_ever_after_one_with(other_engine, spec):
    before = made(other_engine.run(job(pipeline=spec))).images[0].data
    made(other_engine.run(with_image(spec, mask=half_mask(), scheduler="ddim")))
    assert made(other_engine.run(job(pipeline=spec))).images[0].data == before


@pytest.mark.parametrize(
    ("images", "word"),
    [
        ({"image": b"GIF89a"}, "image is no whole PNG or JPEG"),
        ({"image": b""}, "image is no whole"),
        ({"image": photo()[:-100]}, "image is no whole"),
        ({"image": file_of(Image.new("RGB", (8, 8)), "BMP")}, "image is no whole"),
        ({"image": photo(), "mask_image": b"x"}, "mask_image is no whole"),
        ({"mask_image": half_mask()}, "no image"),
        ({"control_image": photo()}, "as control_image"),
    ],
    ids=["gif", "nothing", "cut", "bmp", "mask", "mask alone", "other name"],
)
def test_what_is_no_picture_for_it_is_told(other_engine, spec, images, word):
    answer = other_engine.run(replace(job(pipeline=spec), images=images))
    assert code(answer) == "bad_parameter"
    assert word in answer.message


def test_a_picture_with_too_many_pixels_is_not_decoded():
    side = 8200
    assert side * side > inputs.MAX_PIXELS
    data = bytearray(photo())
    data[16:24] = side.to_bytes(4, "big") * 2  # the header alone says so
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    assert Image.open(io.BytesIO(data)).size == (side, side)
    with pytest.raises(inputs.Refused, match="more than"):
        inputs.decode("image", bytes(data))


@pytest.mark.parametrize(
    "wrong",
    [
        {"strength": 1.5},
        {"strength": "much"},
        {"strength": float("nan")},
        {"strength": 0.0},
        {"strength": 0.1, "num_inference_steps": 5},
        {"width": 65},
        {"height": 100_000},
    ],
    ids=str,
)
def test_a_wrong_parameter_with_a_picture_is_told(other_engine, spec, wrong):
    answer = other_engine.run(with_image(spec, **wrong))
    assert code(answer) == "bad_parameter"
    assert next(iter(wrong)) in answer.message


def test_strength_without_a_picture_is_told(other_engine, spec):
    answer = other_engine.run(job(pipeline=spec, strength=0.5))
    assert code(answer) == "bad_parameter"
    assert "strength" in answer.message


def test_a_pipeline_that_takes_no_mask_is_told(other_engine):
    spec = replace(MINI, pipeline_class="LatentConsistencyModelPipeline")
    answer = other_engine.run(with_image(spec, mask=half_mask()))
    assert code(answer) == "bad_parameter"
    assert answer.message == "LatentConsistencyModelPipeline does not take a picture as mask_image."


def test_cancel_stops_within_a_step(other_engine, spec):
    seen = []
    work = with_image(spec, num_inference_steps=1000)
    answer = other_engine.run(work, seen.append, lambda: bool(seen) and seen[-1].step >= 3)
    assert code(answer) == "canceled"
    assert seen[-1].step == 3
    made(other_engine.run(with_image(spec)))
