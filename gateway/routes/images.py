"""`POST /api/images/generate`, `POST /api/images/estimate`, `GET /images/{id}`."""

from typing import Annotated, Any

from litestar import Request, Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, QueryParameter

from gateway.access import LINK, READ, principal
from gateway.accounts.principals import Principal
from gateway.answers import makes_job, may
from gateway.bodies import read_body, read_idempotency_key, read_wait
from gateway.core import Core
from gateway.jobs.idempotency import Claim
from gateway.jobs.records import JobRow
from gateway.problems import Problem, provider_problem
from gateway.resends import Answer
from gateway.schemas import EstimateView, GenerateRequest, JobView, json_response
from gateway.served import served_picture
from gateway.verify import extension_of
from gateway.verify_svg import SVG
from providers.errors import ProviderError, by_code

__all__ = ["claim_of", "estimate", "generate", "image", "job_answer"]


POLICY = "sandbox; default-src 'none'"
SVG_POLICY = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:"
"""An SVG is styled within itself, and nothing of it runs."""


async def claim_of(
    request: Request[Any, Any, Any], core: Core, caller: Principal, wait_s: float
) -> Claim | None:
    """What a request whose body was read is known by when it comes again.

    Raises:
        Problem: `bad_idempotency_key`.
    """
    given = read_idempotency_key(request)
    return core.resends.claim(caller, given, request.scope["path"], await request.body(), wait_s)


def job_answer(core: Core, answer: Answer) -> Response[Any]:
    """A job as the answer of the request that made it: 200 with its images, 202 while it goes on.

    Raises:
        Problem: it failed.
    """
    job = answer.job
    where = {"Location": f"{core.settings.public_url}/api/jobs/{job.id}"}
    if job.status == "completed":
        return json_response(core.view(job), headers=answer.headers)
    if job.status in ("failed", "canceled"):
        problem = failure(job)
        problem.headers |= answer.headers
        raise problem
    again = {"Retry-After": str(_look_again_s(core, job))}
    return json_response(core.view(job), 202, {**where, **again, **answer.headers})


def _look_again_s(core: Core, job: JobRow) -> int:
    """Seconds until it is worth another look."""
    if job.status != "scheduled" or job.runs_at is None:
        return 1
    return max(1, -(-(job.runs_at - core.ambient.now_ms()) // 1000))


def failure(job: JobRow) -> Problem:
    """The problem that a failed job is."""
    code = job.error_code or "internal_error"
    error = by_code(code)(job.error_message or "It failed.", provider=job.provider)
    problem = provider_problem(error, job.id)
    if by_code(code) is ProviderError:
        problem.document.type = f"urn:image-gateway:error:{code}"
        problem.document.code = code
        problem.document.status = job.error_status or 502
    return problem


@post("/api/images/generate", status_code=200, summary="Make images", tags=["Images"], opt=makes_job())
async def generate(
    request: Request[Any, Any, Any],
    core: NamedDependency[Core],
    principal: NamedDependency[Principal],
    dry_run: Annotated[
        bool, QueryParameter(name="dryRun", description="Answer the estimate; spend nothing")
    ] = False,
) -> Response[JobView | EstimateView]:
    """Make images with a model, or for an intent.

    Waits up to GATEWAY_SYNC_WAIT_S for the images; `Prefer: wait=N` or `respond-async` says
    otherwise. When the wait runs out the answer is 202 with the job and its Location. With an
    `Idempotency-Key` it may be sent again: the same job answers, and nothing is paid for twice.

    A job of a normal account, or one with `schedule: window`, waits for the next batch window: the answer
    is 202 at once, with `runsAt` and its `place`, and what it costs then and would cost now.
    """
    body = await read_body(request, GenerateRequest)
    if dry_run:
        return json_response(await core.estimate(body, principal))
    wait_s = read_wait(request, core.settings.sync_wait_s)
    claim = await claim_of(request, core, principal, wait_s)
    answer = await core.resends.once(
        claim, principal, wait_s, lambda: core.generate(body, principal, wait_s, claim=claim)
    )
    return job_answer(core, answer)


@post(
    "/api/images/estimate",
    status_code=200,
    summary="What it would cost and send",
    tags=["Images"],
    opt=READ | may("unknown_model", "invalid_inputs", "premium_required"),
)
async def estimate(
    request: Request[Any, Any, Any], core: NamedDependency[Core], principal: NamedDependency[Principal]
) -> Response[EstimateView]:
    """The price of a request, what would be sent, and an account of each parameter. Spends nothing.

    With `options.allow_downgrade` it is of the nearest settings that you can pay now.
    """
    body = await read_body(request, GenerateRequest)
    return json_response(await core.estimate(body, principal))


@get(
    "/images/{image_id:str}",
    summary="A picture",
    tags=["Images"],
    media_type="image/png",
    opt=LINK | may("storage_unavailable"),
)
async def image(
    request: Request[Any, Any, Any],
    image_id: FromPath[str],
    core: NamedDependency[Core],
    expires: Annotated[str, QueryParameter(description="As a job's link has it")] = "",
    signature: Annotated[str | None, QueryParameter(description="As a job's link has it")] = None,
) -> Response[bytes]:
    """The bytes of a picture of yours, as the provider made them; a job's link needs no credential."""
    if signature is not None:
        core.links.check(image_id, expires, signature)
    owner = None if signature is not None else principal(request).account_id
    row, data = await served_picture(core, image_id, owner)
    return Response(
        content=data,
        media_type=row.content_type,
        headers={
            # Pages of others may show it: who has the link may see it.
            "Cross-Origin-Resource-Policy": "cross-origin",
            "Content-Disposition": f'inline; filename="{row.id}.{extension_of(row.content_type)}"',
            "Cache-Control": "private, max-age=31536000, immutable",
            "Content-Security-Policy": SVG_POLICY if row.content_type == SVG else POLICY,
            "ETag": f'"{row.sha256}"',
        },
    )
