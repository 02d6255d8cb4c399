"""One call of a pipeline, and the file that comes of it."""

import io
from collections.abc import Sequence
from typing import Any

from providers.diffusers_modal import prior
from providers.diffusers_modal.finish import Finish
from providers.diffusers_modal.progress import Progress
from providers.diffusers_modal.refusal import Refused, first_line
from providers.diffusers_modal.resident import Resident, takes
from providers.diffusers_modal.wire import Picture

__all__ = ["call", "generator", "png"]


def generator(seed: int) -> Any:
    """Where a picture's noise comes from: on the CPU, so that it is the same on every device."""
    import torch

    return torch.Generator("cpu").manual_seed(seed)


def call(
    resident: Resident,
    pipeline: Any,
    scheduler: str | None,
    arguments: dict[str, Any],
    generators: Any,
    progress: Progress,
) -> Sequence[Any]:
    """The pictures of one call, as PIL has them.

    Args:
        resident: what is in memory.
        pipeline: it, or one of its siblings.
        scheduler: a name, or None for the pipeline's own.
        arguments: of the call, but for those that come here by name.
        generators: one, or a list with one a picture.
        progress: `start` was called on it.

    Raises:
        Refused: an argument is wrong, or `progress` says so.
        Exception: what the pipeline raises.
    """
    resident.set_scheduler(pipeline, scheduler)
    extra = {"callback_on_step_end": progress} if "callback_on_step_end" in takes(pipeline) else {}
    try:
        with prior.watched(pipeline, progress.before_token):
            output = pipeline(**arguments, **extra, generator=generators, output_type="pil")
    except (ValueError, TypeError) as error:
        # Before the first step only the arguments can be at fault: pipelines check them so.
        if progress.begun:
            raise
        raise Refused("bad_parameter", first_line(error)) from None
    images: Sequence[Any] = output.images
    return images


def png(image: Any, seed: int, finish: Finish | None) -> Picture:
    """A picture of PIL as a file, of the size that was asked for."""
    if finish is not None:
        image = finish.apply(image)
    buffer = io.BytesIO()
    # Level 4 takes half the time of Pillow's default for a few percent more bytes.
    image.save(buffer, format="PNG", compress_level=4)
    return Picture(
        data=buffer.getvalue(), content_type="image/png", seed=seed, width=image.width, height=image.height
    )
