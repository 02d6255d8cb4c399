"""`/api/templates`: business presets, and runs of them."""

import asyncio
from typing import Any

from litestar import Request, Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath

from gateway.accounts.principals import Principal
from gateway.answers import makes_job, may
from gateway.bodies import read_body, read_wait
from gateway.core import Core
from gateway.jobs.records import JobRow
from gateway.problems import Problem
from gateway.routes.images import claim_of, job_answer
from gateway.schemas import GenerateRequest, JobView, TemplateRequest, json_response
from gateway.template_files import THUMBNAIL, has_thumbnail, sample_of, thumbnail_of
from gateway.template_prices import sample_price
from gateway.template_schemas import TemplateDetail, TemplateList, TemplateView
from gateway.template_views import template_detail, template_view
from registry.errors import Fault, InvalidInputs, pointer
from templates.engine import Template

__all__ = ["get_template", "list_templates", "run_named_template", "run_template", "template_thumbnail"]

BODY = ("unknown_template", "invalid_variables")
WEBP = "image/webp"


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
    template = find_template(core, name)
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
    template = find_template(core, name)
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
    """Make a template's picture from its variables. Answers as `/api/images/generate` does."""
    return await _run(request, core, principal, name, await read_body(request, TemplateRequest))


async def _run(
    request: Request[Any, Any, Any], core: Core, principal: Principal, name: str, body: TemplateRequest
) -> Response[JobView]:
    wait_s = read_wait(request, core.settings.sync_wait_s)
    claim = await claim_of(request, core, principal, wait_s)

    async def make() -> JobRow:
        return await core.generate(_unified(core, name, body), principal, wait_s, claim=claim)

    return job_answer(core, await core.resends.once(claim, principal, wait_s, make))


def find_template(core: Core, name: str, said: str | None = None) -> Template:
    """The template of that name.

    Args:
        core: has them.
        name: where it was asked for.
        said: the name in the body, if there was one.

    Raises:
        Problem: `unknown_template`: there is none, or the two differ.
    """
    template = core.templates.templates.get(name)
    if template is None or said not in (None, name):
        known = list(core.templates.templates)
        raise Problem(
            "unknown_template",
            f"No template is called {said or name!r}. Known: {', '.join(known)}",
            supported=known,
        )
    return template


def _unified(core: Core, name: str, body: TemplateRequest) -> GenerateRequest:
    """The request that a template makes of its variables.

    Raises:
        Problem: `unknown_template`, `invalid_variables`.
    """
    template = find_template(core, name, body.template)
    try:
        rendered = template.plan(body.variables, body.options).requests[0]
    except InvalidInputs as error:
        raise Problem("invalid_variables", str(error), errors=list(error.faults)) from error
    return GenerateRequest(
        model=rendered.model,
        intent=rendered.intent,
        inputs=rendered.inputs,
        options=body.options,
        user_id=body.user_id,
        schedule=body.schedule,
        delivery=body.delivery,
    )


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
