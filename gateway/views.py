"""From rows and registry entries to what callers see."""

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

import msgspec

from billing.money import json_number
from gateway.admin_schemas import AdminAttemptView, AdminJobView
from gateway.ambient import iso
from gateway.delivery.asked import DeliveryShown
from gateway.jobs.live import Live
from gateway.jobs.records import UNDER_WAY, AttemptRow, ImageRow, JobRow, Progress
from gateway.planning import Plan, price_words, usable
from gateway.runs.views import step_views
from gateway.schemas import (
    AttemptView,
    ErrorView,
    EstimateView,
    ImageView,
    JobView,
    ModelView,
    QuoteView,
    RouteView,
    ScheduleView,
)
from providers.base import MediaRef
from providers.discovery import Providers
from registry.jsonschema import input_names, model_schema
from registry.schema import Model, Price, Route, Term

__all__ = ["admin_job_view", "estimate_view", "image_view", "job_view", "model_view", "shown_status"]

CURRENCY = "USD"


def job_view(job: JobRow, live: Live | None, link: Callable[[str], str]) -> JobView:
    """A job as its owner sees it; `link` makes the link to a picture."""
    told = _told(job, live)
    images = tuple(image_view(image, link(image.id)) for image in job.images)
    error = ErrorView(code=job.error_code, message=job.error_message or "") if job.error_code else None
    return JobView(
        job_id=job.id,
        status=shown_status(job.status, told),
        runs_at=None if job.runs_at is None else iso(job.runs_at),
        place=job.place,
        schedule=_schedule(job.runs_at, job.admitted.cost_now_micros, job.quote_micros),
        model=job.model,
        provider=job.provider,
        image_url=images[0].url if images else None,
        images=images,
        cost=None if job.charge_micros is None else json_number(job.charge_micros),
        cost_micros=job.charge_micros,
        refunded=json_number(job.refunded_micros) if job.refunded_micros else None,
        currency=CURRENCY,
        quote=QuoteView(
            cost=json_number(job.quote_micros),
            cost_micros=job.quote_micros,
            ceiling_micros=job.ceiling_micros,
        ),
        report=job.report,
        routing=job.routing,
        attempts=tuple(_attempt(one, attempt) for one in (job, *job.steps) for attempt in one.attempts),
        warnings=job.warnings,
        revised_prompt=_revised_prompt(job),
        progress=None if told is None else told.shown,
        error=error,
        user_id=job.end_user,
        delivery=_delivery(job),
        template=job.template,
        steps=step_views(job, link),
        run_id=job.parent_id,
        registry_version=job.registry_version,
        created_at=iso(job.created_at),
        completed_at=iso(job.completed_at) if job.completed_at is not None else None,
    )


def _schedule(runs_at: int | None, now_micros: int | None, then_micros: int) -> ScheduleView | None:
    """What waiting is worth; None for what does not wait."""
    if runs_at is None:
        return None
    cost_now = then_micros if now_micros is None else now_micros
    return ScheduleView(cost_now=json_number(cost_now), cost_then=json_number(then_micros))


def _delivery(job: JobRow) -> DeliveryShown | None:
    if job.delivery is None:
        return None
    return DeliveryShown(email=job.delivery.email, webhook_id=job.delivery.webhook)


def _revised_prompt(job: JobRow) -> str | None:
    """What the provider says that it drew, else what it was sent, where that is not what was asked for."""
    if not job.attempts:
        return next((found for step in job.steps if (found := _revised_prompt(step))), None)
    last = job.attempts[-1]
    return last.revised_prompt or job.admitted.candidates[last.route_index].revised_prompt


def admin_job_view(view: JobView, job: JobRow) -> AdminJobView:
    """A job as an admin sees it: with what it cost us."""
    attempts = job.all_attempts
    billed = [attempt.provider_cost_micros or 0 for attempt in attempts]
    listed = [
        cost if attempt.listed_cost_micros is None else attempt.listed_cost_micros
        for attempt, cost in zip(attempts, billed, strict=True)
    ]
    cost, should = sum(billed), sum(listed)
    margin = None if job.charge_micros is None else job.charge_micros - cost
    plain = msgspec.structs.asdict(view)
    seen = tuple(_admin_attempt(*pair) for pair in zip(view.attempts, attempts, strict=True))
    return AdminJobView(
        **{**plain, "attempts": seen},
        account_id=job.account_id,
        provider_cost=json_number(cost),
        provider_cost_micros=cost,
        listed_cost=json_number(should),
        listed_cost_micros=should,
        billable_units=_units([attempt.billable_units for attempt in attempts]),
        margin=None if margin is None else json_number(margin),
        margin_micros=margin,
    )


