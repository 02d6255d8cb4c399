"""`POST /diffusers/generate`, `GET /diffusers/models`: the Hugging Face style, raw PNG out."""

from typing import Any

from litestar import Request, Response, get, post
from litestar.di import NamedDependency

from billing.money import usd
from gateway.accounts.principals import Principal
from gateway.answers import makes_job
from gateway.bodies import read_body, read_wait
from gateway.core import Core
from gateway.jobs.records import JobRow
from gateway.planning import usable
from gateway.problems import Problem
from gateway.routes.images import claim_of, job_answer
from gateway.schemas import GenerateRequest, RawRequest
from gateway.served import served_picture
from registry.errors import Fault, InvalidInputs, UnknownModel, pointer
from registry.schema import Model

__all__ = ["generate_raw", "list_diffusers_models"]


def diffusers_models(core: Core) -> dict[str, Model]:
    """The models that a diffusers pipeline runs."""
    return {m.id: m for m in core.catalog.models.values() if any(route.pipeline for route in m.routes)}


@post(
    "/diffusers/generate",
    status_code=200,
    summary="Make one image, raw",
    tags=["Diffusers"],
    media_type="image/png",
    opt=makes_job("not_a_diffusers_model"),
)
async def generate_raw(
    request: Request[Any, Any, Any], core: NamedDependency[Core], principal: NamedDependency[Principal]
) -> Response[bytes]:
    """Make one image and answer its bytes: `curl -o image.png` saves it.

    Waits until the job ends, unless `Prefer: wait=N` says otherwise.
    """
    body = await read_body(request, RawRequest)
    wait_s = read_wait(request, core.settings.job_timeout_s)
    claim = await claim_of(request, core, principal, wait_s)

    async def make() -> JobRow:
        unified = _unified(core, body)
        try:
            _refuse_several(core, unified, principal)
            return await core.generate(unified, principal, wait_s, now=True, claim=claim)
        except InvalidInputs as error:
            raise InvalidInputs([_here(fault) for fault in error.faults]) from error

    answer = await core.resends.once(claim, principal, wait_s, make)
    job = answer.job
    if job.status != "completed":
        return job_answer(core, answer)
    row, data = await served_picture(core, job.images[0].id, principal.account_id)
    headers = {"X-Job-Id": job.id, "X-Cost-Usd": usd(job.charge_micros or 0), **answer.headers}
    if row.seed is not None:
        headers["X-Seed"] = str(row.seed)
    return Response(content=data, media_type=row.content_type, headers=headers)


@get("/diffusers/models", summary="The diffusers models", tags=["Diffusers"])
async def list_diffusers_models(core: NamedDependency[Core]) -> dict[str, Any]:
    """The model ids that `/diffusers/generate` takes, with their GPU tier. Wakes no backend."""
    models = []
    for model in diffusers_models(core).values():
        tier = next(route.pipeline.tier for route in model.routes if route.pipeline)
        unavailable = usable(model, core.providers)
        models.append(
            {
                "id": model.id,
                "tier": tier,
                "available": unavailable is None,
                "unavailableBecause": unavailable.reason if unavailable else None,
            }
        )
    return {"models": models}


def _unified(core: Core, body: RawRequest) -> GenerateRequest:
    """The same request as `/api/images/generate` takes it.

    Raises:
        UnknownModel, Problem: as `_find`.
    """
    model = _find(core, body.model_id, diffusers_models(core))
    return GenerateRequest(model=model.id, inputs={"prompt": body.inputs}, options=dict(body.parameters))


def _find(core: Core, name: str, supported: dict[str, Model]) -> Model:
    ids = tuple(supported)
    try:
        model = core.catalog.model(name)
    except UnknownModel as error:
        raise UnknownModel(name, ids, tuple(m for m in error.close if m in supported)) from error
    if model.id not in supported:
        detail = (
            f"{model.id} is no diffusers model; use POST /api/images/generate. Supported: {', '.join(ids)}"
        )
        raise Problem("not_a_diffusers_model", detail, supported=list(ids))
    return model


def _refuse_several(core: Core, unified: GenerateRequest, caller: Principal) -> None:
    """The answer is one picture: more would be paid for and never seen."""
    plan = core.plan(unified, price_list=caller.price_list)
    if plan.candidates[0].num_images > 1:
        asked = next((row.requested_as for row in plan.report if row.name == "num_images"), None)
        fault = Fault(
            pointer=pointer("options", asked or "num_images"),
            code="not_allowed",
            message="this route answers one picture",
            allowed="1; POST /api/images/generate makes several",
        )
        raise InvalidInputs([fault])


def _here(fault: Fault) -> Fault:
    """A fault's pointer in this route's body: the prompt is `inputs`, options are `parameters`."""
    at = fault.pointer.replace("/inputs/prompt", "/inputs").replace("/options/", "/parameters/")
    return Fault(pointer=at, code=fault.code, message=fault.message, allowed=fault.allowed)
