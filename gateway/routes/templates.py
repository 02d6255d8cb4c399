"""`GET /api/templates`, `POST /api/templates/{name}`: business presets."""

from typing import Any

from litestar import Request, Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath

from gateway.access import READ
from gateway.accounts.principals import Principal
from gateway.answers import makes_job, may, takes
from gateway.bodies import read_body, read_wait
from gateway.core import Core
from gateway.routes.images import claim_of, job_answer
from gateway.runs.estimate import RunEstimateView, run_estimate_view
from gateway.schemas import JobView, TemplateRequest, json_response
from templates.engine import Template

__all__ = ["estimate_template", "list_templates", "run_template"]


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
    """Make a template's outputs from its variables: scene, words and logo, exactly sized.

    Answers as `/api/images/generate` does: one job, whose images are the outputs, with one quote and one
    cost. Each of its `steps` is a job of its own.
    """
    body = await read_body(request, TemplateRequest)
    wait_s = read_wait(request, core.settings.sync_wait_s)
    claim = await claim_of(request, core, principal, wait_s)
    answer = await core.resends.once(
        claim, principal, wait_s, lambda: core.runs.generate(name, body, principal, wait_s, claim=claim)
    )
    return job_answer(core, answer)


@post(
    "/api/templates/{name:str}/estimate",
    status_code=200,
    summary="What a template would cost",
    tags=["Templates"],
    opt=READ
    | takes(TemplateRequest, {"variables": {"headline": "Winter Sale"}})
    | may("unknown_template", "invalid_variables", "invalid_inputs", "premium_required", "unknown_model"),
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


def _shown(template: Template) -> dict[str, Any]:
    row = template.row
    return {
        "name": template.name,
        "title": row.title,
        "description": row.description,
        "variables": template.schema,
    }
