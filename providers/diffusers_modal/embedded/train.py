"""Train the embedded model, from nothing to a folder that diffusers loads.

    python -m providers.diffusers_modal.embedded.train WORK_FOLDER

Three stages, each of which goes on from its last checkpoint in WORK_FOLDER when it is started
again: the text encoder learns to tell what captions say, the UNet learns to draw thumbnails for
them, the decoder learns to sharpen thumbnails. The finished pipeline is in WORK_FOLDER/model, in
half precision. docs/decisions/0014-embedded-model.md says how long that takes and
how far it got.

With `--begin-with FOLDER` it goes on from the weights of a finished pipeline, such as the one that
is shipped: the text encoder stays as it is, the UNet and the decoder are trained on.
"""

import argparse
import math
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

from providers.diffusers_modal.embedded import data, model, tokens
from providers.diffusers_modal.embedded.captions import caption
from providers.diffusers_modal.embedded.scenes import held_out, random_meaning

__all__ = ["main"]

_BATCH = 32
_NO_CAPTION = 0.1
"""Part of the pictures that are learned without their caption: guidance needs both."""
_CLEAREST = 5.0
"""Signal to noise, in power, above which a mistake counts no more than at it."""
_DECODER_NOISE, _DECODER_BLUR = 0.15, 0.25
_GUIDANCE = 2.5
"""What the registry asks for, and so what the decoder mostly sees."""
_SAVE_EVERY_S = 120


