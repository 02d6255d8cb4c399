"""The model `embedded:mini`: a real StableDiffusionPipeline of 3.6 MB that nobody trained.

    python -m providers.diffusers_modal.embedded.build FOLDER

Its weights come from a seed, so its pictures are abstract: soft blots of colour that change
with the prompt, the seed and every other parameter. It exists so that the whole path from an
HTTP request to a picture runs on a fresh machine with no network, with the same classes and
files that a real model has.
"""

import argparse
import shutil
import tempfile
from pathlib import Path
from typing import Any

__all__ = ["RECIPE", "build", "ensure", "main"]

RECIPE = "mini-1"
"""Names the folder in a cache; a change of the recipe needs a new name."""

# Chosen by eye among ten for its colours. The other numbers below were tuned with it.
_SEED = 7
_TEXT_WIDTH = 64
_MAX_TOKENS = 77
_LATENT_GAIN = 1.2
_PIXEL_GAIN = 0.6
_PROMPT_GAIN = 4.0


def ensure(name: str, cache_dir: Path) -> Path:
    """The folder of an embedded model, built on its first use.

    A folder that stands under its final name is whole: it is built aside and renamed.

    Raises:
        LookupError: no embedded model has this name.
    """
    if name != "mini":
        raise LookupError(f"there is no embedded model {name!r}; there is mini")
    folder = cache_dir / "embedded" / RECIPE
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        _build_aside(folder)
    return folder


def _build_aside(folder: Path) -> None:
    work = Path(tempfile.mkdtemp(prefix=".building-", dir=folder.parent))
    try:
        build(work / "model")
        (work / "model").rename(folder)
    except OSError:
        # Another process may have been first; a full folder cannot be renamed over.
        if not folder.exists():
            raise
    finally:
        shutil.rmtree(work)


def build(folder: Path) -> None:
    """Write the model into `folder`: the same bytes on every run on a machine."""
    import torch

    threads = torch.get_num_threads()
    # Sums depend on the number of threads, and with them the weights.
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.manual_seed(_SEED)
            pipeline = _pipeline()
            _tune(pipeline)
    finally:
        torch.set_num_threads(threads)
    pipeline.save_pretrained(folder, safe_serialization=True)


def _tokenizer() -> Any:
    """One token a byte, so that every prompt has some; 77 at most, as CLIP has it."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    pad, bos, eos = special = ("<pad>", "<bos>", "<eos>")
    symbols = [*special, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    tokenizer = Tokenizer(models.BPE(vocab={s: i for i, s in enumerate(symbols)}, merges=[]))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{bos} $A {eos}", special_tokens=[(bos, 1), (eos, 2)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=bos,
        eos_token=eos,
        pad_token=pad,
        model_max_length=_MAX_TOKENS,
    )


def _text_encoder(vocabulary: int) -> Any:
    from transformers import CLIPTextConfig, CLIPTextModel

    config = CLIPTextConfig(
        vocab_size=vocabulary,
        hidden_size=_TEXT_WIDTH,
        intermediate_size=2 * _TEXT_WIDTH,
        num_hidden_layers=2,
        num_attention_heads=4,
        projection_dim=_TEXT_WIDTH,
        max_position_embeddings=_MAX_TOKENS,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
        hidden_act="gelu",
        # Ten times the usual spread: prompts must differ without training.
        initializer_range=0.2,
    )
    return CLIPTextModel(config)


def _vae() -> Any:
    """Four blocks: 8 pixels a latent cell, so that 512x512 stays fast on two cores."""
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        block_out_channels=[8, 16, 16, 16],
        down_block_types=["DownEncoderBlock2D"] * 4,
        up_block_types=["UpDecoderBlock2D"] * 4,
        latent_channels=4,
        norm_num_groups=4,
        layers_per_block=1,
        sample_size=256,
        scaling_factor=1.0,
    )


def _unet() -> Any:
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel(
        block_out_channels=(16, 32, 48),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        layers_per_block=1,
        sample_size=32,
        in_channels=4,
        out_channels=4,
        cross_attention_dim=_TEXT_WIDTH,
        norm_num_groups=4,
        attention_head_dim=8,
    )


def _pipeline() -> Any:
    from diffusers import EulerDiscreteScheduler, StableDiffusionPipeline

    tokenizer = _tokenizer()
    # The order of these three lines decides which random numbers each gets.
    text_encoder = _text_encoder(len(tokenizer))
    vae = _vae()
    unet = _unet()
    for part in (text_encoder, vae, unet):
        part.eval()
    scheduler = EulerDiscreteScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        # What the network says becomes picture at the noisiest step already, so an untrained
        # one paints something instead of leaving the noise.
        prediction_type="v_prediction",
        timestep_spacing="trailing",
        steps_offset=1,
    )
    return StableDiffusionPipeline(
        vae=vae,
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        unet=unet,
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def _tune(pipeline: Any) -> None:
    """Scale the random weights so that latents and pixels fill their ranges, softly."""
    import torch

    for name, weight in pipeline.unet.named_parameters():
        if ".attn2.to_out" in name or ".attn2.to_v" in name:
            weight.mul_(_PROMPT_GAIN)
    for name, layer in pipeline.vae.decoder.named_modules():
        if name == "conv_in" or name.endswith("upsamplers.0.conv"):
            _soften(layer)
    _soften(pipeline.unet.conv_out)
    noise = torch.Generator().manual_seed(0)
    prompts = ["red cat", "a tree", "", "hello world", "night", "x", "sea", "sun"]
    tokens = pipeline.tokenizer(
        prompts, padding="max_length", max_length=_MAX_TOKENS, return_tensors="pt"
    ).input_ids
    text = pipeline.text_encoder(tokens)[0]
    latents = torch.randn(len(prompts), 4, 32, 32, generator=noise)
    _centre(pipeline.unet.conv_out, pipeline.unet(latents, 500, text).sample, _LATENT_GAIN)
    smooth = torch.nn.functional.avg_pool2d(torch.randn(len(prompts), 4, 96, 96, generator=noise), 3) * 3
    _centre(pipeline.vae.decoder.conv_out, pipeline.vae.decode(smooth).sample, _PIXEL_GAIN)


def _soften(convolution: Any) -> None:
    """Turn most of each 3x3 kernel into its mean: a blur, where random kernels give grain."""
    weight = convolution.weight
    weight.copy_(weight * 0.15 + weight.mean((2, 3), keepdim=True) * 2)


def _centre(convolution: Any, output: Any, spread: float) -> None:
    """Change the last layer so that each channel of `output` has mean 0 and this deviation."""
    scale = spread / output.std((0, 2, 3))
    convolution.bias.copy_((convolution.bias - output.mean((0, 2, 3))) * scale)
    convolution.weight.mul_(scale[:, None, None, None])


def main() -> None:
    """Build the model into the folder named on the command line."""
    parser = argparse.ArgumentParser(description="Build the model embedded:mini.")
    parser.add_argument("folder", type=Path)
    build(parser.parse_args().folder)


if __name__ == "__main__":
    main()
