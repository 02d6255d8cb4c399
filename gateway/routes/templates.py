"""`GET /api/templates`, `POST /api/templates/{name}`: business presets."""

from typing import Any

from litestar import Request, Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath

from gateway.accounts.principals import Principal
from gateway.answers import makes_job
from gateway.bodies import read_body, read_wait
from gateway.core import Core
from gateway.jobs.records import JobRow
from gateway.problems import Problem
from gateway.routes.images import claim_of, job_answer
from gateway.schemas import GenerateRequest, JobView, TemplateRequest
from registry.errors import InvalidInputs
from templates.engine import Template

__all__ = ["list_templates", "run_template"]


@get("/api/templates", summary="The templates", tags=["Templates"])
async def list_templates(core: NamedDependency[Core]) -> dict[str, Any]:
    """Each template with its variables."""
    found = core.templates.templates.values()
    return {"templates": [_shown(template) for template in found]}


@post(
    "/api/templates/{name:str}",
    status_code=200,
    summary="Run a template",
    tags=["Templates"],
    opt=makes_job("unknown_template", "invalid_variables"),
)
async def run_template(
    name: FromPath[str],
    request: Request[Any, Any, Any],
    core: NamedDependency[Core],
    principal: NamedDependency[Principal],
) -> Response[JobView]:
    """Make a template's picture from its variables. Answers as `/api/images/generate` does."""
    body = await read_body(request, TemplateRequest)
    wait_s = read_wait(request, core.settings.sync_wait_s)
    claim = await claim_of(request, core, principal, wait_s)

    async def make() -> JobRow:
        return await core.generate(_unified(core, name, body), principal, wait_s, claim=claim)

    return job_answer(core, await core.resends.once(claim, principal, wait_s, make))


def _unified(core: Core, name: str, body: TemplateRequest) -> GenerateRequest:
    """The request that a template makes of its variables.

    Raises:
        Problem: `unknown_template`, `invalid_variables`.
    """
    template = core.templates.templates.get(name)
    if template is None or body.template not in (None, name):
        known = list(core.templates.templates)
        raise Problem(
            "unknown_template",
            f"No template is called {body.template or name!r}. Known: {', '.join(known)}",
            supported=known,
        )
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


def _shown(template: Template) -> dict[str, Any]:
    row = template.row
    return {
        "name": template.name,
        "title": row.title,
        "description": row.description,
        "variables": template.schema,
    }
