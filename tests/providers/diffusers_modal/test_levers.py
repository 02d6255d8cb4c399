"""Levers are off unless asked for, and change the picture by rounding alone."""

from pathlib import Path

import pytest
import torch
from msgspec.structs import replace
from support.engines import job, made, pixels
from support.loras import lora, make

from providers.diffusers_modal.engine import Engine
from providers.diffusers_modal.levers import LEVERS, UnknownLeverError, read_levers

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", ()),
        (" , ", ()),
        ("compile", ("compile",)),
        (" channels_last ,compile,channels_last", ("channels_last", "compile")),
    ],
)
def test_names(text, names):
    assert read_levers(text) == names


def test_a_name_that_is_none():
    with pytest.raises(UnknownLeverError, match="channels_last, compile, autotune"):
        read_levers("channels_last,warp")


@pytest.fixture(scope="module")
def pulled() -> Engine:
    return Engine(levers=("channels_last",))


def run(engine, spec, *files):
    return made(engine.run(replace(job(pipeline=spec), loras=files))).images[0].data


def test_without_levers_nothing_is_changed(other_engine, sdxl):
    run(other_engine, sdxl)
    conv = other_engine._runner.resident.pipeline.unet.conv_in.weight
    assert not conv.is_contiguous(memory_format=torch.channels_last)
    assert torch.are_deterministic_algorithms_enabled()


def test_channels_last_is_the_same_picture_but_for_rounding(other_engine, pulled, sdxl):
    plain, changed = run(other_engine, sdxl), run(pulled, sdxl)
    conv = pulled._runner.resident.pipeline.unet.conv_in.weight
    assert conv.is_contiguous(memory_format=torch.channels_last)
    assert abs(pixels(plain) - pixels(changed)).mean() < 2
    assert run(pulled, sdxl) == changed


def test_a_lora_still_shows(pulled, sdxl):
    style = lora(make(sdxl.source))
    before = run(pulled, sdxl)
    assert abs(pixels(run(pulled, sdxl, style)) - pixels(before)).mean() > 0
    assert run(pulled, sdxl) == before


def test_autotune_gives_up_what_can_be_repeated():
    engine = Engine(levers=("autotune",))
    try:
        made(engine.run(job()))
        assert torch.backends.cudnn.benchmark
        assert not torch.are_deterministic_algorithms_enabled()
    finally:
        torch.backends.cudnn.benchmark = False
        torch.use_deterministic_algorithms(True)


def test_each_lever_is_in_the_docs():
    text = (Path(__file__).parents[3] / "docs" / "diffusers.md").read_text()
    assert [name for name in LEVERS if f"`{name}`" not in text] == []
