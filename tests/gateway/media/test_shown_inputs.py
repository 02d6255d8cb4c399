"""What a job's row keeps of its request: everything but the megabytes of a `data:` URL."""

import base64

import msgspec
import pytest

from gateway.media.references import SHOWN_DATA, shown_inputs

DATA = "data:image/png;base64," + base64.b64encode(bytes(700_000)).decode()
SHOWN = f"{DATA[:SHOWN_DATA]}... ({len(DATA)} characters)"


@pytest.mark.parametrize(
    ("inputs", "kept"),
    [
        ({"prompt": "a fox", "image": DATA}, {"prompt": "a fox", "image": SHOWN}),
        ({"image_url": DATA, "mask": DATA}, {"image_url": SHOWN, "mask": SHOWN}),
        ({"reference_image_urls": ["upl_1", DATA]}, {"reference_image_urls": ["upl_1", SHOWN]}),
        ({"loras": [{"url": DATA, "scale": 0.5}]}, {"loras": [{"url": SHOWN, "scale": 0.5}]}),
    ],
)
def test_a_data_url_is_shortened_wherever_it_is(inputs, kept) -> None:
    assert shown_inputs(inputs) == kept
    assert len(msgspec.json.encode(kept)) < 400


@pytest.mark.parametrize(
    "inputs",
    [
        {},
        {"prompt": "x" * 10_000, "seed": 7, "cfg": 3.5, "on": True, "none": None},
        {"size": {"width": 512, "height": 512}, "loras": [{"url": "s3://b/l", "scale": 1}]},
        {"image_url": "https://a.org/" + "b" * 3000, "mask": "upl_1", "image": "data:,short"},
    ],
)
def test_anything_else_is_kept_as_it_came(inputs) -> None:
    assert shown_inputs(inputs) == inputs


def test_the_callers_inputs_are_left_alone() -> None:
    inputs = {"loras": [{"url": DATA}]}
    shown_inputs(inputs)
    assert inputs == {"loras": [{"url": DATA}]}
