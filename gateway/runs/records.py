"""A template's run as it was let in: all that is needed to go on with it after a restart."""

import hashlib
from typing import Any

from msgspec import Struct, structs

from gateway.model_plan import Candidate, revived_candidates
from gateway.schemas import RoutingView
from providers.base import MediaRef
from providers.normalizer import ReportRow
from templates.rows import Deed, Output

__all__ = ["PROVIDER", "STEP_URL", "RunRecord", "StepRecord", "model_of", "revived", "step_job_id"]

PROVIDER = "templates"
"""What a run's job has in the place of a provider."""
STEP_URL = "upl_step:"
"""Before the name of a step in a reference to a picture that it has not made yet."""


class StepRecord(Struct, frozen=True, kw_only=True):
    """One step, planned: its jobs are let in when its turn comes, at what was quoted."""

    name: str
    do: Deed
    of: str | None
    """Whose picture it takes: a step's, or a variable's."""
    optional: bool
    model: str
    candidates: tuple[Candidate, ...]
    """A picture that is not made yet is a reference to `upl_step:<name>`."""
    report: tuple[ReportRow, ...]
    warnings: tuple[str, ...]
    routing: RoutingView
    times: int
    """Jobs that it has: one for each picture that it takes."""
    quote_micros: int
    """Of each of its jobs."""
    ceiling_micros: int


class RunRecord(Struct, frozen=True, kw_only=True):
    """A run of a template."""

    template: str
    version: str
    """Of the template's files when it was let in."""
    variables: dict[str, Any]
    """As the caller gave them; of a `data:` URL its beginning."""
    images: dict[str, MediaRef]
    """The caller's own pictures, by variable."""
    outputs: tuple[Output, ...]
    steps: tuple[StepRecord, ...]
    count: int = 1
    """Variants that were asked for."""


def model_of(template: str) -> str:
    """What a run's job has in the place of a model."""
    return f"template:{template}"


def step_job_id(run_id: str, step: str, place: int) -> str:
    """The id of a step's job. Derived, so that a run which goes on after a crash finds what it let in.

    Args:
        run_id: of the run's own job.
        step: its name.
        place: among the step's jobs, from 0.
    """
    return "job_" + hashlib.sha256(f"{run_id}:{step}:{place}".encode()).hexdigest()[:32]


def revived(run: RunRecord) -> RunRecord:
    """A run as it was read from the database, with the media of its calls."""
    steps = (structs.replace(step, candidates=revived_candidates(step.candidates)) for step in run.steps)
    return structs.replace(run, steps=tuple(steps))