class Stage:
    """A training loop's state on disk: weights, their running mean, the optimizer, the step.

    The running mean is what is kept in the end: it is quieter than the last weights.
    """

    def __init__(self, path: Path, modules: list[Any], rate: float, steps: int, decay: float = 0.999) -> None:
        import torch

        self._path, self._rate, self._steps, self._decay = path, rate, steps, decay
        self._parameters = [p for m in modules for p in m.parameters() if p.requires_grad]
        self._mean = [p.detach().clone() for p in self._parameters]
        self._optimizer = torch.optim.AdamW(self._parameters, rate, betas=(0.9, 0.99), weight_decay=0.01)
        self.step = 0
        self._running = 0.0
        self._saved = self._began = time.monotonic()
        self._began_at = 0
        if path.exists():
            self._load()

    def steps(self) -> Iterator[int]:
        """Each step still to do. The rate warms up, then falls to nothing by a cosine."""
        while self.step < self._steps:
            warm = min(1.0, (self.step + 1) / 200)
            fall = 0.5 + 0.5 * math.cos(math.pi * self.step / self._steps)
            for group in self._optimizer.param_groups:
                group["lr"] = self._rate * warm * fall + 1e-6
            yield self.step
            if time.monotonic() - self._saved > _SAVE_EVERY_S:
                self.save()
        self.save()

    def learn(self, loss: Any) -> None:
        """One step down, and one into the running mean."""
        import torch

        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self._parameters, 1.0)
        self._optimizer.step()
        self.step += 1
        kept = min(self._decay, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            torch._foreach_lerp_(self._mean, [p.detach() for p in self._parameters], 1 - kept)
        self._running = loss.item() if not self._running else 0.98 * self._running + 0.02 * loss.item()
        if self.step % 50 == 0 or self.step == self._steps:
            self._report()

    def _report(self) -> None:
        seconds = (time.monotonic() - self._began) / (self.step - self._began_at)
        left = (self._steps - self.step) * seconds / 60
        print(
            f"{self._path.stem}: step {self.step} of {self._steps}, loss {self._running:.4f}, "
            f"{seconds:.2f} s a step, {left:.0f} min left",
            flush=True,
        )

    def save(self) -> None:
        """Write the checkpoint aside and rename it: a stop in the middle leaves the old one."""
        import torch

        state = {
            "step": self.step,
            "running": self._running,
            "weights": [p.detach() for p in self._parameters],
            "mean": self._mean,
            "optimizer": self._optimizer.state_dict(),
        }
        aside = self._path.with_suffix(".part")
        torch.save(state, aside)
        aside.replace(self._path)
        self._saved = time.monotonic()

    def _load(self) -> None:
        import torch

        state = torch.load(self._path, weights_only=True)
        with torch.no_grad():
            for target, source in zip(self._parameters, state["weights"], strict=True):
                target.copy_(source)
            for target, source in zip(self._mean, state["mean"], strict=True):
                target.copy_(source)
        self._optimizer.load_state_dict(state["optimizer"])
        self.step = self._began_at = state["step"]
        self._running = state["running"]

    def use_mean(self) -> None:
        """Put the running mean in the place of the weights."""
        import torch

        with torch.no_grad():
            for target, source in zip(self._parameters, self._mean, strict=True):
                target.copy_(source)


def tokenize(tokenizer: Any, captions: list[str]) -> Any:
    """Token ids, as the pipeline makes them: filled up to the model's length."""
    return tokenizer(
        captions,
        padding="max_length",
        max_length=tokens.MAX_TOKENS,
        truncation=True,
        return_tensors="pt",
    ).input_ids


def train_text(work: Path, text_encoder: Any, pooling: Any, tokenizer: Any, steps: int) -> None:
    """The text encoder, and the UNet's way to pool it, by telling every attribute from the caption.

    Learned through the pictures alone this takes most of the training, and pictures cost a
    hundred times what words do.
    """
    import torch
    from torch.nn.functional import cross_entropy

    width = pooling.proj.out_features
    heads = torch.nn.ModuleList(torch.nn.Linear(width, len(c)) for c in data.ATTRIBUTES.values())
    stage = Stage(work / "text.pt", [text_encoder, pooling, heads], 2e-3, steps, decay=0.99)
    for step in stage.steps():
        rng = Random(f"text {step}")
        scenes = [random_meaning(rng) for _ in range(192)]
        scenes = [scene for scene in scenes if not held_out(scene)]
        said = tokenize(tokenizer, [caption(scene, rng) for scene in scenes])
        truth = torch.tensor([data.labels(scene) for scene in scenes])
        pooled = pooling(text_encoder(said).last_hidden_state)
        loss = torch.stack([cross_entropy(head(pooled), truth[:, i]) for i, head in enumerate(heads)]).mean()
        stage.learn(loss)
    stage.use_mean()


def train_unet(
    work: Path, unet: Any, text_encoder: Any, tokenizer: Any, steps: int, squares: int, device: str
) -> None:
    """The UNet, to tell the picture from its noise. The text encoder stays as it is.

    Args:
        work: where its checkpoint is.
        unet: what learns.
        text_encoder: says what captions mean.
        tokenizer: of captions.
        steps: how many in all.
        squares: how many of them, the first, are of square pictures alone.
        device: of torch.
    """
    import torch

    signal = model.create_scheduler().alphas_cumprod.to(device)
    # Not compiled: torch 2.13's compiler gives most of this network's weights a gradient of 0 on a CPU.
    stage = Stage(work / "unet.pt", [unet], 8e-4, steps, decay=0.9995)
    for step in stage.steps():
        rng = Random(f"unet {step}")
        generator = torch.Generator().manual_seed(step)
        # The geometry is learned on squares; the other grids follow it.
        grid = rng.choice(data.GRIDS) if step % 2 == 0 and step >= squares else data.GRIDS[0]
        batch = data.thumbnails(f"unet {step}", _BATCH, *grid)
        captions = [c if rng.random() > _NO_CAPTION else "" for c in batch.captions]
        with torch.no_grad():
            said = text_encoder(tokenize(tokenizer, captions).to(device)).last_hidden_state
            clean = model.colours_to_latents(batch.pixels).to(device)
        noise = torch.randn(clean.shape, generator=generator).to(device)
        # One draw for each part of the range: a quieter loss than of free draws. Half of them from where
        # an outline is decided: above it there is its place alone, below it the outline can be seen.
        spread = (torch.arange(_BATCH) + torch.rand(_BATCH, generator=generator)) / _BATCH
        spread[::2] = 0.2 + 0.45 * spread[::2]
        when = (spread * len(signal)).long().to(device)
        kept, lost = signal[when][:, None, None, None], (1 - signal[when])[:, None, None, None]
        noisy = (kept.sqrt() * clean + lost.sqrt() * noise).contiguous(memory_format=torch.channels_last)
        with torch.autocast(device, dtype=torch.bfloat16):
            guess = unet(noisy, when, said).sample
        matters = (1 + (kept / lost).clamp(max=_CLEAREST)) * data.subject(batch.scenes, *grid).to(device)
        stage.learn((matters * (guess.float() - clean).square()).mean())
    stage.use_mean()


def train_decoder(
    work: Path, vae: Any, unet: Any, text_encoder: Any, tokenizer: Any, steps: int, device: str
) -> None:
    """The decoder, by pictures and thumbnails of them.

    Two in three thumbnails are the UNet's own, drawn from the picture under a little noise: the decoder
    learns to mend what the UNet does to an outline. The others are a little soft and have noise in them.
    """
    import torch

    stage = Stage(work / "decoder.pt", [vae.decoder], 2e-3, steps)
    signal = model.create_scheduler().alphas_cumprod.to(device)
    for step in stage.steps():
        generator = torch.Generator().manual_seed(step)
        batch = data.pictures(f"decoder {step}", 3, 256)
        sharp = batch.pixels.to(device)
        with torch.no_grad():
            latents = vae.encoder(sharp * 2 - 1)
            if step % 3:
                said = text_encoder(tokenize(tokenizer, [*batch.captions, "", "", ""]).to(device))
                latents = _redrawn(unet, latents, said.last_hidden_state, signal, generator)
            else:
                latents = _softened(latents, generator)
        with torch.autocast(device, dtype=torch.bfloat16):
            guess = vae.decoder(latents)
        off = guess.float() - (sharp * 2 - 1)
        stage.learn(off.square().mean() + 0.5 * off.abs().mean())
    stage.use_mean()


def _softened(latents: Any, generator: Any) -> Any:
    """Thumbnails with some blur and some noise."""
    import torch

    soft = torch.nn.functional.avg_pool2d(latents, 3, 1, 1, count_include_pad=False)
    latents = torch.lerp(latents, soft, _DECODER_BLUR * torch.rand((), generator=generator).item())
    amount = _DECODER_NOISE * torch.rand(len(latents), 1, 1, 1, generator=generator)
    return latents + (amount * torch.randn(latents.shape, generator=generator)).to(latents)


def _redrawn(unet: Any, latents: Any, said: Any, signal: Any, generator: Any) -> Any:
    """The UNet's own thumbnails, guided, from under so little noise that it is the same scene.

    Args:
        unet: draws.
        latents: of the pictures.
        said: what their captions mean, then as often what no caption does.
        signal: how much of the picture is left at each timestep.
        generator: of random numbers.
    """
    import torch

    count = len(latents)
    when = ((0.02 + 0.28 * torch.rand(count, generator=generator)) * len(signal)).long().to(signal.device)
    kept = signal[when][:, None, None, None]
    noise = torch.randn(latents.shape, generator=generator).to(latents)
    noisy = kept.sqrt() * latents + (1 - kept).sqrt() * noise
    asked, unasked = unet(noisy.repeat(2, 1, 1, 1), when.repeat(2), said).sample.chunk(2)
    amount = 1 + (_GUIDANCE - 1) * torch.rand((), generator=generator).item()
    return unasked + amount * (asked - unasked)


def main() -> None:
    """Train what is not trained yet, then write the pipeline."""
    import diffusers
    import torch

    # It says at length that half precision is slow on a CPU; the weights are only written so.
    diffusers.utils.logging.set_verbosity_error()
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("work", type=Path, help="checkpoints and the finished model go here")
    parser.add_argument("--begin-with", type=Path, help="a finished pipeline to train on")
    parser.add_argument("--text-steps", type=int, default=800)
    parser.add_argument("--unet-steps", type=int, default=12_000)
    parser.add_argument("--decoder-steps", type=int, default=1400)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    tokenizer = tokens.create_tokenizer()
    text_encoder = model.create_text_encoder(tokens.TOKENS)
    unet, vae = model.create_unet(), model.create_autoencoder()
    if given.begin_with is None:
        train_text(given.work, text_encoder, unet.add_embedding, tokenizer, given.text_steps)
    else:
        model.load_weights(given.begin_with, text_encoder, unet, vae)
    for part in (text_encoder, unet, vae):
        part.to(given.device)
    text_encoder.eval()
    unet.to(memory_format=torch.channels_last)
    squares = given.unet_steps // 3 if given.begin_with is None else 0
    train_unet(given.work, unet, text_encoder, tokenizer, given.unet_steps, squares, given.device)
    train_decoder(given.work, vae, unet.eval(), text_encoder, tokenizer, given.decoder_steps, given.device)
    pipeline = model.assemble(text_encoder.eval(), tokenizer, unet.eval(), vae.eval())
    pipeline.to("cpu", torch.float16).save_pretrained(given.work / "model", safe_serialization=True)


if __name__ == "__main__":
    main()
