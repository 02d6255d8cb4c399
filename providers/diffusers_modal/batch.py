"""Several jobs at once: those that can share a call of a pipeline do."""

import dataclasses
import logging
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

from providers.diffusers_modal import prior
from providers.diffusers_modal.call import call, generator, png
from providers.diffusers_modal.plan import Plan, make_plan
from providers.diffusers_modal.progress import Progress, Turn, Watch, too_late
from providers.diffusers_modal.runner import Runner, bare
from providers.diffusers_modal.wire import Done, EngineJob, ErrorRecord, Picture, PipelineSpec

__all__ = ["run"]

_logger = logging.getLogger(__name__)

Answers = dict[int, Done | ErrorRecord]

_TEXTS = frozenset(
    f"{kind}{number}" for kind in ("prompt", "negative_prompt") for number in ("", "_2", "_3", "_4")
)
"""What each job of a shared call has for itself, besides its seeds."""


@dataclasses.dataclass(frozen=True)
class _Item:
    index: int
    """Where its answer belongs."""
    job: EngineJob
    plan: Plan

    @property
    def shape(self) -> Any:
        """The same for jobs that can share a call."""
        given = self.plan.arguments
        # A text that is not given is not one that is empty: which are given is part of the shape.
        texts = given.keys() & _TEXTS
        return self.plan.scheduler, texts, {n: v for n, v in given.items() if n not in texts}


def run(runner: Runner, jobs: Sequence[EngineJob], turn: Turn) -> list[Done | ErrorRecord]:
    """See `Engine.run_many`."""
    answers: Answers = {}
    specs: list[PipelineSpec] = []
    for job in jobs:
        if bare(job.pipeline) not in specs:
            specs.append(bare(job.pipeline))
    for spec in specs:
        mine = {index: job for index, job in enumerate(jobs) if bare(job.pipeline) == spec}
        answers.update(_run_spec(runner, mine, turn))
    return [answers[index] for index in range(len(jobs))]


def _run_spec(runner: Runner, jobs: dict[int, EngineJob], turn: Turn) -> Answers:
    """Answers to jobs of one pipeline, by their places."""
    first = next(iter(jobs.values()))
    watch = Watch(list(jobs.values()), turn)

    def ready() -> float:
        watch()
        return runner.load(first.pipeline, turn)

    load = runner.told(first.id, ready)
    if isinstance(load, ErrorRecord):
        return dict.fromkeys(jobs, load)
    share = load / len(jobs)
    answers: Answers = {}
    for group in _grouped(_planned(runner, jobs, answers)):
        answers.update(_together(runner, group, share, turn))
    for index in jobs.keys() - answers.keys():
        answers[index] = runner.alone(jobs[index], share, turn)
    return answers


def _planned(runner: Runner, jobs: dict[int, EngineJob], answers: Answers) -> list[_Item]:
    """The jobs that may share calls; one with a fault gets its answer here.

    A pipeline that writes tokens first draws them from one seed for all, so a picture would
    depend on its neighbours.
    """
    resident = runner.resident
    if resident is None or prior.has_prior(resident.pipeline):
        return []
    items = []
    for index, job in jobs.items():
        if job.images or job.loras:
            continue
        plan = runner.told(job.id, partial(make_plan, resident, job))
        if isinstance(plan, ErrorRecord):
            answers[index] = plan
        else:
            items.append(_Item(index, job, plan))
    return items


def _grouped(items: list[_Item]) -> list[list[_Item]]:
    groups: list[tuple[Any, list[_Item]]] = []
    for item in items:
        group = next((group for shape, group in groups if shape == item.shape), None)
        if group is None:
            groups.append((item.shape, [item]))
        else:
            group.append(item)
    return [group for _, group in groups]


def _together(runner: Runner, items: list[_Item], load_seconds: float, turn: Turn) -> Answers:
    """Run jobs of one shape in one call; should that fail, each half in one of its own."""
    if len(items) == 1:
        return {items[0].index: runner.alone(items[0].job, load_seconds, turn)}
    _logger.info("%d jobs share a call: %s", len(items), ", ".join(item.job.id for item in items))
    started = time.monotonic()
    watch = Watch([item.job for item in items], turn)
    made = runner.told(items[0].job.id, lambda: _call(runner, items, Progress(1, turn.on_progress, watch)))
    if isinstance(made, ErrorRecord):
        if made.code == "canceled":
            return {item.index: made for item in items}
        if made.code == "timeout":
            return {item.index: too_late(item.job) for item in items}
        middle = len(items) // 2
        halves = (items[:middle], items[middle:])
        return {i: a for half in halves for i, a in _together(runner, half, load_seconds, turn).items()}
    each = (time.monotonic() - started) / sum(item.plan.count for item in items)
    answers: Answers = {}
    for place, (item, images) in enumerate(zip(items, made, strict=True)):
        answers[item.index] = (
            too_late(item.job)
            if place in watch.late
            else Done(
                images=images,
                load_seconds=load_seconds,
                run_seconds=each * item.plan.count,
                device=runner.device_name or "",
            )
        )
    return answers


def _call(runner: Runner, items: list[_Item], progress: Progress) -> list[tuple[Picture, ...]]:
    """The pictures of each item, all made in one call; raises what `call` does."""
    resident = runner.resident
    if resident is None:
        raise RuntimeError("no pipeline is loaded")
    plans = [item.plan for item in items]
    first = plans[0]
    arguments = dict(first.arguments)
    for name in first.arguments.keys() & _TEXTS:
        arguments[name] = [plan.arguments[name] for plan in plans for _ in range(plan.count)]
    seeds = [seed for plan in plans for seed in plan.seeds]
    progress.start(0)
    images = call(
        resident, first.pipeline, first.scheduler, arguments, [generator(s) for s in seeds], progress
    )
    finishes = [plan.finish for plan in plans for _ in range(plan.count)]
    made = iter([png(*each) for each in zip(images, seeds, finishes, strict=True)])
    return [tuple(next(made) for _ in range(plan.count)) for plan in plans]
