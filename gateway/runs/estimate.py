"""What a run would cost, as its caller sees it."""

from decimal import Decimal

from msgspec import Struct

from billing.money import json_number
from gateway.ambient import iso
from gateway.runs.plan import RunPlan
from gateway.schemas import EstimateView
from gateway.views import CURRENCY, estimate_view
from templates.rows import Format

__all__ = ["OutputView", "RunEstimateView", "StepEstimateView", "output_views", "run_estimate_view"]


class OutputView(Struct, frozen=True, kw_only=True, rename="camel"):
    """One file that comes out of a template."""

    name: str
    width: int
    """Pixels."""
    height: int
    format: Format
    about: str


class StepEstimateView(Struct, frozen=True, kw_only=True, rename="camel"):
    """What one step would cost and send."""

    name: str
    do: str
    times: int
    """So often: once for each picture that it takes."""
    only_if: str | None
    """`no-cutout`: only where the product cannot be cut out of its own picture by rule."""
    estimate: EstimateView
    """Of one time."""


class RunEstimateView(Struct, frozen=True, kw_only=True, rename="camel"):
    """What a run would cost and make; nothing is spent."""

    template: str
    available: bool
    unavailable_because: str | None
    cost: Decimal
    cost_micros: int
    ceiling_micros: int
    """The most that may be charged."""
    currency: str
    count: int
    """Variants."""
    outputs: tuple[OutputView, ...]
    """Of each variant."""
    steps: tuple[StepEstimateView, ...]
    warnings: tuple[str, ...]
    runs_at: str | None
    """The batch window that it would run in; null: at once."""


def run_estimate_view(plan: RunPlan, runs_at: int | None) -> RunEstimateView:
    """What a plan would cost and make.

    Args:
        plan: of the run.
        runs_at: the window that it would wait for, in milliseconds UTC.
    """
    quote = plan.quote
    return RunEstimateView(
        template=plan.template.name,
        available=plan.unavailable is None,
        unavailable_because=plan.unavailable.reason if plan.unavailable else None,
        cost=json_number(quote.price_micros),
        cost_micros=quote.price_micros,
        ceiling_micros=quote.ceiling_micros,
        currency=CURRENCY,
        count=plan.count,
        outputs=output_views(plan),
        steps=tuple(
            StepEstimateView(
                name=one.request.step.name,
                do=one.request.step.do,
                times=one.times,
                only_if=one.request.step.only_if,
                estimate=estimate_view(one.plan, runs_at),
            )
            for one in plan.steps
        ),
        warnings=plan.warnings,
        runs_at=None if runs_at is None else iso(runs_at),
    )


def output_views(plan: RunPlan) -> tuple[OutputView, ...]:
    """The outputs that a plan makes."""
    return tuple(
        OutputView(name=one.name, width=one.width, height=one.height, format=one.format, about=one.about)
        for one in plan.outputs
    )
