"""The model that is shipped: its files, and that it draws what a prompt says."""

import json
import struct

import numpy
import pytest

from providers.diffusers_modal import embedded
from providers.diffusers_modal.embedded.evaluate import evaluate, held_out_prompts, painter

FOLDER = embedded.folder("mini")


@pytest.fixture(scope="module")
def paint():
    return painter(FOLDER)


def test_it_is_at_most_20_megabytes_of_half_precision_safetensors():
    weights = list(FOLDER.rglob("*.safetensors"))
    assert sum(path.stat().st_size for path in weights) <= 20_000_000
    assert {path.suffix for path in FOLDER.rglob("*") if path.is_file()} == {".json", ".safetensors"}
    for path in weights:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            header = json.loads(file.read(length))
        floats = {row["dtype"] for name, row in header.items() if name != "__metadata__"} - {"I64"}
        assert floats == {"F16"}


def test_an_unknown_name_is_told():
    with pytest.raises(LookupError, match=r"maxi.*there is mini"):
        embedded.folder("maxi")


@pytest.mark.parametrize(
    ("kind", "floor"), [("shapes", 0.7), pytest.param("landscapes", 0.5, marks=pytest.mark.slow)]
)
def test_it_draws_what_held_out_prompts_say(paint, kind, floor):
    # The model card has the whole table; this is its head, with room for its small number.
    result, _ = evaluate(kind, 12, paint)
    assert result.share("all") >= floor
    assert all(count >= 0.6 * result.count for count in result.right.values())


def test_without_its_text_it_does_not(paint):
    result, _ = evaluate("shapes", 4, lambda text, seed, scene: paint("", seed, scene))
    assert result.share("all") == 0


def test_the_same_seed_gives_the_same_picture_and_another_seed_another(paint):
    prompt = next(held_out_prompts("landscapes", 1))
    first, again, other = (paint(prompt.text, seed, prompt.scene) for seed in (1, 1, 2))
    assert first.tobytes() == again.tobytes()
    assert abs(numpy.asarray(first, int) - numpy.asarray(other, int)).mean() > 2
