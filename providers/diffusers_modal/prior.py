"""GLM-Image and its kind: a language model writes tokens, and only then come the steps.

Its `generate` takes no callback from the pipeline's arguments, but each token is one call of the
module, and a module tells its hooks of every call.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from providers.diffusers_modal.refusal import Refused

__all__ = ["GRID", "check_size", "condition_size", "has_prior", "watched"]

GRID = 32
"""Width and height are multiples of it: pixels a token, each way."""


def has_prior(pipeline: Any) -> bool:
    """Whether the pipeline writes tokens before its steps."""
    return hasattr(pipeline, "generate_prior_tokens")


def check_size(width: int | None, height: int | None) -> None:
    """Width and height are both needed, and multiples of `GRID`.

    The pipeline looks at the height alone; a wrong width ends it after all the tokens.

    Raises:
        Refused: they are not.
    """
    for name, side in (("width", width), ("height", height)):
        if side is None or side % GRID:
            raise Refused("bad_parameter", f"{name} must be given here, as a multiple of {GRID}.")


@contextmanager
def watched(pipeline: Any, before_token: Callable[[], None]) -> Iterator[None]:
    """Within it, `before_token` is called before each token; what it raises ends the pipeline."""
    if not has_prior(pipeline):
        yield
        return
    writer = pipeline.vision_language_encoder
    hook = writer.register_forward_pre_hook(lambda _module, _arguments: before_token())
    tokens_of = writer.get_image_tokens

    def one_at_a_time(features: Any, *more: Any) -> Any:
        # diffusers 0.42 joins the features of all pictures, (channels, rows, columns) each, along
        # the channels; transformers 5.23 goes through them one by one. For one picture the join
        # changes nothing, and all that is to do is to count it as one.
        alone = getattr(features, "ndim", 0) == 3
        return tokens_of([features] if alone else features, *more)

    writer.get_image_tokens = one_at_a_time
    try:
        yield
    finally:
        del writer.get_image_tokens
        hook.remove()


def condition_size(pipeline: Any, width: int, height: int) -> tuple[int, int]:
    """The size that a picture must have to be read: one that its own processor leaves alone.

    Otherwise the tokens of the picture and its latents would be of two sizes.

    Args:
        pipeline: with `has_prior`.
        width: of the picture, in pixels.
        height: of the picture, in pixels.
    """
    limits = pipeline.processor.image_processor.size
    least, most = limits["shortest_edge"] ** 0.5, limits["longest_edge"] ** 0.5
    scale = max(1.0, least / min(width, height))
    scale = min(scale, most / max(width, height))
    sides = (max(GRID, round(side * scale / GRID) * GRID) for side in (width, height))
    return next(sides), next(sides)
