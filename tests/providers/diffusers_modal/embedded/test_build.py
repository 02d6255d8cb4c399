import hashlib

import pytest
import torch
from support.engines import job, pixels

from providers.diffusers_modal.embedded import folder
from providers.diffusers_modal.embedded.build import build, ensure


def digests(folder):
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


@pytest.mark.parametrize("threads", [1, 2])
def test_two_builds_have_the_same_bytes(tmp_path, threads):
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        build(tmp_path / "again")
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert digests(tmp_path / "again") == digests(folder("mini"))


def test_it_is_small_and_all_safetensors():
    files = [p for p in folder("mini").rglob("*") if p.is_file()]
    assert sum(p.stat().st_size for p in files) <= 4_000_000
    assert {p.suffix for p in files} == {".json", ".safetensors"}


def test_a_build_cut_short_is_not_used(tmp_path):
    left = tmp_path / "embedded" / ".building-x" / "model"
    left.mkdir(parents=True)
    (left / "model_index.json").write_text("{")
    found = ensure("mini", tmp_path)
    assert found != left
    assert (found / "unet" / "diffusion_pytorch_model.safetensors").exists()


def test_a_second_use_builds_nothing():
    before = folder("mini").stat().st_mtime_ns
    folder("mini")
    assert folder("mini").stat().st_mtime_ns == before


def test_the_unknown_name_is_told(tmp_path):
    with pytest.raises(LookupError, match="maxi"):
        ensure("maxi", tmp_path)


@pytest.mark.parametrize("prompt", ["a red cat", "", "東京の夜 🌃", "word " * 2000])
def test_any_prompt_gives_a_colourful_picture(engine, prompt):
    done = engine.run(job(prompt=prompt, width=128, height=128, num_inference_steps=8))
    picture = pixels(done.images[0].data)
    assert picture.std((0, 1)).min() > 12
    assert abs(picture - picture.mean(2, keepdims=True)).mean() > 15
