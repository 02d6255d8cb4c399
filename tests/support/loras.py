"""Small real LoRAs for the tiny pipelines."""

import hashlib
import tempfile
from pathlib import Path
from typing import Any

from providers.diffusers_modal.wire import Lora


def lora(data: bytes, scale: float = 1.0) -> Lora:
    return Lora(sha256=hashlib.sha256(data).hexdigest(), data=data, scale=scale)


def make(folder: Path, *, seed: int = 0, alpha: int = 2, told: bool = False) -> bytes:
    """A file of rank 2 for the UNet of the SDXL pipeline in `folder`.

    Args:
        folder: of `build_sdxl`.
        seed: its weights.
        alpha: what it was trained with; other than 2 it is stronger or weaker than its numbers.
        told: whether the file says so, as diffusers' training does today.
    """
    import torch
    from diffusers import StableDiffusionXLPipeline, UNet2DConditionModel
    from diffusers.training_utils import _collate_lora_metadata
    from peft import LoraConfig
    from peft.utils import get_peft_model_state_dict

    unet = UNet2DConditionModel.from_pretrained(folder, subfolder="unet")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        # Not the usual start, which has no effect.
        unet.add_adapter(
            LoraConfig(
                r=2,
                lora_alpha=alpha,
                target_modules=["to_q", "to_k", "to_v", "to_out.0"],
                init_lora_weights=False,
            )
        )
    metadata: dict[str, Any] = _collate_lora_metadata({"unet": unet}) if told else {}
    with tempfile.TemporaryDirectory() as work:
        StableDiffusionXLPipeline.save_lora_weights(
            work, unet_lora_layers=get_peft_model_state_dict(unet), **metadata
        )
        return next(Path(work).iterdir()).read_bytes()
