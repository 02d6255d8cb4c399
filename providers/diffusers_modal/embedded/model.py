"""The parts of the embedded model, untrained: text encoder, UNet, autoencoder, scheduler.

A latent cell is the mean colour of 8x8 pixels, so the encoder has nothing to learn: its weights
are set here. The UNet draws a thumbnail of 32x32 cells; the decoder learns to sharpen it by 8.
"""

from pathlib import Path
from typing import Any

from providers.diffusers_modal.embedded.tokens import MAX_TOKENS

__all__ = [
    "CELL",
    "LATENT_CHANNELS",
    "TEXT_WIDTH",
    "assemble",
    "colours_to_latents",
    "create_autoencoder",
    "create_scheduler",
    "create_text_encoder",
    "create_unet",
    "load_weights",
]

CELL = 8
"""Pixels along a side of what one latent cell stands for."""
LATENT_CHANNELS = 4
"""Three of colour and one that is always 0: diffusers' inpainting takes 4 or 9, and not 3."""
TEXT_WIDTH = 128

# The principal axes of the scenes' colours, each scaled to a spread of about 1. RGB as such is
# nearly all brightness, and noise would hide the hue long before it.
_MIX = (
    # red, green, blue
    (1.80, 1.35, 1.00),
    (-2.00, 0.45, 2.90),
    (2.45, -5.20, 2.50),
)


def create_text_encoder(vocabulary: int) -> Any:
    """Two layers, 0.3 M weights."""
    from transformers import CLIPTextConfig, CLIPTextModel

    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=vocabulary,
            hidden_size=TEXT_WIDTH,
            intermediate_size=2 * TEXT_WIDTH,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=MAX_TOKENS,
            projection_dim=TEXT_WIDTH,
            bos_token_id=1,
            eos_token_id=2,
            pad_token_id=0,
        )
    )


def create_unet(widths: tuple[int, ...] = (32, 64, 128, 160)) -> Any:
    """The caption comes in twice: pooled, with the timestep, into every block, and as words.

    Pooled, it says what to draw, and that is quickly learned. Its words are looked at in the
    deepest blocks, of 4x4 cells, where looking is cheap.
    """
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel(
        sample_size=32,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        block_out_channels=widths,
        down_block_types=("DownBlock2D", "DownBlock2D", "DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D", "UpBlock2D", "UpBlock2D"),
        layers_per_block=1,
        cross_attention_dim=TEXT_WIDTH,
        attention_head_dim=4,
        norm_num_groups=16,
        resnet_time_scale_shift="scale_shift",
        addition_embed_type="text",
        addition_embed_type_num_heads=8,
    )


def create_autoencoder(width: int = 32) -> Any:
    """An encoder that is exact from the start and a decoder that is not trained yet."""
    import torch
    from diffusers import AutoencoderTiny

    stages = 4
    vae = AutoencoderTiny(
        encoder_block_out_channels=(width,) * stages,
        decoder_block_out_channels=(width,) * stages,
        num_encoder_blocks=(1,) * stages,
        num_decoder_blocks=(3, 3, 2, 1),
        latent_channels=LATENT_CHANNELS,
        scaling_factor=1.0,
    )
    with torch.no_grad():
        _set_encoder(vae.encoder, width)
    vae.encoder.requires_grad_(False)
    return vae


def _set_encoder(encoder: Any, width: int) -> None:
    """Means of 2x2, three times over, then the mix of colours. Between them nothing changes."""
    import torch

    for weight in encoder.parameters():
        weight.zero_()
    for block in encoder.modules():
        if isinstance(getattr(block, "skip", None), torch.nn.Conv2d):
            block.skip.weight[:, :, 0, 0] = torch.eye(width)
    layers: list[Any] = [layer for layer in encoder.layers if isinstance(layer, torch.nn.Conv2d)]
    first, *halvings, last = layers
    for channel in range(3):
        first.weight[channel, channel, 1, 1] = 1.0  # pixels are from 0 to 1 in here
        for halving in halvings:
            halving.weight[channel, channel, 1:, 1:] = 0.25
    mix = torch.tensor(_MIX)
    last.weight[:3, :3, 1, 1] = mix
    last.bias[:3] = -mix.sum(1) / 2  # grey is 0


def colours_to_latents(pixels: Any) -> Any:
    """What the encoder makes of thumbnails: batch x 3 x rows x columns, from 0 to 1."""
    import torch

    latents = torch.zeros(len(pixels), LATENT_CHANNELS, *pixels.shape[2:])
    latents[:, :3] = torch.einsum("lc,bcyx->blyx", torch.tensor(_MIX), pixels - 0.5)
    return latents


def create_scheduler() -> Any:
    """Ends in pure noise, so that a background of one plain colour can be drawn at all."""
    from diffusers import DDIMScheduler

    return DDIMScheduler(
        num_train_timesteps=1000,
        beta_schedule="linear",
        beta_start=0.0005,
        beta_end=0.02,
        prediction_type="sample",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
        clip_sample=False,
        set_alpha_to_one=True,
        steps_offset=1,
    )


def load_weights(folder: Path, text_encoder: Any, unet: Any, vae: Any) -> None:
    """Put a finished pipeline's weights into parts of the same shape.

    Raises:
        RuntimeError: they are of another shape.
    """
    from safetensors.torch import load_file

    for part, name in ((text_encoder, "text_encoder"), (unet, "unet"), (vae, "vae")):
        (file,) = (folder / name).glob("*.safetensors")
        part.load_state_dict({key: value.float() for key, value in load_file(file).items()})


def assemble(text_encoder: Any, tokenizer: Any, unet: Any, vae: Any) -> Any:
    """The ordinary pipeline of diffusers around the parts."""
    from diffusers import StableDiffusionPipeline

    return StableDiffusionPipeline(
        vae=vae,
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        unet=unet,
        scheduler=create_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
