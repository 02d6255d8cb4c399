"""What the engine adds to a bare call of the pipeline, in one run.

    engine   `Engine.run` on a job: checks, scheduler, generator, progress, PNG
    bare     `pipe(...)` on the same pipeline with the same arguments
    png      the file alone

Rounds alternate, after some that are thrown away; the table has medians. `outside` is engine less bare
less png: what it costs that an engine is around. Then `Engine.run_many` on --jobs jobs against as many calls
of `Engine.run`; with --levers an engine that has them against one that has not; on a GPU what a model leaves
behind. Run: python -m bench.engine
"""

import argparse
import io
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy
from PIL import Image

from providers.diffusers_modal import loader
from providers.diffusers_modal.call import generator, png
from providers.diffusers_modal.engine import Engine
from providers.diffusers_modal.levers import read_levers
from providers.diffusers_modal.wire import Done, EngineJob, PipelineSpec


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Milliseconds, and what came of it."""
    started = time.perf_counter()
    value = work()
    return (time.perf_counter() - started) * 1e3, value


def job_of(args: argparse.Namespace, seed: int) -> EngineJob:
    """A job of one picture."""
    return EngineJob(
        id=f"bench-{seed}",
        pipeline=PipelineSpec(source=args.source, pipeline_class=args.pipeline_class),
        parameters={**arguments(args), "seed": seed},
        timeout_s=3600,
    )


def arguments(args: argparse.Namespace) -> dict[str, Any]:
    """Of the pipeline's call."""
    return {
        "prompt": "a red circle on a white background",
        "width": args.size,
        "height": args.size,
        "num_inference_steps": args.steps,
        "guidance_scale": 4.0,
    }


def outside(engine: Engine, args: argparse.Namespace) -> None:
    """Print what the engine adds to a call."""
    spec = job_of(args, 0).pipeline
    pipe = loader.load(spec, engine.device or "cpu")

    def bare(seed: int) -> Any:
        return pipe(**arguments(args), generator=generator(seed), output_type="pil").images[0]

    found: dict[str, list[float]] = {"engine": [], "bare": [], "png": []}
    for seed in range(args.rounds + 5):
        took, done = timed(lambda seed=seed: engine.run(job_of(args, seed)))
        assert isinstance(done, Done), done
        took_bare, image = timed(lambda seed=seed: bare(seed))
        took_png, file = timed(lambda seed=seed, image=image: png(image, seed, None))
        assert file.data == done.images[0].data, "the engine and the bare call make different pictures"
        if seed >= 5:
            for name, value in zip(found, (took, took_bare, took_png), strict=True):
                found[name].append(value)
    medians = {name: statistics.median(values) for name, values in found.items()}
    rest = statistics.median(e - b - p for e, b, p in zip(*found.values(), strict=True))
    print(f"{args.source}, {args.size}x{args.size}, {args.steps} steps, {engine.device_name}; medians, ms")
    print("  ".join(f"{name} {value:.1f}" for name, value in medians.items()), f" outside {rest:.1f}")


def together(engine: Engine, args: argparse.Namespace) -> None:
    """Print what jobs in one call cost against jobs one by one."""
    jobs = [job_of(args, seed) for seed in range(args.jobs)]
    ratios, many_ms, single_ms = [], [], []
    for _ in range(max(3, args.rounds // 10)):
        many, _ = timed(lambda: engine.run_many(jobs))
        single, _ = timed(lambda: [engine.run(job) for job in jobs])
        ratios.append(single / many)
        many_ms.append(many)
        single_ms.append(single)
    print(
        f"{args.jobs} jobs: one by one {statistics.median(single_ms):.0f} ms, together "
        f"{statistics.median(many_ms):.0f} ms, {statistics.median(ratios):.2f}x"
    )


def pulled(engine: Engine, args: argparse.Namespace) -> None:
    """Print what the levers bring: the warm ratio, the pixels' mean difference, the first picture's time."""
    other = Engine(levers=read_levers(args.levers))
    first, _ = timed(lambda: other.run(job_of(args, 0)))
    engine.run(job_of(args, 0))
    ratios, differences = [], []
    for seed in range(1, max(4, args.rounds // 5)):
        plain_ms, plain = timed(lambda seed=seed: engine.run(job_of(args, seed)))
        pulled_ms, pulled = timed(lambda seed=seed: other.run(job_of(args, seed)))
        assert isinstance(plain, Done), plain
        assert isinstance(pulled, Done), pulled
        ratios.append(plain_ms / pulled_ms)
        differences.append(float(abs(pixels(plain) - pixels(pulled)).mean()))
    print(
        f"{args.levers}: {statistics.median(ratios):.2f}x warm, first picture {first / 1e3:.1f} s (load and "
        f"compile), mean difference {statistics.median(differences):.2f} of 255"
    )


def left_behind(engine: Engine, args: argparse.Namespace) -> None:
    """Print what a model leaves on the GPU when another takes its place."""
    import torch

    if engine.device != "cuda":
        return
    engine.run(job_of(args, 0))
    held = torch.cuda.memory_allocated()
    mini = EngineJob(
        id="mini", pipeline=PipelineSpec(source="embedded:mini", pipeline_class="StableDiffusionPipeline"),
        parameters={"prompt": "x", "width": 64, "height": 64}, timeout_s=600,
    )  # fmt: skip
    engine.run(mini)
    print(f"{held / 2**20:.0f} MiB held, {torch.cuda.memory_allocated() / 2**20:.0f} MiB after a change")


def pixels(done: Done) -> Any:
    """(height, width, 3) of signed numbers."""
    return numpy.asarray(Image.open(io.BytesIO(done.images[0].data)).convert("RGB")).astype(int)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--source", default="embedded:mini", help="as in the registry")
    parser.add_argument("--pipeline-class", default="StableDiffusionPipeline")
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument(
        "--levers", default="", help="as DIFFUSERS_LEVERS: an engine with them against one without"
    )
    parser.add_argument("--jobs", type=int, default=4)
    args = parser.parse_args()
    engine = Engine()
    engine.warm()
    outside(engine, args)
    together(engine, args)
    if args.levers:
        pulled(engine, args)
    left_behind(engine, args)


if __name__ == "__main__":
    main()
