"""From templates to what callers see of them."""

from collections.abc import Callable
from typing import Any

from msgspec import structs

from billing.money import json_number
from gateway.planning import usable
from gateway.template_schemas import (
    TemplateDetail,
    TemplateOutputView,
    TemplateStepView,
    TemplateView,
    UseView,
)
from gateway.views import CURRENCY
from providers.discovery import Providers
from registry.catalog import Catalog
from registry.errors import UnknownModel
from registry.schema import Model
from templates.engine import Template
from templates.rows import Output, Step, Use

__all__ = ["TEXT", "obstacle", "template_detail", "template_view", "why_not"]

TEXT = "text"
"""The variable that says by whom the words are set."""


def template_view(
    template: Template,
    catalog: Catalog,
    providers: Providers,
    *,
    price_micros: int | None,
    thumbnail_url: str | None,
) -> TemplateView:
    """A template with what it takes, what serves it and whether that can be used now.

    Args:
        template: which.
        catalog: whose models serve it.
        providers: say which can be used.
        price_micros: of its sample, where that can be told.
        thumbnail_url: where its thumbnail is, if it has one.
    """
    row = template.row
    why = why_not(template, catalog, providers)
    words = row.variables.get(TEXT)
    return TemplateView(
        name=template.name,
        title=row.title,
        description=row.description,
        variables=template.schema,
        text=words.enum if words is not None else (),
        outputs=tuple(_output(output) for output in row.outputs),
        steps=tuple(_step(step, catalog, providers) for step in row.steps),
        thumbnail_url=thumbnail_url,
        available=why is None,
        unavailable_because=why,
        price=None if price_micros is None else json_number(price_micros),
        price_micros=price_micros,
        currency=CURRENCY,
        version=template.version,
    )


def template_detail(view: TemplateView, sample: dict[str, Any]) -> TemplateDetail:
    """A template's view with its sample."""
    return TemplateDetail(**structs.asdict(view), sample=sample)


def why_not(template: Template, catalog: Catalog, providers: Providers) -> str | None:
    """Why a template cannot be run with what it requires alone; None where it can."""
    row = template.row
    given = {name for name, variable in row.variables.items() if variable.required}
    for step in row.steps:
        asked = set(step.when) <= given and not set(step.unless) & given
        if asked and not step.optional and step.only_if is None:
            reason = obstacle(step.use[-1], catalog, providers)
            if reason is not None:
                return f"{step.name}: {reason}"
    return None


def _output(output: Output) -> TemplateOutputView:
    return TemplateOutputView(
        name=output.name,
        width=output.width,
        height=output.height,
        format=output.format,
        about=output.about,
        when=output.when,
    )


def _step(step: Step, catalog: Catalog, providers: Providers) -> TemplateStepView:
    uses = tuple(_use(use, catalog, providers) for use in step.use)
    return TemplateStepView(
        name=step.name,
        does=step.do,
        of=step.of,
        uses=uses,
        when=step.when,
        unless=step.unless,
        only_if=step.only_if,
        optional=step.optional,
        # The last one always fits.
        available=uses[-1].available,
        unavailable_because=uses[-1].unavailable_because,
    )


def _use(use: Use, catalog: Catalog, providers: Providers) -> UseView:
    reason = obstacle(use, catalog, providers)
    return UseView(
        when=use.when,
        values=use.if_,
        model=use.model,
        intent=use.intent,
        available=reason is None,
        unavailable_because=reason,
    )


def obstacle(use: Use, catalog: Catalog, providers: Providers) -> str | None:
    """Why what a step uses cannot serve now; None where it can."""

    def reason(model: Model) -> str | None:
        unavailable = usable(model, providers)
        return None if unavailable is None else unavailable.reason

    if use.model is not None:
        try:
            return reason(catalog.model(use.model))
        except UnknownModel:
            return f"the registry has no model {use.model!r}"
    return _none_serves(use.intent or "", catalog, reason)


def _none_serves(name: str, catalog: Catalog, reason: Callable[[Model], str | None]) -> str | None:
    """Why no model of an intent can serve. One that the registry does not have is the default."""
    intent = catalog.data.intents.get(name)
    ids = catalog.data.default if intent is None else intent.models
    reasons = [reason(catalog.models[one]) for one in ids]
    return None if None in reasons else next((one for one in reasons if one), f"nothing serves {name!r}")
