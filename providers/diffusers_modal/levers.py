"""What makes a pipeline faster on some machines. All are off unless they are asked for.

None of them was measured on a GPU here: see docs/diffusers.md. `bench/engine.py --levers` does it.
"""

import logging
from collections.abc import Iterable
from typing import Any

__all__ = ["LEVERS", "UnknownLeverError", "apply", "read_levers"]

_logger = logging.getLogger(__name__)

LEVERS = {
    "channels_last": "weights of convolutions in the order that tensor cores like",
    "compile": "the repeated blocks through torch.compile: the first picture of each size waits for it",
    "autotune": "cuDNN may try out algorithms, and use those that are not repeatable",
}
"""Names, and what they do. Fused projections are left out: a LoRA on them has no effect."""

_PARTS = ("unet", "transformer")


class UnknownLeverError(ValueError):
    """There is no lever of this name. The message lists those that there are."""


def read_levers(text: str) -> tuple[str, ...]:
    """`"channels_last, compile"` as names, in that order; nothing as none.

    Raises:
        UnknownLeverError: one is not in `LEVERS`.
    """
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    for name in names:
        if name not in LEVERS:
            raise UnknownLeverError(
                f"DIFFUSERS_LEVERS has {name!r}, which there is not; it is some of {', '.join(LEVERS)}, "
                "with commas, or nothing."
            )
    return tuple(dict.fromkeys(names))


def apply(pipeline: Any, levers: Iterable[str]) -> None:
    """Change a pipeline that was just loaded. What it has no part for is left.

    Args:
        pipeline: on its device.
        levers: of `LEVERS`.
    """
    for name in levers:
        _APPLY[name](pipeline)
        _logger.info("%s: %s", type(pipeline).__name__, name)


def _channels_last(pipeline: Any) -> None:
    import torch

    for part in ("unet", "vae"):
        module = getattr(pipeline, part, None)
        if module is not None:
            module.to(memory_format=torch.channels_last)


def _compile(pipeline: Any) -> None:
    for part in _PARTS:
        module = getattr(pipeline, part, None)
        if module is not None and getattr(module, "_repeated_blocks", None):
            module.compile_repeated_blocks(fullgraph=True)


def _autotune(_pipeline: Any) -> None:
    import torch

    torch.use_deterministic_algorithms(False)
    torch.backends.cudnn.benchmark = True


_APPLY = {"channels_last": _channels_last, "compile": _compile, "autotune": _autotune}
