"""Tiny real pipelines, made offline from random weights: the classes and files of the big ones.

Each `build_*` writes a folder in some tenths of a second; `PipelineSpec(source=str(folder), ...)`
loads it. Pictures of 64 pixels take some tenths of a second too.
"""

import io
from pathlib import Path
from typing import Any

import numpy
from PIL import Image

from providers.diffusers_modal.wire import PipelineSpec

_WIDTH = 32
_CODES = 128


def sdxl_spec(folder: Path) -> PipelineSpec:
    return PipelineSpec(source=str(folder), pipeline_class="StableDiffusionXLPipeline")


def glm_spec(folder: Path) -> PipelineSpec:
    return PipelineSpec(source=str(folder), pipeline_class="GlmImagePipeline")


def photo(width: int = 64, height: int = 64, *, kind: str = "PNG", seed: int = 0) -> bytes:
    """A file with soft colours."""
    coarse = numpy.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=numpy.uint8)
    return file_of(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC), kind)


def half_mask(width: int = 64, height: int = 64) -> bytes:
    """White, to be painted, on the right."""
    mask = Image.new("L", (width, height), 0)
    mask.paste(255, (width // 2, 0, width, height))
    return file_of(mask, "PNG")


def file_of(image: Image.Image, kind: str) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


def build_sdxl(folder: Path) -> Path:
    """A StableDiffusionXLPipeline of some 3 MB; sizes are multiples of 8."""
    import torch
    from diffusers import EulerDiscreteScheduler, StableDiffusionXLPipeline
    from transformers import CLIPTextModel, CLIPTextModelWithProjection

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        tokenizer = _tokenizer({})
        text = _clip_config(tokenizer)
        pipeline = StableDiffusionXLPipeline(
            vae=_vae(),
            text_encoder=CLIPTextModel(text),
            text_encoder_2=CLIPTextModelWithProjection(text),
            tokenizer=tokenizer,
            tokenizer_2=tokenizer,
            unet=_sdxl_unet(),
            scheduler=EulerDiscreteScheduler(
                beta_start=0.00085,
                beta_end=0.012,
                beta_schedule="scaled_linear",
                prediction_type="v_prediction",
                timestep_spacing="trailing",
            ),
            add_watermarker=False,
        )
    return _save(pipeline, folder)


def build_glm(folder: Path) -> Path:
    """A GlmImagePipeline of 1 MB; sizes are multiples of 32, as with the real one."""
    import torch
    from diffusers import FlowMatchEulerDiscreteScheduler, GlmImagePipeline, GlmImageTransformer2DModel
    from transformers import ByT5Tokenizer, T5Config, T5EncoderModel

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        # The image codes come first in the vocabulary, as in the real model.
        tokenizer = _tokenizer({f"<|dit_{i}|>": i for i in range(_CODES)})
        glyphs = T5Config(
            vocab_size=384, d_model=_WIDTH, d_kv=8, d_ff=32, num_layers=1, num_heads=2,
            is_encoder_decoder=False, feed_forward_proj="gated-gelu",
        )  # fmt: skip
        transformer = GlmImageTransformer2DModel(
            patch_size=2, in_channels=4, out_channels=4, num_layers=2, attention_head_dim=8,
            num_attention_heads=2, text_embed_dim=_WIDTH, time_embed_dim=16, condition_dim=8,
            # The AR model may end early, and its padding is looked up here too.
            prior_vq_quantizer_codebook_size=len(tokenizer),
        )  # fmt: skip
        pipeline = GlmImagePipeline(
            tokenizer=ByT5Tokenizer(),
            processor=_glm_processor(tokenizer),
            text_encoder=T5EncoderModel(glyphs),
            vision_language_encoder=_glm_encoder(tokenizer),
            vae=_vae(latents_mean=[0.0] * 4, latents_std=[1.0] * 4),
            transformer=transformer,
            scheduler=FlowMatchEulerDiscreteScheduler(),
        )
    return _save(pipeline, folder)


def _save(pipeline: Any, folder: Path) -> Path:
    pipeline.save_pretrained(folder, safe_serialization=True)
    return folder


def _tokenizer(first: dict[str, int]) -> Any:
    """One token a byte, after `first` and the special ones."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    special = ("<|pad|>", "<|bos|>", "<|image|>", "<|eos|>", "<sop>", "<eop>")
    vocabulary = dict(first)
    for symbol in (*special, *sorted(pre_tokenizers.ByteLevel.alphabet())):
        vocabulary[symbol] = len(vocabulary)
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    if not first:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<|bos|> $A <|eos|>",
            special_tokens=[(name, vocabulary[name]) for name in ("<|bos|>", "<|eos|>")],
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<|pad|>",
        bos_token="<|bos|>",
        eos_token="<|eos|>",
        model_max_length=4096 if first else 77,
        padding_side="left" if first else "right",
        extra_special_tokens={
            "image_token": "<|image|>",
            "grid_bos_token": "<sop>",
            "grid_eos_token": "<eop>",
        },
    )


def _clip_config(tokenizer: Any) -> Any:
    from transformers import CLIPTextConfig

    return CLIPTextConfig(
        vocab_size=len(tokenizer), hidden_size=_WIDTH, intermediate_size=_WIDTH, num_hidden_layers=2,
        num_attention_heads=2, projection_dim=_WIDTH, max_position_embeddings=77,
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id, hidden_act="gelu",
        # Ten times the usual spread: prompts must differ without training.
        initializer_range=0.2,
    )  # fmt: skip


def _vae(**more: Any) -> Any:
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        block_out_channels=(8, 8, 16, 16), down_block_types=["DownEncoderBlock2D"] * 4,
        up_block_types=["UpDecoderBlock2D"] * 4, latent_channels=4, norm_num_groups=4,
        layers_per_block=1, sample_size=64, **more,
    )  # fmt: skip


def _sdxl_unet() -> Any:
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel(
        block_out_channels=(16, 32), layers_per_block=1, sample_size=8, in_channels=4, out_channels=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"), attention_head_dim=(2, 4),
        norm_num_groups=4, use_linear_projection=True, addition_embed_type="text_time",
        addition_time_embed_dim=8, transformer_layers_per_block=(1, 1),
        projection_class_embeddings_input_dim=6 * 8 + _WIDTH, cross_attention_dim=2 * _WIDTH,
    )  # fmt: skip


def _glm_processor(tokenizer: Any) -> Any:
    from transformers import GlmImageImageProcessorPil, GlmImageProcessor

    pictures = GlmImageImageProcessorPil(
        patch_size=16,
        merge_size=1,
        temporal_patch_size=1,
        size={"shortest_edge": 1024, "longest_edge": 4194304},
    )
    template = (
        "{% for m in messages %}{% for c in m['content'] %}{% if c['type'] == 'image' %}"
        "<|bos|><|image|><|eos|>{% else %}{{ c['text'] }}{% endif %}{% endfor %}{% endfor %}"
    )
    return GlmImageProcessor(image_processor=pictures, tokenizer=tokenizer, chat_template=template)


def _glm_encoder(tokenizer: Any) -> Any:
    from transformers import GlmImageConfig, GlmImageForConditionalGeneration

    image, start, end = tokenizer.convert_tokens_to_ids(["<|image|>", "<|bos|>", "<|eos|>"])
    text = {
        "vocab_size": len(tokenizer), "hidden_size": _WIDTH, "intermediate_size": _WIDTH,
        "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 2,
        "max_position_embeddings": 4096, "vision_vocab_size": _CODES + 2,
        "rope_parameters": {
            "mrope_section": (4, 2, 2), "rope_type": "default", "rope_theta": 10000.0,
            "partial_rotary_factor": 1.0,
        },
        "pad_token_id": tokenizer.pad_token_id, "eos_token_id": end,
    }  # fmt: skip
    vision = {
        "depth": 1, "hidden_size": _WIDTH, "num_heads": 2, "image_size": 64, "patch_size": 16,
        "intermediate_size": _WIDTH,
    }  # fmt: skip
    return GlmImageForConditionalGeneration(
        GlmImageConfig(
            text_config=text,
            vision_config=vision,
            vq_config={"embed_dim": _WIDTH, "num_embeddings": _CODES, "latent_channels": _WIDTH},
            image_token_id=image,
            image_start_token_id=start,
            image_end_token_id=end,
        )
    )
