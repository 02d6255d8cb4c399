"""The parts before they are trained, and the training loop's checkpoints."""

import pytest
import torch
from safetensors.torch import load_file

from providers.diffusers_modal import embedded
from providers.diffusers_modal.embedded import data, model, train
from providers.diffusers_modal.embedded.evaluate import held_out_prompts, painter
from providers.diffusers_modal.embedded.scenes import held_out


def test_the_encoder_takes_the_mean_of_each_cell():
    vae = model.create_autoencoder()
    pixels = data.pictures("encoder", 4, 64).pixels
    means = torch.nn.functional.avg_pool2d(pixels, model.CELL)
    with torch.no_grad():
        latents = vae.encode(pixels * 2 - 1).latents
    assert torch.allclose(latents, model.colours_to_latents(means), atol=1e-4)


def test_latents_have_a_spread_of_about_one():
    latents = model.colours_to_latents(data.thumbnails("spread", 200).pixels)[:, :3]
    assert ((latents.std((0, 2, 3)) > 0.7) & (latents.std((0, 2, 3)) < 1.3)).all()
    assert latents.abs().max() < 3  # the decoder's range


def test_the_last_timestep_is_pure_noise():
    assert model.create_scheduler().alphas_cumprod[-1] == 0


def test_batches_come_again_and_hold_nothing_that_is_held_out():
    first, again, other = (data.thumbnails(seed, 16, 40, 24) for seed in ("a", "a", "b"))
    assert torch.equal(first.pixels, again.pixels)
    assert first.captions == again.captions != other.captions
    assert first.pixels.shape == (16, 3, 24, 40)
    assert not any(map(held_out, first.scenes))
    assert all(len(data.labels(scene)) == len(data.ATTRIBUTES) for scene in first.scenes)


def run(path, module, steps, stop=None):
    """Train a module on noise; `stop` ends it early, with a checkpoint."""
    stage = train.Stage(path, [module], 0.01, steps)
    for step in stage.steps():
        if step == stop:
            stage.save()
            return
        inputs = torch.randn(8, 3, generator=torch.Generator().manual_seed(step))
        stage.learn(module(inputs).square().mean())
    stage.use_mean()


def linear():
    torch.manual_seed(0)
    return torch.nn.Linear(3, 3)


def test_a_training_that_was_stopped_goes_on_as_if_it_had_not_been(tmp_path):
    straight, stopped = linear(), linear()
    run(tmp_path / "straight.pt", straight, 20)
    run(tmp_path / "stopped.pt", stopped, 20, stop=7)
    resumed = linear()
    run(tmp_path / "stopped.pt", resumed, 20)
    assert torch.equal(resumed.weight, straight.weight)
    assert not torch.equal(resumed.weight, linear().weight)


def test_a_stop_while_a_checkpoint_is_written_leaves_the_one_before(tmp_path, monkeypatch):
    run(tmp_path / "a.pt", linear(), 5)
    before = (tmp_path / "a.pt").read_bytes()

    def full(state, path):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match="No space"):
        run(tmp_path / "a.pt", linear(), 9, stop=6)
    assert (tmp_path / "a.pt").read_bytes() == before


@pytest.mark.slow
def test_the_command_trains_all_of_it_into_a_folder_that_diffusers_loads(tmp_path, monkeypatch, capsys):
    few = ["--text-steps", "2", "--unet-steps", "1", "--decoder-steps", "1", "--device", "cpu"]
    monkeypatch.setattr("sys.argv", ["train", str(tmp_path), *few])
    train.main()
    prompt = next(held_out_prompts("shapes", 1))
    assert painter(tmp_path / "model", steps=1)(prompt.text, 0, prompt.scene).size == (256, 256)
    assert "decoder: step 1 of 1" in capsys.readouterr().out


@pytest.mark.slow
def test_the_command_trains_on_what_is_finished(tmp_path, monkeypatch, capsys):
    few = ["--text-steps", "1", "--unet-steps", "1", "--decoder-steps", "2", "--device", "cpu"]
    begin = embedded.folder("mini")
    monkeypatch.setattr("sys.argv", ["train", str(tmp_path), *few, "--begin-with", str(begin)])
    train.main()
    capsys.readouterr()
    assert not (tmp_path / "text.pt").exists()
    name = "text_encoder/model.safetensors"
    before, after = (load_file(folder / name) for folder in (begin, tmp_path / "model"))
    assert all(torch.equal(before[key], after[key]) for key in before)
