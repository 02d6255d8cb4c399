"""LoRAs, laid over a pipeline for one job and always taken off again.

Files are safetensors and nothing else: tensors and text, so nothing in them is run. Of their text
one thing is read, the strength that they were trained with. peft reads much more there, among it
the name of a module to import, so it does not get to see it.
"""

import hashlib
import json
import math
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from providers.diffusers_modal import loader
from providers.diffusers_modal.refusal import Refused, first_line
from providers.diffusers_modal.resident import Resident
from providers.diffusers_modal.wire import Lora

__all__ = ["MAX_BYTES", "MAX_LORAS", "MAX_SCALE", "laid_over"]

MAX_LORAS = 8
"""Of one job."""
MAX_BYTES = 320 * 1024 * 1024
"""Of all the LoRAs of one job."""
MAX_SCALE = 100.0

# peft takes the names of tensors for regular expressions. These hold but dots, which is harmless.
_NAME = re.compile(r"[A-Za-z0-9_.\-]{1,300}")
# These change the weights below, or are left out in silence.
_UNFIT = ("lokr_", "lora_controlnet", "dora_scale", "lora_magnitude_vector")


@contextmanager
def laid_over(resident: Resident, loras: tuple[Lora, ...], check: Callable[[], None]) -> Iterator[None]:
    """Within it, the LoRAs are part of the pipeline, and of all that share its modules.

    Should they not come off without a trace, the pipeline is `spoiled` and must not be used again.

    Args:
        resident: what is in memory.
        loras: the same file twice counts with both scales.
        check: called before each is loaded; what it raises ends the job.

    Raises:
        Refused: a file is unfit, or the pipeline takes none.
    """
    if not loras:
        yield
        return
    pipeline = resident.pipeline
    _fit(pipeline, loras)
    before = _weights(pipeline)
    try:
        _load(pipeline, loras, check)
        yield
    finally:
        resident.spoiled = True
        pipeline.unload_lora_weights()
        resident.spoiled = _weights(pipeline) != before


def _fit(pipeline: Any, loras: tuple[Lora, ...]) -> None:
    if not hasattr(pipeline, "load_lora_weights"):
        raise Refused("bad_parameter", f"{type(pipeline).__name__} does not take LoRAs.")
    if len(loras) > MAX_LORAS:
        raise Refused("bad_parameter", f"A job takes {MAX_LORAS} LoRAs at most.")
    if sum(len(lora.data) for lora in loras) > MAX_BYTES:
        raise Refused("bad_parameter", f"The LoRAs have more than {MAX_BYTES} bytes.")
    for lora in loras:
        if not abs(lora.scale) <= MAX_SCALE:
            raise Refused("bad_parameter", f"The scale of a LoRA is from {-MAX_SCALE} to {MAX_SCALE}.")


def _load(pipeline: Any, loras: tuple[Lora, ...], check: Callable[[], None]) -> None:
    scales: dict[str, float] = {}
    for lora in loras:
        check()
        name = f"lora_{hashlib.sha256(lora.data).hexdigest()}"
        if name != f"lora_{lora.sha256}":
            raise Refused("bad_weights", "A LoRA does not have the checksum that came with it.")
        if name not in scales:
            _load_one(pipeline, name, lora)
        scales[name] = scales.get(name, 0.0) + lora.scale
    pipeline.set_adapters(list(scales), list(scales.values()))


def _load_one(pipeline: Any, name: str, lora: Lora) -> None:
    tensors = _tensors(lora.data)
    try:
        with warnings.catch_warnings():
            # Several at once are what is meant.
            warnings.filterwarnings("ignore", message="Already found a `peft_config`")
            pipeline.load_lora_weights(tensors, adapter_name=name)
    except Exception as error:
        if loader.is_out_of_memory(error):
            raise
        reason = first_line(error).replace(name, "it")
        raise Refused("bad_weights", f"A LoRA does not fit this model: {reason}") from None
    if not any(name in names for names in pipeline.get_list_adapters().values()):
        raise Refused("bad_weights", "A LoRA does not fit this model: it has nothing for any part of it.")


def _tensors(data: bytes) -> dict[str, Any]:
    """The tensors of a file, on the CPU.

    Raises:
        Refused: it is no safetensors file, or holds what is no LoRA.
    """
    import safetensors
    import safetensors.torch

    try:
        tensors: dict[str, Any] = safetensors.torch.load(data)
    except (safetensors.SafetensorError, KeyError, ValueError, TypeError):
        # The last three come of types that torch lacks, and of shapes that are none.
        raise Refused("bad_weights", "A LoRA is no whole safetensors file.") from None
    for key, tensor in tensors.items():
        named = _NAME.fullmatch(key) and not any(part in key for part in _UNFIT)
        pair = tensor.ndim > 1 or not key.endswith((".lora_A.weight", ".lora_B.weight"))
        if not (named and pair and tensor.numel() and tensor.is_floating_point()):
            raise Refused("bad_weights", f"A LoRA holds {key[:80]!r}, which is not supported.")
    if not tensors:
        raise Refused("bad_weights", "A LoRA holds no tensor.")
    return _with_strength(tensors, _trained_with(data))


def _trained_with(data: bytes) -> dict[str, Any]:
    """What diffusers' training wrote of itself into the file; empty where nothing is."""
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    text = header.get("__metadata__", {}).get("lora_adapter_metadata", "{}")
    try:
        read = json.loads(text)
    except (ValueError, RecursionError):
        raise Refused("bad_weights", "A LoRA says something of its training that is no JSON.") from None
    return read if isinstance(read, dict) else {}


def _with_strength(tensors: dict[str, Any], trained: dict[str, Any]) -> dict[str, Any]:
    """The tensors with the strength of their training worked in: alpha by rank.

    Files of other trainers hold alphas as tensors, and diffusers reads those.
    """
    strong = {}
    for key, tensor in tensors.items():
        part = key.partition(".")[0]
        alpha = trained.get(f"{part}.lora_alpha")
        if ".lora_B." in key and key.endswith(".weight") and isinstance(alpha, int | float):
            alpha = _special(key, part, trained, alpha)
            rank = tensor.shape[1]
            tensor = tensor * (alpha / (math.sqrt(rank) if trained.get(f"{part}.use_rslora") else rank))
        strong[key] = tensor
    return strong


def _special(key: str, part: str, trained: dict[str, Any], alpha: float) -> float:
    """The alpha of one module, where it has one of its own."""
    module = key.removeprefix(f"{part}.").partition(".lora_B.")[0]
    pattern = trained.get(f"{part}.alpha_pattern")
    for name, own in (pattern if isinstance(pattern, dict) else {}).items():
        plain = name.removeprefix("^")
        if (module == plain or module.endswith(f".{plain}")) and isinstance(own, int | float):
            return own
    return alpha


def _weights(pipeline: Any) -> dict[tuple[str, str], tuple[int, int]]:
    """Each weight that a LoRA could touch: which tensor it is, and how often it was written to."""
    return {
        (part, name): (id(weight), weight._version)
        for part in pipeline._lora_loadable_modules
        if (module := getattr(pipeline, part, None)) is not None
        for name, weight in module.named_parameters()
    }
