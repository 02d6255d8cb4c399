"""How well the embedded model draws what a prompt says, on prompts that it was never trained on.

    python -m providers.diffusers_modal.embedded.evaluate FOLDER [--count N] [--sheet FILE]

Prompts are captions of held-out scenes that say every attribute, in varied words. Pictures are
made by the ordinary pipeline with the registry's steps and guidance, and measured by
`measure.py`. `--ruler` measures drawn scenes instead: what the ruler itself gets wrong.
"""

import argparse
import dataclasses
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

from PIL import Image

from providers.diffusers_modal.embedded.captions import caption
from providers.diffusers_modal.embedded.draw import draw
from providers.diffusers_modal.embedded.measure import LANDSCAPE_ATTRIBUTES, SHAPE_ATTRIBUTES, measure
from providers.diffusers_modal.embedded.scenes import Scene, held_out, random_landscape, random_shape

__all__ = ["Result", "evaluate", "held_out_prompts", "main", "painter"]

STEPS, GUIDANCE, SIDE = 15, 2.5, 256

Paint = Callable[[str, int, Scene], Image.Image]


@dataclasses.dataclass(frozen=True)
class Prompt:
    """A caption, the scene that it describes, and the seed to draw it with."""

    text: str
    scene: Scene
    seed: int


@dataclasses.dataclass(frozen=True)
class Result:
    """How many of `count` pictures had each attribute, and all at once."""

    count: int
    right: Counter[str]

    def share(self, attribute: str) -> float:
        """From 0 to 1."""
        return self.right[attribute] / self.count


def held_out_prompts(kind: str, count: int) -> Iterator[Prompt]:
    """The same ones on every run.

    Args:
        kind: `shapes` or `landscapes`.
        count: how many.
    """
    rng = Random(f"evaluate {kind}")
    create = random_shape if kind == "shapes" else random_landscape
    seed = 0
    while seed < count:
        scene = create(rng)
        if held_out(scene):
            yield Prompt(caption(scene, rng, whole=True), scene, seed)
            seed += 1


def evaluate(kind: str, count: int, paint: Paint) -> tuple[Result, list[tuple[Prompt, Image.Image, bool]]]:
    """Paint and measure. The pictures come with their prompts, and whether all of each is right."""
    right: Counter[str] = Counter()
    painted = []
    for prompt in held_out_prompts(kind, count):
        picture = paint(prompt.text, prompt.seed, prompt.scene)
        found = measure(picture, prompt.scene)
        right.update(name for name, is_right in found.items() if is_right)
        right["all"] += all(found.values())
        painted.append((prompt, picture, all(found.values())))
    return Result(count, right), painted


def painter(folder: Path, steps: int = STEPS, guidance: float = GUIDANCE) -> Paint:
    """Paints prompts with the model in a folder, on the CPU."""
    import torch
    from diffusers import StableDiffusionPipeline

    pipeline = StableDiffusionPipeline.from_pretrained(folder, safety_checker=None, dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)

    def paint(text: str, seed: int, _: Scene) -> Image.Image:
        made: Any = pipeline(
            text,
            num_inference_steps=steps,
            guidance_scale=guidance,
            width=SIDE,
            height=SIDE,
            generator=torch.Generator().manual_seed(seed),
        )
        picture: Image.Image = made.images[0]
        return picture

    return paint


def ruler(_: str, __: int, scene: Scene) -> Image.Image:
    """The picture of the scene itself."""
    return Image.fromarray(draw(scene, SIDE).clip(0, 255).astype("uint8"))


def contact_sheet(painted: list[tuple[Prompt, Image.Image, bool]], columns: int = 8) -> Image.Image:
    """All pictures in rows; a red bar under those that are not right."""
    side, bar = 128, 6
    rows = -(-len(painted) // columns)
    sheet = Image.new("RGB", (columns * side, rows * (side + bar)), "white")
    for index, (_, picture, is_right) in enumerate(painted):
        at = (index % columns * side, index // columns * (side + bar))
        sheet.paste(picture.resize((side, side), Image.Resampling.LANCZOS), at)
        if not is_right:
            sheet.paste("red", (at[0], at[1] + side, at[0] + side, at[1] + side + bar))
    return sheet


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path, nargs="?", help="of the model; not with --ruler")
    parser.add_argument("--count", type=int, default=200, help="prompts of each kind")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--guidance", type=float, default=GUIDANCE)
    parser.add_argument("--sheet", type=Path, help="write the pictures here, one file a kind")
    parser.add_argument("--ruler", action="store_true", help="measure drawn scenes, not the model")
    given = parser.parse_args()
    if not given.ruler and given.folder is None:
        parser.error("name the model's folder, or use --ruler")
    paint = ruler if given.ruler else painter(given.folder, given.steps, given.guidance)
    for kind, names in (("shapes", SHAPE_ATTRIBUTES), ("landscapes", LANDSCAPE_ATTRIBUTES)):
        began = time.monotonic()
        result, painted = evaluate(kind, given.count, paint)
        seconds = (time.monotonic() - began) / given.count
        row = " | ".join(f"{name} {result.share(name):.1%}" for name in (*names, "all"))
        print(f"{kind} ({given.count}): {row} | {seconds:.2f} s a picture", flush=True)
        if given.sheet:
            contact_sheet(painted).save(given.sheet.with_stem(f"{given.sheet.stem}-{kind}"))


if __name__ == "__main__":
    main()
