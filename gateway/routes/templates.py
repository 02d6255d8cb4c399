"""`/api/templates`: business presets, and runs of them."""

import asyncio
from typing import Annotated, Any
from urllib.parse import quote

from litestar import Request, Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, QueryParameter

from gateway.access import READ
from gateway.accounts.principals import Principal
from gateway.answers import makes_job, may
from gateway.bodies import read_body, read_wait
from gateway.core import Core
from gateway.problems import Problem
from gateway.routes.images import POLICY, claim_of, job_answer
from gateway.runs.estimate import RunEstimateView, run_estimate_view
from gateway.schemas import JobView, TemplateRequest, json_response
from gateway.template_files import THUMBNAIL, has_thumbnail, sample_of, thumbnail_of
from gateway.template_prices import sample_price
from gateway.template_schemas import PreviewView, TemplateDetail, TemplateList, TemplateView
from gateway.template_views import template_detail, template_view
from gateway.verify import extension_of
from registry.errors import Fault, pointer
from templates.engine import Template

__all__ = [
    "estimate_template",
    "get_template",
    "list_templates",
    "preview_template",
    "run_named_template",
    "run_template",
    "template_thumbnail",
]

BODY = ("unknown_template", "invalid_variables", "template_broken")
WEBP = "image/webp"
NOT_KEPT = {"Cache-Control": "no-store"}


@get("/api/templates", summary="The templates", tags=["Templates"])
async def list_templates(
    core: NamedDependency[Core], principal: NamedDependency[Principal]
) -> Response[TemplateList]:
    """Each template: its variables as JSON Schema, what it makes and by which models, whether it can run now
    and what its example would cost.
    """
    found = core.templates.templates.values()
    views = [await _view(core, template, principal) for template in found]
    return json_response(TemplateList(templates=tuple(views)))


@get("/api/templates/{name:str}", summary="A template", tags=["Templates"], opt=may("unknown_template"))
async def get_template(
    name: FromPath[str], core: NamedDependency[Core], principal: NamedDependency[Principal]
) -> Response[TemplateDetail]:
    """One template, with an example: its `sample` can be sent as `variables`."""
    template = core.runs.template(name)
    view = await _view(core, template, principal)
    return json_response(template_detail(view, await asyncio.to_thread(sample_of, template)))


@get(
    "/api/templates/{name:str}/thumbnail",
    summary="A template's thumbnail",
    tags=["Templates"],
    media_type=WEBP,
    opt=may("unknown_template", "no_thumbnail"),
)
async def template_thumbnail(
    request: Request[Any, Any, Any], name: FromPath[str], core: NamedDependency[Core]
) -> Response[bytes]:
    """A small picture of what the template makes (image/webp)."""
    template = core.runs.template(name)
    data = await asyncio.to_thread(thumbnail_of, template)
    if data is None:
        raise Problem("no_thumbnail", f"The folder of the template {name} has no {THUMBNAIL}")
    tag = f'"{template.version}"'
    headers = {"ETag": tag, "Cache-Control": "private, max-age=3600"}
    if tag in request.headers.get("if-none-match", ""):
        return Response(content=b"", status_code=304, headers=headers)
    return Response(content=data, media_type=WEBP, headers=headers)


@post(
    "/api/templates",
    status_code=200,
    summary="Run a template that the body names",
    tags=["Templates"],
    opt=makes_job(*BODY),
)
async def run_named_template(
    request: Request[Any, Any, Any], core: NamedDependency[Core], principal: NamedDependency[Principal]
) -> Response[JobView]:
    """As `POST /api/templates/{name}`, with the name as `template` in the body."""
    body = await read_body(request, TemplateRequest)
    if body.template is None:
        known = ", ".join(core.templates.templates)
        fault = Fault(
            pointer=pointer("template"), code="missing", message="no template is named", allowed=known
        )
        raise Problem("invalid_body", f"/template: no template is named. Known: {known}", errors=[fault])
    return await _run(request, core, principal, body.template, body)


@post(
    "/api/templates/{name:str}",
    status_code=200,
    summary="Run a template",
    tags=["Templates"],
    opt=makes_job(*BODY),
)
async def run_template(
    name: FromPath[str],
    request: Request[Any, Any, Any],
    core: NamedDependency[Core],
    principal: NamedDependency[Principal],
) -> Response[JobView]:
    """Make a template's outputs from its variables: scene, words and logo, exactly sized.

    Answers as `/api/images/generate` does: one job, whose images are the outputs, with one quote and one
    cost. Each of its `steps` is a job of its own.
    """
    return await _run(request, core, principal, name, await read_body(request, TemplateRequest))


@post(
    "/api/templates/{name:str}/estimate",
    status_code=200,
    summary="What a template would cost",
    tags=["Templates"],
    opt=READ | may(*BODY, "invalid_inputs", "premium_required", "unknown_model"),
)
async def estimate_template(
    name: FromPath[str],
    request: Request[Any, Any, Any],
    core: NamedDependency[Core],
    principal: NamedDependency[Principal],
) -> Response[RunEstimateView]:
    """The price of a run, what each of its steps would send, and its outputs. Spends nothing; words that do
    not fit are told here too.
    """
    body = await read_body(request, TemplateRequest)
    plan = await core.runs.checked(name, body, principal)
    return json_response(run_estimate_view(plan, core.runs.turn(body, principal).runs_at))


@post(
    "/api/templates/{name:str}/preview",
    status_code=200,
    summary="See a template without a model",
    tags=["Templates"],
    media_type="image/png",
    opt=READ | may(*BODY, "invalid_inputs", "invalid_query", "no_preview", "too_busy", "storage_unavailable"),
)
async def preview_template(
    name: FromPath[str],
    request: Request[Any, Any, Any],
    core: NamedDependency[Core],
    principal: NamedDependency[Principal],
    output: Annotated[
        str | None, QueryParameter(description="Which output's file; the first by default")
    ] = None,
) -> Response[PreviewView]:
    """Compose the outputs over a scene that is drawn by rule: free, at once, nothing is kept.

    Takes the body of a run and answers the file of one output, exactly sized. With `Accept:
    application/json` all of them, small, with where their words stand, how large and in which contrast.
    """
    body = await read_body(request, TemplateRequest)
    if "application/json" in request.headers.get("accept", ""):
        return json_response(await core.previews.shown(name, body, principal), headers=NOT_KEPT)
    made = await core.previews.file(name, body, principal, output)
    file = f"{name}-{made.name}.{extension_of(made.content_type)}"
    headers = {
        "Content-Disposition": f'inline; filename="{quote(file)}"',
        "Content-Security-Policy": POLICY,
        **NOT_KEPT,
    }
    return Response(content=made.data, media_type=made.content_type, headers=headers)  # type: ignore[arg-type]  # bytes


async def _run(
    request: Request[Any, Any, Any], core: Core, principal: Principal, name: str, body: TemplateRequest
) -> Response[JobView]:
    wait_s = read_wait(request, core.settings.sync_wait_s)
    claim = await claim_of(request, core, principal, wait_s)
    answer = await core.resends.once(
        claim, principal, wait_s, lambda: core.runs.generate(name, body, principal, wait_s, claim=claim)
    )
    return job_answer(core, answer)


async def _view(core: Core, template: Template, caller: Principal) -> TemplateView:
    shown = await asyncio.to_thread(has_thumbnail, template)
    where = f"{core.settings.public_url}/api/templates/{template.name}/thumbnail"
    return template_view(
        template,
        core.catalog,
        core.providers,
        price_micros=sample_price(core, template, caller),
        thumbnail_url=where if shown else None,
    )
