import base64

import httpx
import pytest

from providers.base import ImageBytes, ImageUrl, Succeeded
from providers.errors import ContentRejected, MalformedOutput
from providers.fal.addresses import read_addresses
from providers.fal.results import log_lines, read_result

FAL = read_addresses({})
URL = "https://v3.fal.media/files/a.png"


def read(body: object, units: str = "", metrics: object = None) -> Succeeded:
    headers = {"X-Fal-Billable-Units": units} if units else {}
    return read_result(httpx.Response(200, json=body, headers=headers), FAL, "fal", metrics)


def test_pictures_in_order_with_the_seed():
    found = read({"images": [{"url": URL}, {"url": URL + "?2", "content_type": "image/png"}], "seed": 5})
    assert found.images == (
        ImageUrl(url=URL, seed=5),
        ImageUrl(url=URL + "?2", content_type="image/png", seed=5),
    )


def test_one_picture():
    assert read({"image": {"url": URL, "file_size": None}}).images == (ImageUrl(url=URL),)


@pytest.mark.parametrize(
    "head", ["data:image/png;base64,", "data:;base64,", "data:image/png;charset=x;base64,"]
)
def test_a_picture_in_the_answer(head):
    (image,) = read({"images": [{"url": head + base64.b64encode(b"png").decode()}]}).images
    assert isinstance(image, ImageBytes)
    assert image.data == b"png"


@pytest.mark.parametrize("flags", [[True], [False, True], [None, True]])
def test_one_marked_picture_refuses_the_job(flags):
    with pytest.raises(ContentRejected):
        read({"images": [{"url": URL}] * 2, "has_nsfw_concepts": flags})


@pytest.mark.parametrize("flags", [None, [], [False], [None]])
def test_a_picture_that_is_not_marked(flags):
    assert len(read({"images": [{"url": URL}], "has_nsfw_concepts": flags}).images) == 1


@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        None,
        {"images": []},
        {"images": None},
        {"images": [None]},
        {"images": [{}]},
        {"images": [{"url": ""}]},
        {"images": [{"url": "http://169.254.169.254/"}]},
        {"images": [{"url": "/files/a.png"}]},
        {"images": [{"url": "data:image/png,raw"}]},
        {"images": [{"url": "data:image/png;base64,%%"}]},
        {"images": "x"},
        {"image": None},
    ],
)
def test_no_picture(body):
    with pytest.raises(MalformedOutput):
        read(body)


@pytest.mark.parametrize("text", ["1", "0", "0.25", "12.0"])
def test_the_bill_as_fal_writes_it(text):
    assert read({"image": {"url": URL}}, text).billable_units == text


@pytest.mark.parametrize("text", ["", "many", "-1", "NaN", "Infinity", "1e99", "1,5"])
def test_what_is_no_bill(text):
    assert read({"image": {"url": URL}}, text).billable_units is None


@pytest.mark.parametrize(
    ("metrics", "seconds"),
    [
        ({"inference_time": 2}, 2.0),
        ({"inference_time": True}, None),
        ({"inference_time": -1}, None),
        ({}, None),
        (None, None),
    ],
)
def test_seconds(metrics, seconds):
    assert read({"image": {"url": URL}}, metrics=metrics).run_seconds == seconds


@pytest.mark.parametrize(
    ("logs", "lines"),
    [
        (None, ()),
        ([], ()),
        ([{"message": "one"}, {"message": " two \n"}], ("one", "two")),
        ([{"message": "10%|#\r 50%|##\r"}], ("50%|##",)),
        ([{"message": "a\r\nb\n\nc"}, {"message": " \n"}], ("a", "b", "c")),
        ([{"message": None}, "odd", {}, {"message": "x"}], ("x",)),
        ("odd", ()),
    ],
)
def test_the_lines_of_a_log(logs, lines):
    assert log_lines(logs) == lines
