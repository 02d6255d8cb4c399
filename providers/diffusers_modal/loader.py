"""From a pipeline's description to a pipeline in memory. torch and diffusers come in lazily."""

import inspect
import logging
import os
import traceback
from pathlib import Path
from typing import Any

from providers.diffusers_modal import embedded
from providers.diffusers_modal.refusal import first_line
from providers.diffusers_modal.wire import PipelineSpec

__all__ = ["BadWeightsError", "is_out_of_memory", "load", "prepare"]

_logger = logging.getLogger(__name__)


class BadWeightsError(Exception):
    """The pipeline could not be loaded: no such class, no such weights, or they are broken."""


def prepare(threads: int) -> tuple[str, str]:
    """Import torch and diffusers and make them repeatable.

    Args:
        threads: CPU threads of an operation. The same number gives the same bytes.

    Returns:
        The device to use as torch has it, and its name for people.
    """
    # cuBLAS is repeatable only with a fixed workspace, and reads this when it starts.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # Else the hub's library asks the hub which program calls it, also for what is here already.
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    import torch
    import transformers

    # Before diffusers' pipelines are imported: they warn about each optional library.
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    import diffusers

    diffusers.utils.logging.set_verbosity_error()
    diffusers.utils.logging.disable_progress_bar()
    torch.set_num_threads(threads)
    cuda = torch.cuda.is_available()
    # A GPU has operations without a repeatable form: a picture is better than none there.
    torch.use_deterministic_algorithms(True, warn_only=cuda)
    torch.backends.cudnn.benchmark = False
    if cuda:
        return "cuda", torch.cuda.get_device_name()
    device = "mps" if torch.backends.mps.is_available() else "cpu"
    return device, device


def load(spec: PipelineSpec, device: str) -> Any:
    """The pipeline, on its device, in evaluation mode.

    Weights are safetensors and nothing else, and no code that comes with a model is run. What
    is on this machine is used first; the hub is asked only for what is not.

    Raises:
        BadWeightsError: with a message for people.
    """
    import diffusers

    pipeline_class = getattr(diffusers, spec.pipeline_class, None)
    if not (inspect.isclass(pipeline_class) and issubclass(pipeline_class, diffusers.DiffusionPipeline)):
        raise BadWeightsError(f"diffusers has no pipeline class {spec.pipeline_class!r}.")
    try:
        pipeline = _from_pretrained(pipeline_class, spec, device)
    except Exception as error:
        if is_out_of_memory(error):
            raise
        # As text: a log record that holds the error would hold what had been loaded.
        _logger.error("loading %s failed\n%s", spec.source, traceback.format_exc())
        reason = first_line(error)
        raise BadWeightsError(f"The weights of {spec.source} could not be loaded: {reason}") from None
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _from_pretrained(pipeline_class: Any, spec: PipelineSpec, device: str) -> Any:
    arguments = _arguments(pipeline_class, spec, device)
    kind, _, name = spec.source.partition(":")
    if kind == "embedded":
        pipeline = pipeline_class.from_pretrained(embedded.folder(name), local_files_only=True, **arguments)
    else:
        pipeline = _local_then_hub(pipeline_class, spec.source, arguments)
    return pipeline if "device_map" in arguments else pipeline.to(device)


def _local_then_hub(pipeline_class: Any, source: str, arguments: dict[str, Any]) -> Any:
    try:
        return pipeline_class.from_pretrained(source, local_files_only=True, **arguments)
    except (OSError, ValueError) as error:
        if Path(source).is_dir():
            raise
        _logger.info("%s is not whole on this machine (%s); asking the hub", source, type(error).__name__)
    return pipeline_class.from_pretrained(source, **arguments)


def _arguments(pipeline_class: Any, spec: PipelineSpec, device: str) -> dict[str, Any]:
    import torch

    # Half precision on a CPU is slow, and some of its operations are missing.
    dtype = "float32" if device == "cpu" and spec.dtype == "float16" else spec.dtype
    arguments: dict[str, Any] = {"dtype": getattr(torch, dtype), "use_safetensors": True}
    if spec.variant is not None:
        arguments["variant"] = spec.variant
    if spec.device_map is not None and device == "cuda":
        arguments["device_map"] = spec.device_map
    takes = inspect.signature(pipeline_class.__init__).parameters
    # Moderation is the gateway's business, and a watermark nobody asked for changes pixels.
    off = {"safety_checker": None, "requires_safety_checker": False, "add_watermarker": False}
    arguments.update({name: value for name, value in off.items() if name in takes})
    return arguments


def is_out_of_memory(error: BaseException) -> bool:
    """Whether torch, or Python, says that memory ran out."""
    import torch

    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    # The CPU's allocator raises a plain RuntimeError.
    return isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error)
