"""Fetching brings what loading a pipeline needs, once, and says how far it is."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.modal_hub import Hub, tiny_hub

from providers.diffusers_modal import embedded
from providers.diffusers_modal.fetch import _Download, is_hub_id, wanted
from providers.diffusers_modal.wire import PipelineSpec

SDXL = {
    "model_index.json": 1,
    "README.md": 2,
    "sd_xl_base_1.0.safetensors": 7000,
    "sd_xl_offset_example-lora_1.0.safetensors": 50,
    "scheduler/scheduler_config.json": 3,
    "text_encoder/config.json": 4,
    "text_encoder/model.safetensors": 400,
    "text_encoder/model.fp16.safetensors": 200,
    "text_encoder/flax_model.msgpack": 400,
    "text_encoder/openvino_model.bin": 400,
    "tokenizer/merges.txt": 5,
    "tokenizer/vocab.json": 6,
    "unet/config.json": 7,
    "unet/diffusion_pytorch_model.safetensors": 5000,
    "unet/diffusion_pytorch_model.fp16.safetensors": 2500,
    "unet/diffusion_pytorch_model.bin": 5000,
    "vae/config.json": 8,
    "vae/diffusion_pytorch_model.safetensors": 300,
    "vae_1_0/diffusion_pytorch_model.safetensors": 300,
}
PARTS = ("scheduler", "text_encoder", "tokenizer", "unet", "vae", "_class_name", "_diffusers_version")


def test_of_a_large_repository_only_the_asked_variant_is_wanted():
    chosen = wanted(SDXL, PARTS, "fp16")
    assert "unet/diffusion_pytorch_model.fp16.safetensors" in chosen
    assert "unet/diffusion_pytorch_model.safetensors" not in chosen
    # A part that has no such variant gives what it has.
    assert "vae/diffusion_pytorch_model.safetensors" in chosen
    assert not [path for path in chosen if path.endswith((".bin", ".msgpack", ".md"))]
    assert not [path for path in chosen if "/" not in path and path != "model_index.json"]
    assert sum(chosen.values()) == 1 + 3 + 4 + 200 + 5 + 6 + 7 + 2500 + 8 + 300


def test_without_a_variant_the_plain_weights_are_wanted():
    chosen = wanted(SDXL, PARTS, None)
    assert chosen["unet/diffusion_pytorch_model.safetensors"] == 5000
    assert not [path for path in chosen if "fp16" in path]


@pytest.mark.parametrize(
    "name",
    [
        "model.fp16-00001-of-00002.safetensors",
        "model-00001-of-00002.fp16.safetensors",
    ],
)
def test_both_spellings_of_a_part_of_a_variant_are_known(name):
    sizes = {f"text/{name}": 1, "text/model-00001-of-00002.safetensors": 2}
    assert wanted(sizes, ["text"], "fp16") == {f"text/{name}": 1}
    assert wanted(sizes, ["text"], None) == {"text/model-00001-of-00002.safetensors": 2}


def test_a_hub_id_is_neither_embedded_nor_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a" / "b").mkdir(parents=True)
    assert is_hub_id("stabilityai/stable-diffusion-xl-base-1.0")
    assert not is_hub_id("a/b")
    assert not is_hub_id("embedded:mini")
    assert not is_hub_id("/models/sdxl")


def test_a_file_that_comes_whole_between_two_looks_at_it_is_not_missed(tmp_path, monkeypatch):
    blobs = tmp_path / "blobs"
    blobs.mkdir()
    coming = blobs / "abc.1234.incomplete"
    coming.write_bytes(b"x" * 10)
    download = _Download(PipelineSpec(source="acme/tiny", pipeline_class="StableDiffusionPipeline"))
    download._blobs, download._names, download._sizes = blobs, {"abc": "unet/a.safetensors"}, {"abc": 16}
    assert download.step()["done_bytes"] == 10

    def look(path: Path) -> bool:
        if path == coming:
            coming.rename(blobs / "abc")
        return True

    with monkeypatch.context() as patched:
        patched.setattr(Path, "is_file", look)
        assert download.step()["done_bytes"] == 10
    (blobs / "abc").write_bytes(b"x" * 16)
    assert download.step(end=True) == {
        "done_bytes": 16, "total_bytes": 16, "file": "unet/a.safetensors", "end": True, "error": "",
    }  # fmt: skip


# In a process of its own: where the hub is, and the cache, is read when its library is imported.
FETCH = """
import json, sys
from providers.diffusers_modal.fetch import fetch, is_here
from providers.diffusers_modal.wire import PipelineSpec

spec = PipelineSpec(source=sys.argv[1], pipeline_class="StableDiffusionPipeline", variant=sys.argv[2] or None)
steps = list(fetch(spec, every_s=0.05))
loaded = False
if sys.argv[3]:
    from providers.diffusers_modal import loader
    import huggingface_hub.constants
    huggingface_hub.constants.HF_HUB_OFFLINE = True
    device, _ = loader.prepare(1)
    loaded = loader._from_pretrained(
        __import__("diffusers").StableDiffusionPipeline, spec, device
    ) is not None
print(json.dumps({"steps": steps, "here": is_here(sys.argv[1]), "loaded": loaded}))
"""


async def fetch(
    url: str, home: Path, source: str, variant: str = "", *, load: bool = False
) -> dict[str, Any]:
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", FETCH, source, variant, "yes" if load else ""],
        env=os.environ | {"HF_ENDPOINT": url, "HF_HOME": str(home), "HF_HUB_OFFLINE": "0"},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture
def hub(tmp_path) -> Hub:
    return tiny_hub(tmp_path / "hub", embedded.folder("mini"))


@pytest.mark.slow
async def test_a_fetched_pipeline_loads_without_the_hub_and_is_not_fetched_twice(hub, tmp_path):
    async with hub.serve() as url:
        first = await fetch(url, tmp_path / "home", "acme/tiny", "fp16", load=True)
        last = first["steps"][-1]
        assert (last["end"], last["error"]) == (True, "")
        assert last["done_bytes"] == last["total_bytes"] > 3_000_000
        assert last["file"]
        assert first["here"]
        assert first["loaded"]
        assert "unet/diffusion_pytorch_model.fp16.safetensors" in hub.downloads
        assert not set(hub.downloads) & {
            "unet/diffusion_pytorch_model.safetensors",
            "unet/diffusion_pytorch_model.bin",
            "all_in_one.safetensors",
        }
        before = hub.downloads.copy()
        again = await fetch(url, tmp_path / "home", "acme/tiny", "fp16")
    assert [step["total_bytes"] for step in again["steps"]] == [0] * len(again["steps"])
    assert again["steps"][-1]["end"]
    assert hub.downloads == before


async def test_a_model_that_is_nowhere_is_an_error_for_people(hub, tmp_path):
    async with hub.serve() as url:
        found = await fetch(url, tmp_path / "home", "acme/none")
    (step,) = [step for step in found["steps"] if step["end"]]
    assert step["error"].startswith("acme/none was not fetched: ")
    assert not found["here"]


async def test_an_embedded_model_needs_no_fetching(hub, tmp_path):
    found = await fetch("http://127.0.0.1:1", tmp_path / "home", "embedded:mini")
    assert found["steps"] == [{"done_bytes": 0, "total_bytes": 0, "file": "", "end": True, "error": ""}]