def _units(counted: Sequence[str | None]) -> Decimal | None:
    found = [Decimal(units) for units in counted if units is not None]
    return sum(found, Decimal(0)) if found else None


def _admin_attempt(view: AttemptView, attempt: AttemptRow) -> AdminAttemptView:
    cost = attempt.provider_cost_micros
    return AdminAttemptView(
        **msgspec.structs.asdict(view),
        attempt_id=attempt.id,
        request_id=None if attempt.handle is None else attempt.handle.remote_id,
        provider_cost_micros=cost,
        listed_cost_micros=cost if attempt.listed_cost_micros is None else attempt.listed_cost_micros,
        billable_units=attempt.billable_units,
    )


def shown_status(status: str, told: Progress | None) -> str:
    """A job's status as its owner sees it: what runs it may know it finer than it is stored."""
    return told.status if told is not None and told.status and status in UNDER_WAY else status


def _told(job: JobRow, live: Live | None) -> Progress | None:
    """What is told of a job: by this process if that runs it, else by another one in the database."""
    if job.completed_at is not None:
        return None
    return (None if live is None else live.told()) or job.progress


def image_view(image: ImageRow, url: str) -> ImageView:
    """A picture as its owner sees it."""
    return ImageView(
        id=image.id,
        url=url,
        width=image.width,
        height=image.height,
        content_type=image.content_type,
        seed=image.seed,
        sha256=image.sha256,
        name=image.name,
    )


def _attempt(job: JobRow, attempt: AttemptRow) -> AttemptView:
    return AttemptView(
        number=attempt.number,
        model=job.admitted.candidates[attempt.route_index].route.model,
        provider=attempt.provider,
        endpoint=attempt.endpoint,
        status=attempt.status,
        error=attempt.error_code,
        run_seconds=float(attempt.run_seconds) if attempt.run_seconds else None,
        started_at=iso(attempt.started_at),
        ended_at=iso(attempt.ended_at) if attempt.ended_at is not None else None,
    )


def estimate_view(plan: Plan, runs_at: int | None = None) -> EstimateView:
    """What a plan would cost and send.

    Args:
        plan: of the request.
        runs_at: the window that it would wait for, in milliseconds UTC.
    """
    first = plan.candidates[0]
    return EstimateView(
        model=plan.model.id,
        provider=first.route.provider,
        endpoint=first.route.endpoint,
        available=plan.unavailable is None,
        unavailable_because=plan.unavailable.reason if plan.unavailable else None,
        cost=json_number(plan.quote.price_micros),
        cost_micros=plan.quote.price_micros,
        ceiling_micros=plan.quote.ceiling_micros,
        fallbacks=plan.fallbacks,
        currency=CURRENCY,
        price=price_words(plan.price),
        runs_at=None if runs_at is None else iso(runs_at),
        schedule=_schedule(runs_at, plan.full_micros, plan.quote.price_micros),
        width=first.width,
        height=first.height,
        num_images=first.num_images,
        payload=_shown(first.calls[0].payload),
        report=plan.report,
        routing=plan.routing,
        warnings=plan.warnings,
        revised_prompt=first.revised_prompt,
    )


def _shown(value: Any) -> Any:
    """A payload with its media as the URLs that the caller gave."""
    if isinstance(value, MediaRef):
        return value.url
    if isinstance(value, dict):
        return {key: _shown(item) for key, item in value.items()}
    return [_shown(item) for item in value] if isinstance(value, list | tuple) else value


def model_view(model: Model, vocabulary: dict[str, Term], providers: Providers) -> ModelView:
    """A model of the registry, with whether it can be used now."""
    unavailable = usable(model, providers)
    return ModelView(
        id=model.id,
        aliases=model.aliases,
        description=model.description,
        provider=model.routes[0].provider,
        status=model.status,
        available=unavailable is None,
        unavailable_because=unavailable.reason if unavailable else None,
        tasks=model.tasks,
        inputs=input_names(model, vocabulary),
        parameters=model_schema(model, vocabulary)["properties"],
        price=_price(model.price),
        routes=tuple(_route(route, providers) for route in model.routes),
    )


def _price(price: Price) -> dict[str, Any]:
    """The members of a price that are there."""
    shown: dict[str, Any] = msgspec.to_builtins(price, builtin_types=(Decimal,))
    return {**shown, "round": price.round, "currency": CURRENCY}


def _route(route: Route, providers: Providers) -> RouteView:
    unavailable = providers.unavailable(route)
    return RouteView(
        provider=route.provider,
        endpoint=route.endpoint,
        when=tuple(sorted(route.when)),
        tier=route.pipeline.tier if route.pipeline else None,
        available=unavailable is None,
        unavailable_because=unavailable.reason if unavailable else None,
    )
